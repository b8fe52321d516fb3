"""A callee's answers in PostgreSQL, with any driver; ``once`` makes claim, effect and answer one transaction."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiopg
import asyncpg
import psycopg
import psycopg2
import pytest
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import create_async_engine

from jabba import callee as sdk
from jabba.callee import Callee, ClaimLost, Context, FinalError, PostgresStore
from jabba.callee.store import Busy, Claimed, Kept
from jabba.callee.wire import Response
from tests.support.calls import NOW, SECRET, request
from tests.support.clocks import HandClock

Connect = Callable[[], Any]


@pytest.fixture
def dsn(database: str) -> str:
    run(database, sdk.DDL + sdk.DDL + "CREATE TABLE effects (call text);")
    return database


def run(dsn: str, sql: str) -> list[Any]:
    with contextlib.closing(psycopg2.connect(dsn)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall() if cursor.description else []


def effects(dsn: str) -> int:
    [(count,)] = run(dsn, "SELECT count(*) FROM effects")
    return int(count)


@contextlib.asynccontextmanager
async def with_asyncpg(dsn: str) -> AsyncIterator[Connect]:
    async with asyncpg.create_pool(dsn, min_size=1, max_size=3) as pool:
        yield pool.acquire


@contextlib.asynccontextmanager
async def with_psycopg(dsn: str) -> AsyncIterator[Connect]:
    yield lambda: psycopg.AsyncConnection.connect(dsn)


@contextlib.asynccontextmanager
async def with_aiopg(dsn: str) -> AsyncIterator[Connect]:
    async with aiopg.create_pool(dsn, minsize=1, maxsize=3) as pool:

        @contextlib.asynccontextmanager
        async def cursor() -> AsyncIterator[Any]:
            async with pool.acquire() as connection, connection.cursor() as made:
                yield made

        yield cursor


@contextlib.asynccontextmanager
async def with_async_sqlalchemy(dsn: str) -> AsyncIterator[Connect]:
    engine = create_async_engine(dsn.replace("postgresql://", "postgresql+asyncpg://"))
    yield engine.connect
    await engine.dispose()


@contextlib.asynccontextmanager
async def with_sync_psycopg(dsn: str) -> AsyncIterator[Connect]:
    yield lambda: psycopg.connect(dsn)


@contextlib.asynccontextmanager
async def with_psycopg2(dsn: str) -> AsyncIterator[Connect]:
    yield lambda: contextlib.closing(psycopg2.connect(dsn))


@contextlib.asynccontextmanager
async def with_sqlalchemy(dsn: str) -> AsyncIterator[Connect]:
    engine = create_engine(dsn.replace("postgresql://", "postgresql+psycopg2://"))
    yield engine.connect
    engine.dispose()


ASYNC = {
    "asyncpg": with_asyncpg,
    "psycopg": with_psycopg,
    "aiopg": with_aiopg,
    "sqlalchemy with asyncpg": with_async_sqlalchemy,
}
SYNC = {
    "psycopg in threads": with_sync_psycopg,
    "psycopg2 in threads": with_psycopg2,
    "sqlalchemy with psycopg2 in threads": with_sqlalchemy,
}


@pytest.fixture(params=[*ASYNC, *SYNC])
async def connect(request: pytest.FixtureRequest, dsn: str) -> AsyncIterator[Connect]:
    async with {**ASYNC, **SYNC}[request.param](dsn) as made:
        yield made


@contextlib.asynccontextmanager
async def opened(connect: Connect) -> AsyncIterator[Any]:
    made = connect()
    if asyncio.iscoroutine(made):
        made = await made
    async with made as connection:
        yield connection


async def test_a_call_is_claimed_once_until_it_has_ended(connect: Connect, dsn: str) -> None:
    store = PostgresStore(connect)
    mine = await store.claim("a-0")
    assert isinstance(mine, Claimed)
    assert isinstance(await store.claim("a-0"), Busy)
    assert await store.renew("a-0", mine.claim)
    assert not await store.renew("a-0", "another")

    await store.release("a-0", mine.claim)
    mine = await store.claim("a-0")
    assert isinstance(mine, Claimed)
    await store.keep("a-0", mine.claim, "{}")
    await store.release("a-0", mine.claim)
    assert await store.claim("a-0") == Kept("{}")


@pytest.fixture
def simple(dsn: str) -> PostgresStore:
    return PostgresStore(lambda: psycopg.AsyncConnection.connect(dsn))


async def test_the_claim_of_a_process_that_died_ends_with_its_lease(simple: PostgresStore, dsn: str) -> None:
    dead = await simple.claim("a-0")
    assert isinstance(dead, Claimed)
    run(dsn, "UPDATE jabba_calls SET claimed_until = now()")
    heir = await simple.claim("a-0")
    assert isinstance(heir, Claimed)
    assert heir != dead

    await simple.keep("a-0", dead.claim, "late")
    assert isinstance(await simple.claim("a-0"), Busy)
    await simple.keep("a-0", heir.claim, "{}")
    assert await simple.claim("a-0") == Kept("{}")


async def test_answers_are_forgotten_when_they_have_been_kept_long_enough(simple: PostgresStore, dsn: str) -> None:
    for name in ("a-0", "b-0"):
        claimed = await simple.claim(name)
        assert isinstance(claimed, Claimed)
        await simple.keep(name, claimed.claim, "{}")
    run(dsn, "UPDATE jabba_calls SET forget_at = now(), claimed_until = now()")

    assert isinstance(await simple.claim("a-0"), Claimed)
    await simple.forget()
    assert run(dsn, "SELECT id FROM jabba_calls") == [("a-0",)]


def callee_of(store: PostgresStore) -> Callee:
    clock = HandClock()
    clock.seconds = NOW
    return Callee("billing", [SECRET], store=store, clock=clock)


def body_of(response: Response) -> Any:
    return json.loads(response.body)


async def insert(connection: Any, call: str) -> None:
    sql = f"INSERT INTO effects VALUES ('{call}')"  # noqa: S608 — the test's own
    execute = getattr(connection, "exec_driver_sql", None) or connection.execute
    await execute(sql)


def insert_in_thread(connection: Any, call: str) -> None:
    sql = f"INSERT INTO effects VALUES ('{call}')"  # noqa: S608 — the test's own
    if hasattr(connection, "exec_driver_sql"):
        connection.exec_driver_sql(sql)
    else:
        with connection.cursor() as cursor:
            cursor.execute(sql)


@pytest.fixture(params=list(ASYNC))
async def async_connect(request: pytest.FixtureRequest, dsn: str) -> AsyncIterator[Connect]:
    async with ASYNC[request.param](dsn) as made:
        yield made


@pytest.fixture(params=list(SYNC))
async def sync_connect(request: pytest.FixtureRequest, dsn: str) -> AsyncIterator[Connect]:
    async with SYNC[request.param](dsn) as made:
        yield made


async def test_once_commits_effect_and_answer_together(async_connect: Connect, dsn: str) -> None:
    callee = callee_of(PostgresStore(async_connect))
    fails = True

    @callee.callback("shop.charge")
    async def charge(context: Context) -> dict[str, Any]:
        async with opened(async_connect) as connection, context.once(connection) as once:
            await insert(connection, context.id)
            once.result = {"attempt": context.attempt}
            if fails:
                raise ValueError("before the end")
        raise ValueError("after the end")

    first = await callee.answer(request("shop.charge", id="a-0", attempt=1))
    assert body_of(first)["raised"]["error"] == "ValueError: before the end"
    assert effects(dsn) == 0

    fails = False
    for attempt in (2, 3):
        answer = await callee.answer(request("shop.charge", id="a-0", attempt=attempt))
        assert body_of(answer) == {"ok": {"attempt": 2}}
    assert effects(dsn) == 1


async def test_once_works_in_threads(sync_connect: Connect, dsn: str) -> None:
    callee = callee_of(PostgresStore(sync_connect))

    @callee.callback("shop.charge")
    def charge(context: Context) -> None:
        with sync_connect() as connection, context.once(connection) as once:
            insert_in_thread(connection, context.id)
            once.result = {"attempt": context.attempt}

    for attempt in (1, 2):
        answer = await callee.answer(request("shop.charge", id="a-0", attempt=attempt))
        assert body_of(answer) == {"ok": {"attempt": 1}}
    assert effects(dsn) == 1


async def test_a_delivery_that_was_overtaken_has_no_effect(simple: PostgresStore, dsn: str) -> None:
    callee, other = callee_of(simple), callee_of(simple)
    overtaken = asyncio.Event()

    async def charge(context: Context) -> None:
        if context.attempt == 1:
            run(dsn, "UPDATE jabba_calls SET claimed_until = now()")
            assert body_of(await other.answer(request("shop.charge", id="a-0", attempt=2))) == {"ok": {"attempt": 2}}
            overtaken.set()
        async with await psycopg.AsyncConnection.connect(dsn) as connection, context.once(connection) as once:
            await insert(connection, context.id)
            once.result = {"attempt": context.attempt}

    for one in (callee, other):
        one.callback("shop.charge")(charge)
    answer = await callee.answer(request("shop.charge", id="a-0", attempt=1))

    assert overtaken.is_set()
    assert body_of(answer) == {"ok": {"attempt": 2}}
    assert effects(dsn) == 1


async def test_a_claim_that_another_one_holds_is_told_as_busy(simple: PostgresStore, dsn: str) -> None:
    callee = callee_of(simple)

    @callee.callback("shop.charge")
    async def charge(context: Context) -> None:
        run(dsn, "UPDATE jabba_calls SET claim = 'another'")
        async with await psycopg.AsyncConnection.connect(dsn) as connection:
            with pytest.raises(ClaimLost):
                async with context.once(connection):
                    raise AssertionError
            async with context.once(connection):
                raise AssertionError

    assert (await callee.answer(request("shop.charge", id="a-0"))).status == 409


async def test_only_final_answers_outlive_the_process(simple: PostgresStore, dsn: str) -> None:
    runs: list[str] = []

    def started() -> Callee:
        callee = callee_of(simple)

        @callee.callback("shop.fail")
        async def fail(word: str) -> None:
            runs.append(word)
            raise FinalError(word) if word == "final" else ValueError(word)

        return callee

    for word in ("final", "other"):
        for _ in range(2):
            await started().answer(request("shop.fail", word, id=f"{word}-0"))
    assert runs == ["final", "other", "other"]


def test_the_table_may_have_another_name(database: str) -> None:
    run(database, "CREATE SCHEMA shop;" + sdk.ddl("shop.calls"))
    with pytest.raises(ValueError, match="no name of a table"):
        sdk.ddl("calls; DROP TABLE x")
    assert run(database, "SELECT count(*) FROM shop.calls") == [(0,)]
