"""The pool in bad weather: it says that PostgreSQL is away, does not hang, and comes back by itself."""

import asyncio
import os
import signal
import socket
from contextlib import closing
from functools import partial
from typing import Any

import aiopg
import psycopg2
import pytest
from sqlalchemy import TextClause, text

from jabba.database.connection import Database, Overdue, TransactionLost
from jabba.errors import Unavailable
from tests.support.postgres import PostgresServer
from tests.support.processes import eventually

ONE = text("SELECT 1 AS one")


async def test_rows_are_answered_by_column_with_exact_json_and_utc(database: str) -> None:
    statement = text('SELECT \'{"big": 123456789012345678901234567890, "f": 1.5}\'::jsonb AS j, now() AS at, NULL AS n')
    async with Database(database) as opened:
        (row,) = await opened.fetch(statement)

    assert row["j"] == {"big": 123456789012345678901234567890, "f": 1.5}
    assert row["at"].tzname() == "UTC"
    assert row["n"] is None


async def test_a_transaction_is_all_or_nothing(database: str) -> None:
    async with Database(database) as opened:
        await opened.fetch(text("CREATE TABLE t (n int)"))
        async with opened.transaction() as transaction:
            await transaction.execute(text("INSERT INTO t VALUES (:n)"), {"n": 1})
        with pytest.raises(ZeroDivisionError):
            await _insert_and_fail(opened)
        with pytest.raises(psycopg2.errors.InvalidTextRepresentation):
            await _insert_and_ask(opened, text("SELECT 'x'::int"))

        assert await opened.fetch(text("SELECT n FROM t")) == [{"n": 1}]


async def _insert_and_fail(opened: Database) -> None:
    async with opened.transaction() as transaction:
        await transaction.execute(text("INSERT INTO t VALUES (2)"))
        raise ZeroDivisionError


async def _insert_and_ask(opened: Database, statement: TextClause) -> None:
    async with opened.transaction() as transaction:
        await transaction.execute(text("INSERT INTO t VALUES (3)"))
        await transaction.execute(statement)


async def test_a_statement_that_takes_too_long_is_given_up_on_both_sides(database: str) -> None:
    async with Database(database, statement_seconds=0.3) as opened:
        with pytest.raises(Overdue, match=r"did not come to an end within 0\.3 s"):
            await opened.fetch(text("SELECT pg_sleep(30)"))
    running = text("SELECT count(*) AS n FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(30)'")
    async with Database(database) as opened:

        async def is_over() -> bool:
            return not (await opened.fetch(running))[0]["n"]

        await eventually(is_over, 20, "end on the server")


