"""How fast a relay empties an outbox: Apache Kafka and PostgreSQL, one relay, jobs of one task.

Run from the root: ``python -m bench.outbox [JOBS]``.
"""

import asyncio
import sys
import tempfile
import time
from pathlib import Path

import psycopg2
import psycopg2.extras

from jabba import outbox
from jabba.kafka import admin
from jabba.local.ports import free_port
from jabba.outbox.relay import Relay
from jabba.settings import Settings
from tests.support.kafka import BENCHMARK_JVM, KafkaServer
from tests.support.postgres import PostgresServer

JOBS = 50_000
_IN_A_TRANSACTION = 100
_ADDED = 2_000
"""So many are added one by one, which is what callers do; the others come in bulk."""


def add_one_by_one(dsn: str) -> float:
    """Return how many jobs a second one connection adds, many in a transaction."""
    began = time.perf_counter()
    connection = psycopg2.connect(dsn)
    for number in range(_ADDED):
        if number % _IN_A_TRANSACTION == 0:
            connection.commit()
        outbox.add(connection, ["local", "shop", "ship", [number]], "bench")
    connection.commit()
    connection.close()
    return _ADDED / (time.perf_counter() - began)


def add_in_bulk(dsn: str, count: int) -> None:
    """Fill the outbox up to ``count`` jobs."""
    rows = [outbox.prepared(["local", "shop", "ship", [number]], "bench") for number in range(count - _ADDED)]
    connection = psycopg2.connect(dsn)
    with connection, connection.cursor() as cursor:
        values = [(str(row.id), row.text) for row in rows]
        psycopg2.extras.execute_values(cursor, "INSERT INTO jabba_outbox (id, job) VALUES %s", values, "(%s::uuid, %s)")
    connection.close()


async def relay_all(dsn: str, settings: Settings) -> tuple[float, float]:
    """Return the seconds that the first step took, and those of all."""
    async with Relay(dsn, settings) as relay:
        await relay.check()
        began = time.perf_counter()
        await relay.step()
        first = time.perf_counter() - began
        while await relay.step():
            pass
        return first, time.perf_counter() - began


async def measure(count: int) -> None:
    """Print one line for each figure."""
    with (
        tempfile.TemporaryDirectory() as directory,
        KafkaServer(Path(directory, "kafka"), jvm=BENCHMARK_JVM) as kafka,
        PostgresServer(Path(directory, "postgres")) as postgres,
    ):
        settings = Settings(kafka=kafka.bootstrap, web_port=free_port(), partitions=8)
        await admin.create_topics(settings.cluster)
        connection = psycopg2.connect(postgres.dsn)
        with connection, connection.cursor() as cursor:
            cursor.execute(outbox.DDL)
        connection.close()
        print(f"added, one connection    {add_one_by_one(postgres.dsn):8,.0f} jobs/s")
        add_in_bulk(postgres.dsn, count)
        first, all_of_them = await relay_all(postgres.dsn, settings)
        print(f"first batch of 500       {first * 1000:8,.0f} ms")
        print(f"relayed, {count:>7,} jobs   {count / all_of_them:8,.0f} jobs/s")


if __name__ == "__main__":
    asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else JOBS))
