"""Making the projection anew, beside the live one and while everything goes on."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self
from uuid import UUID

from jabba.clock import Clock
from jabba.database import audit, migrations
from jabba.database.connection import Database
from jabba.errors import Unavailable
from jabba.projection.decode import Intake, Message, parts
from jabba.projection.rebuild import schemas
from jabba.projection.rebuild.copy_old_jobs import Keeping
from jabba.projection.rebuild.swap import Swapping
from jabba.projection.replay import Replay
from jabba.projection.statements import Offsets
from jabba.projection.verify.compare import Difference
from jabba.projection.verify.log_start import Beginning
from jabba.projection.verify.verify import Report, Tell, Verification
from jabba.projection.writer import Writer
from jabba.settings import Settings

logger = logging.getLogger(__name__)

_STATEMENT_SECONDS = 3600.0
"""A page of jobs may have millions of tasks to copy."""

_CLOSE = 1000
"""So many messages behind, the new projection may take the live one's place."""


@dataclass(slots=True)
class Rebuilt:
    """What a rebuild came to.

    ``kept`` counts jobs that are older than the log and were taken over. The ``dropped`` ones are in the live one
    alone, though the log would tell of them. ``report`` is that of comparing the new projection with the log.
    ``schema`` is where the replaced one is, if it was kept.
    """

    kept: int
    dropped: list[UUID]
    report: Report
    swapped: bool = False
    schema: str | None = None


class Rebuild:
    """``async with Rebuild(settings, clock, tell) as rebuild``; one at a time in a database.

    Whenever it ends before the swap, whatever ends it, the live projection is what it was. What is left of one that
    was killed the next one clears away.

    Raises:
        NotReady: another rebuild is at work, or the temporary directory has no room for the log.
        Unavailable: Kafka or PostgreSQL does not answer.
    """

    def __init__(self, settings: Settings, clock: Clock, tell: Tell) -> None:
        self._settings = settings
        self._clock = clock
        self._tell = tell
        dsn = settings.database.get_secret_value()
        self._moment = f"{datetime.fromtimestamp(clock.now(), UTC):%Y%m%d%H%M%S}"
        self._schema = f"{schemas.PREFIX}{self._moment}"
        self._turn = Database(dsn, size=1)
        self._live = Database(dsn, size=2, statement_seconds=_STATEMENT_SECONDS)
        self._new = Database(dsn, size=2, statement_seconds=_STATEMENT_SECONDS, schema=self._schema)
        self._writer = Writer(self._new, patient=False)
        self._replay = Replay(settings)
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Self:
        try:
            for one in (self._turn, self._live, self._new, self._replay):
                await self._open.enter_async_context(one)
            await schemas.take_turn(self._turn)
        except BaseException:
            await self._open.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._open.aclose()

    async def run(self, found: Callable[[Difference], None], *, swap: bool, keep: bool) -> Rebuilt:
        """Build and compare; then put it in the live one's place, if it is what the log says and ``swap`` says so.

        ``found`` is told each difference; those of jobs that are older than the log are in the live projection, too.
        With ``keep`` the replaced projection stays in a schema of its own.
        """
        await self._clear()
        live = await schemas.live_schema(self._live)
        try:
            keeping, rebuilt = await self._rehearse(live, found)
        except BaseException:
            # It may be large, and the next one may be far away.
            with suppress(Unavailable):
                await schemas.drop(self._live, self._schema)
            raise
        if swap and rebuilt.report.differences == rebuilt.report.differences_in_part:
            rebuilt.swapped = True
            rebuilt.schema = await self._swap(live, keeping, keep=keep)
            await audit.take_over(self._live, self._schema)
        await schemas.drop(self._live, self._schema)
        return rebuilt

    async def _clear(self) -> None:
        for schema in await schemas.left_over(self._live):
            logger.info("dropping what another rebuild left behind", extra={"schema": schema})
            await schemas.drop(self._live, schema)

    async def _rehearse(self, live: str, found: Callable[[Difference], None]) -> tuple[Keeping, Rebuilt]:
        """Do everything but the swap."""
        dsn = self._settings.database.get_secret_value()
        await asyncio.to_thread(migrations.make_beside, dsn, self._schema)
        await schemas.make_partitions(self._live, live, self._schema)
        keeping, kept = await self._build(live)
        report = await Verification(self._settings, self._new, self._clock, self._tell).run(0, found)
        only_live = await keeping.only_live(self._live)
        # What has just come is in the log before its end of now.
        await self._come_close()
        return keeping, Rebuilt(kept, await keeping.missing(self._live, only_live), report)

    async def _build(self, live: str) -> tuple[Keeping, int]:
        """Take over what is older than the log, and project all of the log on top."""
        first = [
            message
            async for some in self._replay.until(self._first_ends(await self._replay.ends()))
            for message in some
        ]
        beginning = Beginning.of(self._replay, self._settings.topics, self._clock.now())
        keeping = Keeping(live, self._schema, beginning.since)
        total = await keeping.count(self._live)
        kept = await keeping.copy(self._live, lambda done: self._tell("taking over older jobs", done, total))
        # Of a partition that has lost all of its messages, all is projected.
        await self._writer.move(self._replay.beginnings)
        await self._project(first)
        await self._come_close()
        return keeping, kept

    def _first_ends(self, ends: Offsets) -> Offsets:
        """Return the offsets behind the first message of each partition."""
        return {place: min(end, self._replay.beginnings[place] + 1) for place, end in ends.items()}

    async def _come_close(self) -> None:
        """Project on, until little is left."""
        while True:
            ends = await self._replay.ends()
            left = self._replay.count(ends) - self._replay.passed()
            await self._project_until(ends)
            if left < _CLOSE:
                return

    async def _project_until(self, ends: Offsets) -> None:
        total = self._replay.count(ends)
        async for messages in self._replay.until(ends):
            await self._project(messages)
            self._tell("projecting", self._replay.passed(), total)

    async def _project(self, messages: list[Message]) -> None:
        for start in range(0, len(messages), self._settings.projector_batch):
            for part in parts(messages[start : start + self._settings.projector_batch]):
                await self._write(part)

    async def _write(self, messages: Iterable[Message]) -> None:
        """Write what messages say; what is wrong with some is known, for they are dead letters."""
        intake, offsets = Intake(), {}
        for message in messages:
            topic, partition, offset = message.place
            offsets[topic, partition] = offset + 1
            read = intake.read_slices if topic == self._settings.topics.tasks else intake.read_events
            read(message)
        if await self._writer.write(intake.items, offsets):
            await self._writer.move(offsets)

    async def _swap(self, live: str, keeping: Keeping, *, keep: bool) -> str | None:
        """Put the new projection in the place of the live one; answer where that is kept, if it is."""
        replaced = f"{schemas.KEPT if keep else schemas.REPLACED}{self._moment}"
        swapping = Swapping(self._settings.topics, self._live, self._turn, self._project_further)
        for statement in swapping.analysing(self._schema):
            await self._live.fetch(statement)
        while not await swapping.swap(live, self._schema, replaced, keeping):
            await self._come_close()
        if not keep:
            await schemas.drop(self._live, replaced)
        return replaced if keep else None

    async def _project_further(self, reached: Offsets) -> None:
        """Project at least as far as the live projection has come."""
        await self._project_until({place: max(at, reached.get(place, 0)) for place, at in self._replay.next.items()})