async def test_a_server_that_stands_still_is_unavailable(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jabba.database.connection._GRACE_SECONDS", 0.5)
    async with Database(database, size=1, statement_seconds=1) as opened:
        (session,) = await opened.fetch(text("SELECT pg_backend_pid() AS pid"))
        os.kill(session["pid"], signal.SIGSTOP)
        try:
            with pytest.raises(Unavailable, match=r"did not answer within 1\.5 s") as caught:
                await opened.fetch(ONE)
        finally:
            os.kill(session["pid"], signal.SIGCONT)
    assert type(caught.value) is Unavailable


async def test_a_statement_that_an_operator_cancels_does_not_cancel_the_caller(
    database: str, caplog: pytest.LogCaptureFixture
) -> None:
    cancel = text("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(20)%'")
    async with Database(database) as opened:
        sleeping = asyncio.create_task(opened.fetch(text("SELECT pg_sleep(20)")))
        await eventually(partial(opened.fetch, cancel), what="statement to cancel")
        with pytest.raises(Unavailable, match="cancelled the statement"):
            await sleeping
        assert await opened.fetch(ONE) == [{"one": 1}]


async def test_a_caller_that_is_cancelled_gives_its_connection_back(database: str) -> None:
    async with Database(database, size=1) as opened:
        sleeping = asyncio.create_task(opened.fetch(text("SELECT pg_sleep(20)")))
        await asyncio.sleep(0.2)
        sleeping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sleeping

        assert await opened.fetch(ONE) == [{"one": 1}]


async def test_two_transactions_in_each_others_way(database: str) -> None:
    """One of two that lock two rows in opposite orders is told so, and the other goes on."""
    async with Database(database) as opened:
        await opened.fetch(text("CREATE TABLE t AS SELECT generate_series(1, 2) AS n, 0 AS hits"))
        update = text("UPDATE t SET hits = hits + 1 WHERE n = :n")
        first_locks = asyncio.Barrier(2)

        async def lock(*order: int) -> None:
            async with opened.transaction() as transaction:
                await transaction.execute(update, {"n": order[0]})
                await first_locks.wait()
                await transaction.execute(update, {"n": order[1]})

        outcomes = await asyncio.gather(lock(1, 2), lock(2, 1), return_exceptions=True)

        assert [type(outcome) for outcome in outcomes if outcome] == [TransactionLost]
        assert await opened.fetch(text("SELECT sum(hits) AS hits FROM t")) == [{"hits": 2}]


async def test_a_statement_that_loses_against_a_transaction_is_executed_again(database: str) -> None:
    first, second = (text(f"SELECT pg_advisory_xact_lock({number})") for number in (1, 2))
    waiting = text("SELECT count(*) AS n FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
    async with Database(database) as opened:
        async with opened.transaction() as transaction:
            await transaction.execute(first)
            crossed = text("SELECT n FROM (VALUES (2), (1)) AS v (n) WHERE CAST(pg_advisory_xact_lock(n) AS text) = ''")
            loser = asyncio.create_task(opened.fetch(crossed))

            async def waits() -> bool:
                return bool((await opened.fetch(waiting))[0]["n"])

            await eventually(waits, 30, "statement that waits")
            await transaction.execute(second)
        assert await loser == [{"n": 2}, {"n": 1}]


async def test_the_pool_heals_when_the_server_comes_back(postgres: PostgresServer, database: str) -> None:
    async with Database(database, size=3) as opened:
        await asyncio.gather(*(opened.fetch(text("SELECT pg_sleep(0.05)")) for _ in range(3)))
        postgres.stop()
        for _ in range(3):
            with pytest.raises(Unavailable):
                await opened.fetch(ONE)
        postgres.start()

        for _ in range(5):
            assert await opened.fetch(ONE) == [{"one": 1}]


async def test_a_transaction_that_the_server_breaks_off_is_unavailable(postgres: PostgresServer, database: str) -> None:
    async with Database(database) as opened:
        with pytest.raises(Unavailable):
            await _kill_in_the_middle(postgres, opened)
        postgres.start()

        assert await opened.fetch(ONE) == [{"one": 1}]


async def _kill_in_the_middle(postgres: PostgresServer, opened: Database) -> None:
    async with opened.transaction() as transaction:
        await transaction.execute(ONE)
        postgres.kill()
        await transaction.execute(ONE)


async def test_a_server_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jabba.database.connection._CONNECT_SECONDS", 0.3)
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        dsn = f"postgresql://someone:secret@127.0.0.1:{silent.getsockname()[1]}/jabba"
        async with Database(dsn) as opened:
            with pytest.raises(Unavailable, match=r"gave no connection within 0\.3 s") as caught:
                await opened.fetch(ONE)
    assert "secret" not in str(caught.value)


async def test_a_wrong_password_is_unavailable_and_not_shown(postgres: PostgresServer) -> None:
    wrong = postgres.dsn.replace("@", "-wrong@")
    async with Database(wrong) as opened:
        with pytest.raises(Unavailable, match="password authentication failed") as caught:
            await opened.fetch(ONE)
    assert "-wrong" not in str(caught.value)


async def test_a_pool_that_is_busy_for_too_long_says_so(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Database(database, size=1) as opened, opened.transaction():
        monkeypatch.setattr("jabba.database.connection._CONNECT_SECONDS", 0.3)
        with pytest.raises(Unavailable, match="gave no connection"):
            await opened.fetch(ONE)


async def test_a_closed_database_says_so(database: str) -> None:
    opened = Database(database)
    with pytest.raises(Unavailable, match="closed"):
        await opened.fetch(ONE)
    async with opened:
        assert await opened.fetch(ONE) == [{"one": 1}]
    with pytest.raises(Unavailable, match="closed"):
        await opened.fetch(ONE)


@pytest.mark.parametrize("answer", ["connected", "set up", "BEGIN", "SELECT", "COMMIT"])
async def test_a_cancellation_that_comes_with_an_answer_is_not_forgotten(
    database: str, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    """Whoever looks now and then until cancelled would never end. Nor is a connection left open that nobody knows."""
    async with Database(database, size=1) as opened:
        asking = asyncio.create_task(_ask_in_a_transaction(opened))
        _cancel_with_answer(monkeypatch, asking, ["connected", "set up", "BEGIN", "SELECT", "COMMIT"].index(answer))
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert await opened.fetch(ONE) == [{"one": 1}]


async def _ask_in_a_transaction(opened: Database) -> None:
    async with opened.transaction() as transaction:
        await transaction.execute(ONE)


def _cancel_with_answer(monkeypatch: pytest.MonkeyPatch, asking: "asyncio.Task[None]", number: int) -> None:
    """Cancel a task in the very moment in which this answer of the server is there, and the task has not gone on."""
    ready, answers = aiopg.Connection._ready, 0

    def answered(reference: Any) -> None:
        nonlocal answers
        waiter = reference()._waiter
        waited = waiter is not None and not waiter.done()
        ready(reference)
        if waited and waiter.done():
            if answers == number:
                asking.cancel()
            answers += 1

    monkeypatch.setattr(aiopg.Connection, "_ready", staticmethod(answered))


async def test_who_waits_for_a_connection_gets_the_place_of_one_that_is_closed(database: str) -> None:
    async with Database(database, size=1) as opened:
        holder = asyncio.create_task(opened.fetch(text("SELECT pg_sleep(20)")))
        await asyncio.sleep(0.2)
        waiting = asyncio.create_task(opened.fetch(ONE))
        await asyncio.sleep(0.2)
        holder.cancel()
        assert await waiting == [{"one": 1}]


async def test_a_database_that_is_closed_while_somebody_connects_is_closed(database: str) -> None:
    """Also when that one gives up what it asks then."""
    async with asyncio.timeout(60):
        async with Database(database, size=1) as opened:
            asking = asyncio.create_task(opened.fetch(text("SELECT pg_sleep(30)")))
            asyncio.get_running_loop().call_later(0.5, asking.cancel)
            await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await asking
