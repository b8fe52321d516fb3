"""Going on with a log that is new: what PostgreSQL holds unfinished is submitted again, one run later."""

import sys
from uuid import UUID

from jabba.database import queries
from jabba.database.connection import Database
from jabba.database.queries import Unfinished
from jabba.errors import NotFound, NotReady
from jabba.jobs.models import Limits
from jabba.messages.slices import Rerun, cut
from jabba.producer import producer_of
from jabba.producer.submission import Prepared
from jabba.projection.lag import is_ahead
from jabba.settings import Settings

_STATEMENT_SECONDS = 60.0


class _Unlimited(Limits):
    """Those of jobs that were accepted once: whatever is in the table was in the log."""

    def __post_init__(self) -> None:
        """Allow anything."""


_NO_LIMITS = _Unlimited(*[sys.maxsize] * 5)
"""What was accepted once is not refused because a limit has been lowered since."""


async def reconcile(settings: Settings) -> int:
    """Submit again what has not ended, with what has; return how many jobs that were.

    Do it when the log was lost and begins anew, before anyone submits, runs or projects. Doing it again, because it was
    interrupted, sends the same slices once more, which workers recognise.
    """
    count = 0
    async with _database(settings) as database, producer_of(settings) as producer:
        async for one in queries.unfinished_jobs(database):
            await producer.send(await _prepared(database, one))
            count += 1
        # How far the projection had come says nothing of the new log.
        await queries.forget_offsets(database)
    return count


async def unfinished(settings: Settings) -> list[UUID]:
    """Return the jobs that ``reconcile`` would submit again.

    Raises:
        NotReady: the log still holds what is projected, so that these jobs go on by themselves.
    """
    async with _database(settings) as database:
        if not await is_ahead(database, settings.kafka_access, settings.topics.tasks):
            raise NotReady("the log holds all that is projected: unfinished jobs go on by themselves")
        return [one.id async for one in queries.unfinished_jobs(database)]


def _database(settings: Settings) -> Database:
    return Database(settings.database.get_secret_value(), size=2, statement_seconds=_STATEMENT_SECONDS)


async def _prepared(database: Database, unfinished: Unfinished) -> Prepared:
    job = await queries.get_job(database, unfinished.id)
    if job is None:
        raise NotFound(f"job {unfinished.id} has been deleted meanwhile")
    rerun = Rerun(unfinished.run + 1, unfinished.digest, unfinished.ended, unfinished.failed_at)
    return Prepared(job, cut(unfinished.spec, unfinished.id, _NO_LIMITS, rerun))
