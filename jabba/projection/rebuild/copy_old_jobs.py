"""What the log no longer tells is taken over as it is: jobs that are older than the log, with their tasks."""

from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Double,
    Insert,
    MetaData,
    Select,
    Table,
    Text,
    Uuid,
    bindparam,
    cast,
    exists,
    func,
    or_,
    select,
)
from sqlalchemy.sql.dml import ReturningInsert

from jabba.database.connection import Database
from jabba.database.schema import jobs, projection_offsets, tasks
from jabba.projection.fold import MAX_SKEW_SECONDS

_PAGE = 200
"""Jobs that are copied at a time; each may have a hundred thousand tasks."""

_MISSING = 1000
_BITS_BEHIND_TIME = 80


class Keeping:
    """Copies from one schema to another; ``since`` is where the log begins, in milliseconds."""

    def __init__(self, live: str, schema: str, since: int) -> None:
        self._jobs, self._tasks, self._offsets = (_in(live, one) for one in (jobs, tasks, projection_offsets))
        self._new_jobs, self._new_tasks, self._new_offsets = (
            _in(schema, one) for one in (jobs, tasks, projection_offsets)
        )
        self._copy_jobs, self._copy_tasks = self._copying_jobs(), self._copying_tasks()
        before = max(0, since - int(MAX_SKEW_SECONDS * 1000))
        self._given = {"since": since / 1000, "oldest": str(UUID(int=before << _BITS_BEHIND_TIME))}

    async def count(self, database: Database) -> int:
        """Return how many jobs there are to be copied."""
        counting = select(func.count().label("jobs")).select_from(self._jobs).where(_is_older(self._jobs))
        return int((await database.fetch(counting, self._given))[0]["jobs"])

    async def copy(self, database: Database, tell: Callable[[int], None]) -> int:
        """Copy them, and return how many they were.

        A job and its tasks are copied as they are at one moment: what is counted of them fits together, and what the
        log says of them later is added to it once.
        """
        copied, after = 0, UUID(int=0)
        while True:
            async with database.transaction(repeatable=True) as transaction:
                given = self._given | {"after": str(after), "limit": _PAGE}
                found = await transaction.execute(self._copy_jobs, given)
                if not found:
                    return copied
                ids = sorted(UUID(str(row["id"])) for row in found)
                await transaction.execute(self._copy_tasks, {"first": str(ids[0]), "last": str(ids[-1])})
            copied, after = copied + len(ids), ids[-1]
            tell(copied)

    async def only_live(self, database: Database) -> list[UUID]:
        """Return some of the jobs that the live projection has, and the new one has not."""
        new = exists().where(self._new_jobs.c.id == self._jobs.c.id)
        missing = select(self._jobs.c.id).where(~new, self._jobs.c.meta.is_not(None)).order_by(self._jobs.c.id)
        return [UUID(str(row["id"])) for row in await database.fetch(missing.limit(_MISSING))]

    async def missing(self, database: Database, wanted: Sequence[UUID]) -> list[UUID]:
        """Return those of these jobs that the new projection does not have."""
        ids = cast(bindparam("ids", type_=ARRAY(Text)), ARRAY(Uuid))
        found = await database.fetch(
            select(self._new_jobs.c.id).where(self._new_jobs.c.id == func.any(ids)),
            {"ids": [str(job) for job in wanted]},
        )
        known = {UUID(str(row["id"])) for row in found}
        return [job for job in wanted if job not in known]

    def copying_offsets(self) -> Insert:
        """Copy how far the topics of other installations are projected; their names are to be bound."""
        others = select(self._offsets).where(self._offsets.c.topic != func.all(bindparam("topics")))
        return _copied(self._new_offsets, others)

    def _copying_jobs(self) -> ReturningInsert[Any]:
        after = cast(bindparam("after", type_=Text), Uuid)
        page = select(self._jobs).where(_is_older(self._jobs), self._jobs.c.id > after)
        return _copied(self._new_jobs, page.order_by(self._jobs.c.id).limit(bindparam("limit"))).returning(
            self._new_jobs.c.id
        )

    def _copying_tasks(self) -> Insert:
        first, last = (cast(bindparam(name, type_=Text), Uuid) for name in ("first", "last"))
        copied = select(self._new_jobs.c.id).where(self._new_jobs.c.id.between(first, last))
        theirs = select(self._tasks).where(self._tasks.c.job_id.between(first, last), self._tasks.c.job_id.in_(copied))
        return _copied(self._new_tasks, theirs)


def _is_older(job: Table) -> ColumnElement[bool]:
    """Say of which jobs the log may not have everything: by when they came, or by their ids, if those tell more."""
    since = func.to_timestamp(bindparam("since", type_=Double))
    return or_(job.c.inserted_at <= since, job.c.id < cast(bindparam("oldest", type_=Text), Uuid))


def _copied(target: Table, rows: Select[tuple[object, ...]]) -> Insert:
    return Insert(target).from_select([column.name for column in rows.selected_columns], rows)


def _in(schema: str, table: Table) -> Table:
    return table.to_metadata(MetaData(), schema=schema)
