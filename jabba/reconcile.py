"""Going on after the broker forgot everything: what PostgreSQL holds unfinished is submitted again, one run later."""

import asyncio
import contextlib
import sys

from jabba.errors import NotFound
from jabba.models import Limits
from jabba.pacing import Paced
from jabba.persistence import queries
from jabba.persistence.database import Database
from jabba.persistence.queries import Unfinished
from jabba.positions import Position
from jabba.producer import Prepared, Producer
from jabba.settings import Settings
from jabba.slices import Rerun, cut
from jabba.topics import Topics

_FOLLOW_SECONDS = 60.0
_POLL_SECONDS = 0.02

_NO_LIMITS = Limits(*[sys.maxsize] * 5)
"""What was accepted once is not refused because a limit has been lowered since."""


async def forget_positions(settings: Settings) -> None:
    """Forget how far the projection had come in a log that is gone; do it before anything is projected."""
    async with _database(settings) as database:
        await queries.forget_offsets(database)


async def resubmit_unfinished(settings: Settings) -> int:
    """Submit again what has not ended, with what has; answer how many jobs that were.

    A projector must be running. Nobody may submit meanwhile: a new job would be taken for an unfinished one.
    """
    count = 0
    async with _database(settings) as database, Producer(settings.kafka, prefix=settings.prefix) as producer:
        paced = Paced(producer, lambda position: _follow(database, settings.topics, position))
        async for unfinished in queries.unfinished_jobs(database):
            await paced.send(await _prepared(database, unfinished))
            count += 1
    return count


def _database(settings: Settings) -> Database:
    return Database(settings.database.get_secret_value(), size=2, statement_seconds=_FOLLOW_SECONDS)


async def _prepared(database: Database, unfinished: Unfinished) -> Prepared:
    job = await queries.get_job(database, unfinished.id)
    if job is None:
        raise NotFound(f"job {unfinished.id} has been deleted meanwhile")
    rerun = Rerun(unfinished.run + 1, unfinished.digest, unfinished.ended, unfinished.failed_at)
    return Prepared(job, cut(unfinished.spec, unfinished.id, _NO_LIMITS, rerun))


async def _follow(database: Database, topics: Topics, position: Position) -> bool:
    """Wait until the projection has reached a position; answer whether it did in time."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_FOLLOW_SECONDS):
            while True:
                if await queries.is_projected(database, topics.tasks, position):
                    return True
                await asyncio.sleep(_POLL_SECONDS)
    return False
