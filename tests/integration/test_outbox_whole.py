"""Relays as real processes that are killed in the middle of their work, and outlive outages."""

import asyncio
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest
from sqlalchemy import text

from jabba import outbox
from jabba.database.connection import Database
from jabba.kafka import admin
from jabba.local.broker import EmbeddedBroker
from jabba.outbox.relay import Relay
from jabba.settings import Settings
from tests.support.callbacks import EXECUTIONS
from tests.support.kafka import KafkaServer
from tests.support.postgres import PostgresServer
from tests.support.processes import ChildProcess, eventually, jabba_process

MODULE = "tests.support.callbacks"
KILLS = 6
ALL = text("SELECT id, status FROM jobs WHERE type = 'outbox'")


@dataclass(frozen=True)
class House:
    environment: dict[str, str]
    directory: Path

    @property
    def source(self) -> str:
        return self.environment["JABBA_OUTBOX"]

    def process(self, name: str, role: str) -> ChildProcess:
        return jabba_process(role, environment=self.environment, log=self.directory / f"{name}.log")


@pytest.fixture
def house(kafka: KafkaServer, postgres: PostgresServer, tmp_path: Path) -> Iterator[House]:
    """A worker and a projector; the outbox is in a database of its own."""
    environment = {
        "JABBA_KAFKA": kafka.bootstrap,
        "JABBA_DATABASE": postgres.create_database(f"jobs_{uuid4().hex}"),
        "JABBA_OUTBOX": postgres.create_database(f"shop_{uuid4().hex}"),
        "JABBA_PREFIX": f"r-{uuid4().hex[:8]}",
        "JABBA_PARTITIONS": "2",
        "JABBA_CALLBACKS": MODULE,
        EXECUTIONS: str(tmp_path / "executions"),
    }
    made = House(environment, tmp_path)
    with psycopg.connect(made.source) as connection:
        connection.execute(outbox.DDL)
    init = made.process("init", "init").start()
    assert init.wait_for_exit(60) == 0, init.account("failed")
    with ExitStack() as running:
        for role in ("worker", "projector"):
            running.enter_context(made.process(role, role).start()).wait_for_line(f"{role} ready", 60)
        yield made


@contextmanager
def load(source: str) -> Iterator[list[UUID]]:
    """Add jobs, twenty in a transaction, and roll every fourth back; return those that were committed."""
    committed: list[UUID] = []
    stopping = threading.Event()

    def add_all() -> None:
        with psycopg.connect(source) as connection:
            for number in count():
                note = ["local", MODULE, "note"]
                jobs = [outbox.add(connection, [*note, [number, n]], "outbox").id for n in range(20)]
                if number % 4 == 3:
                    connection.rollback()
                else:
                    connection.commit()
                    committed.extend(jobs)
                if stopping.wait(0.1):
                    return

    thread = threading.Thread(target=add_all)
    thread.start()
    try:
        yield committed
    finally:
        stopping.set()
        thread.join()


def begun(source: str) -> int:
    """Return how many jobs a relay is sending at this moment."""
    with psycopg.connect(source) as connection:
        found = connection.execute("SELECT count(*) FROM jabba_outbox WHERE sent_at IS NOT NULL").fetchone()
        return int(found[0]) if found else 0


@pytest.mark.slow
async def test_however_often_relays_are_killed_each_committed_job_runs_once(house: House) -> None:
    with ExitStack() as running:
        relays = [running.enter_context(house.process(f"relay-{n}", "outbox").start()) for n in range(2)]
        relays[0].wait_for_line("outbox relay ready", 60)
        with load(house.source) as committed:
            for kill in range(KILLS):
                relay = relays[kill % 2]
                relay.wait_for_line("outbox relay ready", 60)
                relay.wait_until(lambda: begun(house.source) > 0, 60, "jobs that are under way")
                relay.kill()
                relay.start()
        async with Database(house.environment["JABBA_DATABASE"]) as projection:

            async def projected() -> dict[UUID, str]:
                rows = {row["id"]: row["status"] for row in await projection.fetch(ALL)}
                return rows if len(rows) >= len(committed) and set(rows.values()) == {"PROCESSED"} else {}

            found = await eventually(projected, 90, "projection of all that was committed")
        for relay in relays:
            # The one that was started last may not have got as far as to listen to signals.
            relay.wait_for_line("outbox relay ready", 60)
        assert [relay.terminate() for relay in relays] == [0, 0]

    assert len(committed) > KILLS
    assert set(found) == set(committed)
    executed = Counter((house.directory / "executions").read_text().splitlines())
    assert len(executed) == len(committed)
    assert set(executed.values()) == {1}


async def test_outages_of_both_sides_are_waited_for(tmp_path: Path) -> None:
    broker = EmbeddedBroker(tmp_path / "broker")
    broker.start()
    with PostgresServer(tmp_path / "postgres") as postgres:
        settings = Settings(kafka=broker.bootstrap, partitions=1, produce_seconds=2)
        await admin.create_topics(settings.cluster)
        with psycopg.connect(postgres.dsn) as connection:
            connection.execute(outbox.DDL)
        async with Relay(postgres.dsn, settings) as relay:
            running = asyncio.create_task(relay.run())
            for stop, start in ((broker.stop, broker.start), (postgres.kill, postgres.start)):
                await added_and_gone(postgres.dsn)
                if start == broker.start:
                    stop()
                    add(postgres.dsn)
                else:
                    add(postgres.dsn)
                    stop()
                start()
                await eventually(lambda: gone(postgres.dsn), 60, "an empty outbox")
            relay.stop()
            await running
    broker.stop()


def add(dsn: str) -> None:
    with psycopg.connect(dsn) as connection:
        outbox.add(connection, ["local", "shop", "ship"], "order")


async def gone(dsn: str) -> bool:
    async with await psycopg.AsyncConnection.connect(dsn) as connection:
        return await (await connection.execute("SELECT 1 FROM jabba_outbox")).fetchone() is None


async def added_and_gone(dsn: str) -> None:
    add(dsn)
    await eventually(lambda: gone(dsn), 60, "an empty outbox")
