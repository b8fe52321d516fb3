"""The rows of an outbox as its relays see them: every statement on a table that ``jabba.outbox`` has described."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg2
from sqlalchemy import (
    ARRAY,
    BigInteger,
    Column,
    DateTime,
    Integer,
    MetaData,
    Table,
    Text,
    Uuid,
    any_,
    bindparam,
    cast,
    delete,
    extract,
    func,
    select,
    text,
    update,
)

from jabba.database.connection import Database, Transaction
from jabba.errors import NotReady

# An outbox is empty whenever the planner looks at it: it would sort all that waits, for every batch, after an outage.
_BY_INDEX = text("SET LOCAL enable_sort = off")
_MOST_COUNTED = 100_000
_NO_SUCH = ("42P01", "3F000", "42703")
"""SQLSTATE of a table, schema or column that is not there."""


@dataclass(frozen=True, slots=True)
class Row:
    """A job that a relay has begun to send: when, and how long ago in seconds; ``size`` in bytes."""

    id: UUID
    size: int
    sent_at: datetime
    age: float


@dataclass(frozen=True, slots=True)
class Waiting:
    """What is in an outbox: how many jobs wait, for how many seconds the oldest has, and how many are set aside."""

    jobs: int
    oldest: float
    set_aside: int


class OutboxRows:
    """An outbox table by its name, ``schema.table`` or ``table``."""

    def __init__(self, name: str) -> None:
        self._name = name
        schema, _, bare = name.rpartition(".")
        columns = (
            *(Column("id", Uuid, primary_key=True), Column("place", BigInteger), Column("job", Text)),
            *(Column("added_at", DateTime(timezone=True)), Column("sent_at", DateTime(timezone=True))),
            Column("error", Text),
        )
        self._table = Table(bare, MetaData(), *columns, schema=schema or None)
        row = self._table.c
        ids = row.id == any_(cast(bindparam("ids", type_=Text), ARRAY(Uuid)))
        age = extract("epoch", func.clock_timestamp() - row.sent_at)
        begun = (
            select(row.id, func.octet_length(row.job).label("size"), row.sent_at, age.label("age"))
            .where(row.error.is_(None), row.sent_at.is_not(None))
            .order_by(row.place)
            .limit(bindparam("limit", type_=Integer))
        )
        new = (
            select(row.id)
            .where(row.error.is_(None), row.sent_at.is_(None))
            .order_by(row.place)
            .limit(bindparam("limit", type_=Integer))
            .with_for_update(skip_locked=True)
        )
        self._waiting = _waiting(row)
        self._look = select(*row).limit(0)
        self._begin = (
            update(self._table).where(row.id.in_(new)).values(sent_at=func.clock_timestamp()).returning(row.id)
        )
        self._fresh = begun.where(age < bindparam("younger")).with_for_update(skip_locked=True)
        self._doubtful = begun.where(age > bindparam("older"))
        self._texts = select(row.id, row.job).where(ids).order_by(row.place)
        self._remove = delete(self._table).where(ids)
        unchanged = (row.id == bindparam("job_id", type_=Uuid), row.sent_at == bindparam("seen"))
        self._begin_again = update(self._table).where(*unchanged).values(sent_at=func.clock_timestamp())
        self._remove_unchanged = delete(self._table).where(*unchanged)
        self._set_aside = (
            update(self._table)
            .where(row.id == bindparam("job_id", type_=Uuid))
            .values(error=bindparam("reason", type_=Text))
        )

    async def check(self, database: Database) -> None:
        """Refuse a database without such a table.

        Raises:
            NotReady: the message names the command that prints how to create it.
        """
        try:
            await database.fetch(self._look)
        except psycopg2.ProgrammingError as error:
            if error.pgcode not in _NO_SUCH:
                raise
            raise NotReady(f"there is no table {self._name}; `python -m jabba outbox --ddl` prints it") from error

    async def waiting(self, database: Database) -> Waiting:
        """Return what is in the outbox; no more than 100,000 of a kind are counted."""
        (found,) = await database.fetch(self._waiting)
        return Waiting(found["new"] + found["begun"], float(found["oldest"] or 0), found["set_aside"])

    async def begin(self, database: Database, limit: int) -> int:
        """Mark the next jobs as being sent from this moment on, the oldest first; return how many there are."""
        async with database.transaction() as transaction:
            await transaction.execute(_BY_INDEX)
            return len(await transaction.execute(self._begin, {"limit": limit}))

    async def fresh(self, transaction: Transaction, younger: float, limit: int) -> list[Row]:
        """Take jobs that were begun less than ``younger`` seconds ago, in their order; nobody else has them."""
        rows = await transaction.execute(self._fresh, {"younger": younger, "limit": limit})
        return [Row(**row) for row in rows]

    async def doubtful(self, database: Database, older: float, limit: int) -> list[Row]:
        """Return jobs that were begun more than ``older`` seconds ago, and are there still."""
        return [Row(**row) for row in await database.fetch(self._doubtful, {"older": older, "limit": limit})]

    async def texts(self, transaction: Transaction | Database, ids: Iterable[UUID]) -> Mapping[UUID, str]:
        """Return what was added of some jobs, in their order."""
        execute = transaction.execute if isinstance(transaction, Transaction) else transaction.fetch
        return {row["id"]: row["job"] for row in await execute(self._texts, {"ids": _listed(ids)})}

    async def remove(self, transaction: Transaction, ids: Sequence[UUID]) -> None:
        """Remove jobs that were accepted."""
        if ids:
            await transaction.execute(self._remove, {"ids": _listed(ids)})

    async def set_aside(self, transaction: Transaction | Database, job: UUID, reason: str) -> None:
        """Keep a job that cannot be sent, with the reason; no relay takes it any more."""
        execute = transaction.execute if isinstance(transaction, Transaction) else transaction.fetch
        await execute(self._set_aside, {"job_id": str(job), "reason": reason})

    async def begin_again(self, database: Database, row: Row) -> None:
        """Mark a job as being sent from this moment on, unless another relay has done something to it meanwhile."""
        await database.fetch(self._begin_again, _unchanged(row))

    async def remove_unchanged(self, database: Database, row: Row) -> None:
        """Remove a job that was found to be accepted, with the same proviso."""
        await database.fetch(self._remove_unchanged, _unchanged(row))


def _waiting(row: Any) -> Any:
    """Count by the indexes, and ask the two of them which job was added first."""
    new, begun = (row.error.is_(None), row.sent_at.is_(None)), (row.error.is_(None), row.sent_at.is_not(None))
    counts = {
        name: select(func.count()).select_from(select(row.id).where(*where).limit(_MOST_COUNTED).subquery())
        for name, where in (("new", new), ("begun", begun), ("set_aside", (row.error.is_not(None),)))
    }
    first = (
        select(row.added_at).where(*new).order_by(row.place).limit(1).subquery(),
        select(row.added_at).where(*begun).order_by(row.sent_at).limit(1).subquery(),
    )
    added = func.least(*(select(one.c.added_at).scalar_subquery() for one in first))
    return select(
        *(count.scalar_subquery().label(name) for name, count in counts.items()),
        extract("epoch", func.clock_timestamp() - added).label("oldest"),
    )


def _unchanged(row: Row) -> dict[str, Any]:
    return {"job_id": str(row.id), "seen": row.sent_at}


def _listed(ids: Iterable[UUID]) -> str:
    return "{" + ",".join(map(str, ids)) + "}"
