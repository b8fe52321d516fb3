"""A job is added to an outbox with any driver; committed it is there, rolled back it is not."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import aiopg
import asyncpg
import psycopg
import psycopg2
import pytest
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from jabba import outbox

PAGE = Path(__file__).parents[2] / "docs" / "outbox.md"
CALL = ["local", "shop", "ship", ["100 % ☃", 1]]
Connected = Any
"""What is given to ``add``, and what ends its transaction."""


@pytest.fixture
def table(database: str) -> str:
    run(database, outbox.DDL + outbox.DDL)
    return database


def run(dsn: str, sql: str) -> list[Any]:
    with contextlib.closing(psycopg2.connect(dsn)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall() if cursor.description else []


def rows(dsn: str) -> list[UUID]:
    return [UUID(found) for (found,) in run(dsn, "SELECT id::text FROM jabba_outbox ORDER BY place")]


@contextlib.contextmanager
def by_psycopg2(dsn: str) -> Iterator[Connected]:
    with contextlib.closing(psycopg2.connect(dsn)) as connection:
        yield connection, connection


@contextlib.contextmanager
def by_psycopg2_cursor(dsn: str) -> Iterator[Connected]:
    with contextlib.closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
        yield cursor, connection


@contextlib.contextmanager
def by_psycopg(dsn: str) -> Iterator[Connected]:
    with psycopg.connect(dsn) as connection:
        yield connection, connection


@contextlib.contextmanager
def by_psycopg_cursor(dsn: str) -> Iterator[Connected]:
    with psycopg.connect(dsn) as connection, connection.cursor() as cursor:
        yield cursor, connection


def by_sqlalchemy(driver: str) -> Callable[[str], Any]:
    @contextlib.contextmanager
    def connected(dsn: str) -> Iterator[Connected]:
        engine = create_engine(dsn.replace("postgresql://", f"postgresql+{driver}://"))
        with engine.connect() as connection:
            yield connection, connection
        engine.dispose()

    return connected


@contextlib.contextmanager
def by_session(dsn: str) -> Iterator[Connected]:
    engine = create_engine(dsn.replace("postgresql://", "postgresql+psycopg2://"))
    with Session(engine) as session:
        yield session, session
    engine.dispose()


SYNC = {
    "psycopg2": by_psycopg2,
    "psycopg2 cursor": by_psycopg2_cursor,
    "psycopg": by_psycopg,
    "psycopg cursor": by_psycopg_cursor,
    "sqlalchemy with psycopg2": by_sqlalchemy("psycopg2"),
    "sqlalchemy with psycopg": by_sqlalchemy("psycopg"),
    "sqlalchemy session": by_session,
}


@pytest.mark.parametrize("connected", SYNC.values(), ids=SYNC)
def test_committed_is_there_and_rolled_back_is_not(connected: Callable[[str], Any], table: str) -> None:
    with connected(table) as (connection, transaction):
        outbox.add(connection, CALL, "order", meta={"n": 1})
        transaction.rollback()
        added = [outbox.add(connection, CALL, "order", name="a"), outbox.add(connection, [CALL, CALL], "order")]
        assert rows(table) == []
        transaction.commit()

    assert rows(table) == [one.id for one in added]
    kept = run(table, "SELECT job FROM jabba_outbox ORDER BY place")
    assert [text for (text,) in kept] == [one.text for one in added]


@contextlib.asynccontextmanager
async def by_async_psycopg(dsn: str) -> AsyncIterator[Connected]:
    async with await psycopg.AsyncConnection.connect(dsn) as connection:
        yield connection, connection.rollback, connection.commit


@contextlib.asynccontextmanager
async def by_aiopg(dsn: str) -> AsyncIterator[Connected]:
    async with aiopg.connect(dsn) as connection, connection.cursor() as cursor:

        async def end(how: str) -> None:
            await cursor.execute(how)
            await cursor.execute("BEGIN")

        await cursor.execute("BEGIN")
        yield cursor, lambda: end("ROLLBACK"), lambda: end("COMMIT")


@contextlib.asynccontextmanager
async def by_async_sqlalchemy(dsn: str) -> AsyncIterator[Connected]:
    engine = create_async_engine(dsn.replace("postgresql://", "postgresql+asyncpg://"))
    async with engine.connect() as connection:
        yield connection, connection.rollback, connection.commit
    await engine.dispose()


@contextlib.asynccontextmanager
async def by_async_session(dsn: str) -> AsyncIterator[Connected]:
    engine = create_async_engine(dsn.replace("postgresql://", "postgresql+psycopg://"))
    async with AsyncSession(engine) as session:
        yield session, session.rollback, session.commit
    await engine.dispose()


ASYNC = {
    "psycopg": by_async_psycopg,
    "aiopg cursor": by_aiopg,
    "sqlalchemy with asyncpg": by_async_sqlalchemy,
    "sqlalchemy session with psycopg": by_async_session,
}


@pytest.mark.parametrize("connected", ASYNC.values(), ids=ASYNC)
async def test_committed_is_there_and_rolled_back_is_not_in_an_event_loop(
    connected: Callable[[str], Any], table: str
) -> None:
    async with connected(table) as (connection, rollback, commit):
        await outbox.add_async(connection, CALL, "order")
        await rollback()
        added = await outbox.add_async(connection, CALL, "order")
        await commit()

    assert await asyncio.to_thread(rows, table) == [added.id]


async def test_asyncpg_adds_in_its_transaction(table: str) -> None:
    async with asyncpg.create_pool(table, min_size=1, max_size=1) as pool:
        async with pool.acquire() as connection:
            undone = connection.transaction()
            await undone.start()
            await outbox.add_async(connection, CALL, "order")
            await undone.rollback()
            async with connection.transaction():
                added = await outbox.add_async(connection, CALL, "order")
        with pytest.raises(TypeError, match="a pool has no transaction"):
            await outbox.add_async(pool, CALL, "order")

    assert await asyncio.to_thread(rows, table) == [added.id]


def test_the_example_of_the_page_runs(table: str) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    run(table, "CREATE TABLE orders (number int, job uuid)")
    exec(program, {"database": table})  # noqa: S102 — the page's own

    assert run(table, "SELECT orders.job = o.id FROM orders, jabba_outbox o") == [(True,)]


def test_the_table_may_have_another_name_and_schema(database: str) -> None:
    run(database, "CREATE SCHEMA shop;" + outbox.ddl("shop.jobs"))
    with psycopg.connect(database) as connection:
        outbox.add(connection, CALL, "order", table="shop.jobs")

    assert len(run(database, "SELECT 1 FROM shop.jobs")) == 1


def test_one_id_is_added_once(table: str) -> None:
    with psycopg.connect(table) as connection:
        added = outbox.add(connection, CALL, "order")
        with pytest.raises(psycopg.errors.UniqueViolation):
            outbox.add(connection, CALL, "order", id=added.id)
