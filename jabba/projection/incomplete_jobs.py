"""Closes jobs whose submission died half way: their slices will not all come, so they could never end."""

import asyncio
import logging

from jabba.clock import Clock
from jabba.database import queries
from jabba.database.connection import Database
from jabba.database.queries import Incomplete
from jabba.errors import Unavailable
from jabba.kafka.writer import Log
from jabba.messages.commands import CloseJob, encode_commands
from jabba.messages.topics import partition_of
from jabba.projection.lag import behind
from jabba.settings import Settings

logger = logging.getLogger(__name__)

REASON = "incomplete_submission"

_LOOKS_PER_WAIT = 10
_LONGEST_PAUSE_SECONDS = 60.0


class Closing:
    """Looks now and then for jobs of which no slice has come for ``settings.incomplete_seconds``.

    Only while the whole tasks topic is projected: a slice that is missing may still be on its way to PostgreSQL. The
    job's own partition is told; it says so on the events topic, and that ends the job. Several projectors may tell it
    at once, which does no harm.
    """

    def __init__(self, settings: Settings, database: Database, log: Log, clock: Clock) -> None:
        self._settings = settings
        self._database = database
        self._log = log
        self._clock = clock

    async def run(self) -> None:
        """Look until cancelled."""
        pause = min(_LONGEST_PAUSE_SECONDS, self._settings.incomplete_seconds / _LOOKS_PER_WAIT)
        while True:
            await asyncio.sleep(pause)
            try:
                await self.look()
            except Unavailable as error:
                logger.info("incomplete submissions not searched, trying again", extra={"error": repr(error)})

    async def look(self) -> int:
        """Close what is incomplete; return how many jobs that were."""
        if not await self._found() or not await self._all_is_projected():
            return 0
        # Looked for again: what was on its way to PostgreSQL the first time is there now.
        found = await self._found()
        partitions = await self._log.partitions(self._settings.topics.control)
        for job in found:
            logger.warning("closing an incomplete submission, slices are missing", extra={"job": job.id})
            command = CloseJob(
                job=job.id,
                run=job.run,
                n_slices=job.n_slices,
                strategy=job.strategy,
                reason=REASON,
                type=job.type,
            )
            partition = partition_of(str(job.id), partitions)
            await self._log.append(self._settings.topics.control, partition, encode_commands([command]))
        return len(found)

    async def _found(self) -> list[Incomplete]:
        return await queries.incomplete_jobs(self._database, self._clock.now() - self._settings.incomplete_seconds)

    async def _all_is_projected(self) -> bool:
        waiting = await behind(self._database, self._settings.kafka_access, self._settings.topics.tasks)
        return not any(waiting.values())
