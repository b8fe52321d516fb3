"""A store in the callee's own PostgreSQL: it serves any number of processes, and outlives them.

With it ``context.once(connection)`` makes the claim, the effect and the answer one transaction.
"""

import asyncio
import inspect
import re
from collections.abc import Callable, Sequence
from typing import Any
from uuid import uuid4

from jabba.callee import sql
from jabba.callee.memory import KEEP_SECONDS
from jabba.callee.store import Busy, Claimed, ClaimLost, Kept

TABLE = "jabba_calls"

_NAME = re.compile(r"[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)?")
_DDL = """\
CREATE TABLE IF NOT EXISTS {table} (
    id            text PRIMARY KEY,      -- webhook-id
    claim         text NOT NULL,         -- whose delivery is at work
    claimed_until timestamptz NOT NULL,
    answer        text,                  -- once it is final
    forget_at     timestamptz NOT NULL
);
CREATE INDEX IF NOT EXISTS {index}_forget ON {table} (forget_at);
"""
_CLAIM = """
INSERT INTO <table> AS c (id, claim, claimed_until, forget_at)
VALUES (CAST({0} AS text), CAST({1} AS text), clock_timestamp() + make_interval(secs => CAST({2} AS float8)),
    clock_timestamp() + make_interval(secs => CAST({3} AS float8)))
ON CONFLICT (id) DO UPDATE SET claim = excluded.claim, claimed_until = excluded.claimed_until,
    forget_at = excluded.forget_at, answer = NULL
WHERE (c.answer IS NULL AND c.claimed_until <= clock_timestamp()) OR c.forget_at <= clock_timestamp()
RETURNING claim
"""
_LOOK = "SELECT answer FROM <table> WHERE id = CAST({0} AS text)"
_LOCK = "SELECT claim, answer FROM <table> WHERE id = CAST({0} AS text) FOR UPDATE"
_RENEW = """
UPDATE <table> SET claimed_until = clock_timestamp() + make_interval(secs => CAST({2} AS float8))
WHERE id = CAST({0} AS text) AND claim = CAST({1} AS text) AND answer IS NULL RETURNING id
"""
_KEEP = """
UPDATE <table> SET answer = CAST({2} AS text),
    forget_at = clock_timestamp() + make_interval(secs => CAST({3} AS float8))
WHERE id = CAST({0} AS text) AND claim = CAST({1} AS text) AND answer IS NULL
"""
_RELEASE = "DELETE FROM <table> WHERE id = CAST({0} AS text) AND claim = CAST({1} AS text) AND answer IS NULL"
_FORGET = """
DELETE FROM <table> WHERE id IN (SELECT id FROM <table> WHERE forget_at <= clock_timestamp()
    AND claimed_until <= clock_timestamp() LIMIT 1000 FOR UPDATE SKIP LOCKED)
"""
_FORGET_EVERY = 100


def ddl(table: str = TABLE) -> str:
    """Return the statements that create the table; running them again changes nothing.

    The callee needs the rights to SELECT, INSERT, UPDATE and DELETE.
    """
    checked = _checked(table)
    return _DDL.format(table=checked, index=checked.rpartition(".")[2])


