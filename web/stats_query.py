"""How it goes, put together from PostgreSQL and Kafka; what one of them cannot tell does not keep the rest."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any, Self

from jabba.clock import Clock
from jabba.database import queries, statistics
from jabba.database.connection import Database
from jabba.database.statistics import Recent
from jabba.errors import FieldError, Unavailable
from jabba.jobs.pages import Count
from jabba.kafka.lag import Backlog, Waiting
from jabba.settings import Settings
from web.schemas import Missing, Stats, StatsOfJobs

_LOOK_SECONDS = 3.0
"""How long a look may take; what has not been told by then is missing."""


Parts = Mapping[str, Callable[[], Awaitable[Any]]]


class Overview:
    """``async with Overview(…) as overview``; one look at a time."""

    def __init__(self, settings: Settings, database: Database, clock: Clock) -> None:
        self._topics = settings.topics
        self._database = database
        self._clock = clock
        self._backlog = Backlog(settings.kafka_access, clock, client_id=f"{settings.prefix}-backlog")
        self._open = AsyncExitStack()
        # Beside each other; those of one backend one after the other, for they share its connections. What asks both
        # comes last: one that does not answer must not take the time of what asks the other.
        self._of_database: Parts = {"jobs": self._jobs, "recent": self._recent}
        self._of_log: Parts = {
            "workers": self._workers,
            "dead_letters": self._dead_letters,
            "projection": self._projection,
        }

    async def __aenter__(self) -> Self:
        await self._open.enter_async_context(self._backlog)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._open.aclose()

    async def look(self) -> Stats:
        """Return how it goes now.

        Raises:
            Unavailable: nothing of it can be told.
        """
        told: dict[str, Any] = {}
        missing: list[Missing] = []
        await asyncio.gather(*(_find_out(parts, told, missing) for parts in (self._of_database, self._of_log)))
        if not told:
            raise Unavailable(
                "neither PostgreSQL nor Kafka answers", [FieldError(one.part, one.reason) for one in missing]
            )
        return Stats(at=datetime.fromtimestamp(self._clock.now(), UTC), missing=missing, **told)

    async def _jobs(self) -> StatsOfJobs:
        unfinished = await statistics.unfinished(self._database)
        return StatsOfJobs(
            by_status=await statistics.by_status(self._database, unfinished),
            unfinished=Count(
                value=sum(one.value for one in unfinished.values()),
                exact=all(one.exact for one in unfinished.values()),
            ),
            oldest_unfinished=await statistics.oldest_unfinished(self._database),
        )

    async def _recent(self) -> Recent:
        return await statistics.recently_ended(self._database, self._clock.now())

    async def _projection(self) -> dict[str, Waiting]:
        topics = {"tasks": self._topics.tasks, "events": self._topics.events}
        projected = await queries.projected_offsets(self._database, topics.values())
        waiting = {}
        for name, topic in topics.items():
            reached = {partition: offset for (of, partition), offset in projected.items() if of == topic}
            waiting[name] = await self._backlog.waiting(topic, reached)
        return waiting

    async def _workers(self) -> Waiting:
        committed = await self._backlog.committed(self._topics.worker_group, self._topics.tasks)
        return await self._backlog.waiting(self._topics.tasks, committed)

    async def _dead_letters(self) -> int:
        return await self._backlog.kept(self._topics.dead_letters)


async def _find_out(parts: Parts, told: dict[str, Any], missing: list[Missing]) -> None:
    deadline = asyncio.get_running_loop().time() + _LOOK_SECONDS
    for part, ask in parts.items():
        try:
            async with asyncio.timeout_at(deadline):
                told[part] = await ask()
        except Unavailable as error:
            missing.append(Missing(part=part, reason=error.message))
        except TimeoutError:
            missing.append(Missing(part=part, reason=f"no answer within {_LOOK_SECONDS:g} s"))
