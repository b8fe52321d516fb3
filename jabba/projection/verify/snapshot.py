"""The projection at one moment: its rows, and how far it had come. One function each, one sentence each."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from uuid import UUID

from sqlalchemy import ARRAY, Double, Text, Uuid, bindparam, cast, exists, func, select, text, union

from jabba.database.connection import Database, Row, Transaction
from jabba.database.schema import jobs, projection_offsets, tasks
from jabba.projection.statements import Offsets

_PAGE = 1000


class Snapshot:
    """All of its answers are of one moment; made by ``taken``."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    async def offsets(self, topics: Iterable[str]) -> Offsets:
        """Return per topic and partition the offset of the first message that was not projected."""
        found = await self._transaction.execute(_OFFSETS, {"topics": list(topics)})
        return {(row["topic"], row["partition"]): row["next_offset"] for row in found}

    async def jobs(self, ids: Iterable[UUID]) -> dict[UUID, Row]:
        """Return the rows of those of these jobs that have one."""
        found = await self._transaction.execute(_JOBS, {"ids": [str(job) for job in ids]})
        return {_uuid(row["id"]): row for row in found}

    async def tasks(self, ids: Iterable[UUID]) -> dict[UUID, dict[int, Row]]:
        """Return the rows of the tasks of these jobs, by position."""
        answer: dict[UUID, dict[int, Row]] = {}
        for row in await self._transaction.execute(_TASKS, {"ids": [str(job) for job in ids]}):
            answer.setdefault(_uuid(row["job_id"]), {})[row["position"]] = row
        return answer

    async def strangers(self, after: UUID, last: UUID, since: float, known: Iterable[UUID]) -> list[UUID]:
        """Return some jobs, the first behind ``after`` and up to ``last``, that are none of the ``known`` ones.

        Only those count that were inserted after ``since``, in seconds since the epoch. One may have tasks alone.
        """
        given = {"after": str(after), "last": str(last), "since": since, "ids": [str(job) for job in known]}
        return [_uuid(row["id"]) for row in await self._transaction.execute(_STRANGERS, given)]


@asynccontextmanager
async def taken(database: Database) -> AsyncIterator[Snapshot]:
    """Open a snapshot, which holds up whoever wants to change the tables themselves, and nobody else."""
    async with database.transaction(repeatable=True) as transaction:
        # Before the moment is fixed: a projection that takes the place of this one later would be seen without rows.
        await transaction.execute(_HOLD_TABLES)
        yield Snapshot(transaction)


def _uuid(value: UUID | str) -> UUID:
    return value if isinstance(value, UUID) else UUID(value)


_HOLD_TABLES = text("LOCK TABLE jobs, tasks, projection_offsets IN ACCESS SHARE MODE")

_IDS = cast(bindparam("ids", type_=ARRAY(Text)), ARRAY(Uuid))
_AFTER, _LAST = (cast(bindparam(name, type_=Text), Uuid) for name in ("after", "last"))
_SINCE = func.to_timestamp(bindparam("since", type_=Double))

_OFFSETS = select(projection_offsets).where(projection_offsets.c.topic == func.any(bindparam("topics")))

_JOBS = select(jobs).where(jobs.c.id == func.any(_IDS))

_TASKS = select(tasks).where(tasks.c.job_id == func.any(_IDS))

_STRANGERS = (
    union(
        select(jobs.c.id)
        .where(jobs.c.id > _AFTER, jobs.c.id <= _LAST, jobs.c.id != func.all(_IDS), jobs.c.inserted_at > _SINCE)
        .order_by(jobs.c.id)
        .limit(_PAGE),
        select(tasks.c.job_id)
        .where(tasks.c.job_id > _AFTER, tasks.c.job_id <= _LAST, tasks.c.job_id != func.all(_IDS))
        .where(tasks.c.inserted_at > _SINCE, ~exists().where(jobs.c.id == tasks.c.job_id))
        .order_by(tasks.c.job_id)
        .limit(_PAGE),
    )
    .order_by("id")
    .limit(_PAGE)
)