class PostgresStore:
    """Keeps answers in a table, for ``keep_seconds``.

    Args:
        connect: returns a context manager, asynchronous or not, that gives a connection or cursor: ``pool.acquire`` of
            asyncpg, ``pool.connection`` of psycopg, ``engine.connect`` of SQLAlchemy, ``pool.cursor`` of aiopg. One
            that is not asynchronous is used in threads.
        table: its name, ``schema.table`` if it is elsewhere.
        lease: seconds after which the calls of a process that died may run again; it is renewed while they run.
        keep_seconds: for how long a repeated call gets the same answer.
    """

    def __init__(
        self,
        connect: Callable[[], Any],
        *,
        table: str = TABLE,
        lease: float = 60.0,
        keep_seconds: float = KEEP_SECONDS,
    ) -> None:
        self._connect = connect
        self._table = _checked(table)
        self.lease: float | None = lease
        self._keep_seconds = keep_seconds
        self._kept = 0

    async def claim(self, id: str) -> Claimed | Busy | Kept:  # noqa: A002 — the header's name
        """Take a call, unless it is taken or has ended."""
        claim = uuid4().hex
        if await self._run(_CLAIM, id, claim, self.lease, self._keep_seconds):
            return Claimed(claim)
        row = await self._run(_LOOK, id)
        return Busy() if row is None or row[0] is None else Kept(row[0])

    async def renew(self, id: str, claim: str) -> bool:  # noqa: A002
        """Extend a claim by a lease; return whether it still holds."""
        return await self._run(_RENEW, id, claim, self.lease) is not None

    async def keep(self, id: str, claim: str, answer: str) -> None:  # noqa: A002
        """Keep a final answer, and give the claim up; now and then delete what has been kept long enough."""
        await self._run(_KEEP, id, claim, answer, self._keep_seconds)
        self._kept += 1
        if self._kept % _FORGET_EVERY == 0:
            await self.forget()

    async def release(self, id: str, claim: str) -> None:  # noqa: A002
        """Give a claim up without an answer."""
        await self._run(_RELEASE, id, claim)

    async def forget(self) -> None:
        """Delete up to a thousand answers that have been kept long enough."""
        await self._run(_FORGET)

    async def lock_async(self, connection: Any, id: str, claim: str) -> str | None:  # noqa: A002
        """Lock a call's row in the transaction of ``connection``; return the answer that it has, if any.

        Raises:
            ClaimLost: another delivery has taken the call over, or this database does not have its row.
        """
        return _owned(await sql.fetch_async(connection, self._in_table(_LOCK), (id,)), claim)

    def lock(self, connection: Any, id: str, claim: str) -> str | None:  # noqa: A002
        """Do as ``lock_async`` does, with a synchronous connection."""
        return _owned(sql.fetch(connection, self._in_table(_LOCK), (id,)), claim)

    async def write_async(self, connection: Any, id: str, claim: str, answer: str) -> None:  # noqa: A002
        """Write the answer in the transaction of ``connection``."""
        await sql.fetch_async(connection, self._in_table(_KEEP), (id, claim, answer, self._keep_seconds))

    def write(self, connection: Any, id: str, claim: str, answer: str) -> None:  # noqa: A002
        """Do as ``write_async`` does, with a synchronous connection."""
        sql.fetch(connection, self._in_table(_KEEP), (id, claim, answer, self._keep_seconds))

    async def _run(self, statement: str, *values: Any) -> sql.Row | None:
        text = self._in_table(statement)
        opened = self._connect()
        if inspect.iscoroutine(opened):
            opened = await opened
        if not hasattr(opened, "__aenter__"):
            return await asyncio.to_thread(_run_in_thread, opened, text, values)
        async with opened as connection, sql.transaction_async(connection):
            return await sql.fetch_async(connection, text, values)

    def _in_table(self, statement: str) -> str:
        return statement.replace("<table>", self._table)


def _run_in_thread(opened: Any, text: str, values: Sequence[Any]) -> sql.Row | None:
    with opened as connection, sql.transaction(connection):
        return sql.fetch(connection, text, values)


def _owned(row: sql.Row | None, claim: str) -> str | None:
    if row is None:
        raise ClaimLost("the call's claim is not in this database: give once() a connection to that of the store")
    answer: str | None = row[1]
    if answer is None and row[0] != claim:
        raise ClaimLost("another delivery has taken this call over")
    return answer


def _checked(table: str) -> str:
    if not _NAME.fullmatch(table):
        raise ValueError(f"{table!r} is no name of a table: lower-case letters, digits and _, after schema. if needed")
    return table


DDL = ddl()
"""The statements that create the table under its usual name."""
