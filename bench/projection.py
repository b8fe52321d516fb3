"""How fast the projection is: what one projector writes a second of a backlog, and how soon it shows a new message.

    python -m bench.projection --jobs 5000 --without jobs_by_meta tasks_by_status

Kafka and PostgreSQL are started for the measurement, with their durable settings. A backlog is written first, slices
and events together, then a projector is started, and the time taken until PostgreSQL has the last message.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import uuid4

import psutil
from aiokafka import AIOKafkaProducer
from pydantic import SecretStr
from sqlalchemy import text

from jabba.database import migrations, queries
from jabba.database.connection import Database
from jabba.jobs import ids
from jabba.jobs.lifecycle import Strategy, TaskSucceeded, Version
from jabba.jobs.models import JobSpec, Limits
from jabba.kafka import admin
from jabba.local.postgres import EmbeddedDatabase
from jabba.messages import slices
from jabba.messages.events import encode_event, encode_events
from jabba.messages.topics import partition_of
from jabba.projection.projector import Projector
from jabba.settings import Settings
from tests.support.kafka import BENCHMARK_JVM, KafkaServer

_PROBES = 200
_PROBE_PAUSE_SECONDS = 0.02
_FINE_SECONDS = 0.001
_COARSE_SECONDS = 0.02


@dataclass(frozen=True)
class Load:
    """Jobs of one kind; ``grouped`` slices or events share a message, as group commit makes them under load."""

    name: str
    share: float
    tasks: int
    strategy: Strategy
    grouped: int
    key: str | None = "bench"


LOADS = [
    Load("one-task jobs, one a message", 1, 1, Strategy.SEQUENTIAL, 1),
    Load("one-task jobs, 50 a message", 1, 1, Strategy.SEQUENTIAL, 50),
    Load("jobs of 20 steps, 50 events a message", 0.1, 20, Strategy.SEQUENTIAL, 50),
    Load("slices of 100 concurrent tasks", 0.05, 100, Strategy.CONCURRENT, 30),
]


def spec(load: Load) -> JobSpec:
    """Return a submission of this kind."""
    callback = ["local", "demo.audit", "verify", ["some-distribution", {"depth": 3}]]
    document = {"tasks": [callback] * load.tasks, "type": "audit", "strategy": load.strategy}
    run = uuid4()
    named = {"name": f"Audit of Kyiv {run.int % 1_000_000}", "meta": {"run_id": str(run), "tenant": "t-1"}}
    return JobSpec.parse({**document, **named}, Limits())


def messages_of(load: Load, jobs: int, settings: Settings) -> Iterator[tuple[str, int, bytes]]:
    """Return topic, partition and value of the messages of finished jobs."""
    topics, partitions = settings.topics, settings.partitions
    waiting: dict[tuple[str, int], list[bytes]] = {}
    for _ in range(jobs):
        job = ids.new_job_id(time.time())
        for encoded in slices.cut(spec(load), job, Limits(), by=load.key):
            waiting.setdefault((topics.tasks, partition_of(encoded.key, partitions)), []).append(encoded.text)
        for index in range(load.tasks):
            result = {"files": index, "bytes": 123_456, "mismatches": 0}
            event = TaskSucceeded(job, index, Version(0, 1, index + 1), 1, result)
            waiting.setdefault((topics.events, partition_of(str(job), partitions)), []).append(encode_event(event))
        for place in [place for place, items in waiting.items() if len(items) >= load.grouped]:
            yield *place, _joined(place[0] == topics.tasks, waiting.pop(place))
    for place, items in waiting.items():
        yield *place, _joined(place[0] == topics.tasks, items)


def _joined(are_slices: bool, items: list[bytes]) -> bytes:  # noqa: FBT001 — which of the two topics
    return slices.encode_message(items) if are_slices else encode_events(items)


def processor_seconds(pid: int) -> float:
    """Return the seconds of processor that a process and its children have had: other work alters them least."""
    main = psutil.Process(pid)
    spent = 0.0
    for process in [*main.children(), main]:
        with suppress(psutil.NoSuchProcess):  # its parent has its seconds then
            spent += sum(process.cpu_times()[:2])
    return spent + sum(main.cpu_times()[2:4])


async def catch_up(settings: Settings, database: Database, load: Load, jobs: int) -> float:
    """Write a backlog; return the seconds in which a projector brings it into PostgreSQL."""
    ends: dict[tuple[str, int], int] = {}
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka, acks="all", linger_ms=5) as producer:
        sent = [
            await producer.send(topic, value, partition=partition)
            for topic, partition, value in messages_of(load, jobs, settings)
        ]
        for record in await asyncio.gather(*sent):
            ends[record.topic, record.partition] = record.offset + 1
    projector = Projector(settings)
    await projector.start()
    await projector.ready.wait()
    begin = time.perf_counter()
    await _shown(database, ends, _COARSE_SECONDS)
    seconds = time.perf_counter() - begin
    await projector.stop()
    return seconds


async def latencies(settings: Settings, database: Database) -> list[float]:
    """Return the seconds from a slice's acknowledgement by Kafka until PostgreSQL shows it, one slice at a time."""
    projector = Projector(settings)
    await projector.start()
    await projector.ready.wait()
    found = []
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka, acks="all") as producer:
        for topic, partition, value in messages_of(LOADS[0], _PROBES, settings):
            record = await producer.send_and_wait(topic, value, partition=partition)
            begin = time.perf_counter()
            await _shown(database, {(topic, partition): record.offset + 1}, _FINE_SECONDS)
            found.append(time.perf_counter() - begin)
            await asyncio.sleep(_PROBE_PAUSE_SECONDS)
    await projector.stop()
    return found


async def _shown(database: Database, ends: dict[tuple[str, int], int], pause: float) -> None:
    """Wait until PostgreSQL has all messages before these offsets."""
    topics = {topic for topic, _ in ends}
    while True:
        reached = await queries.projected_offsets(database, topics)
        if all(reached.get(place, 0) >= end for place, end in ends.items()):
            return
        await asyncio.sleep(pause)


async def measure(kafka: KafkaServer, dsn: str, given: argparse.Namespace, server: int) -> None:
    """Print a row for each load, then the latencies."""
    async with Database(dsn) as database:
        for index in given.without:
            await database.fetch(text(f'DROP INDEX "{index}"'))
        print(f"{'':40}{'jobs/s':>9}{'tasks/s':>9}{'µs of PostgreSQL a task':>25}")
        for load in (replace(one, key=None if given.no_key else one.key) for one in LOADS):
            count = round(given.jobs * load.share)
            before = processor_seconds(server)
            seconds = await catch_up(await installed(kafka, dsn), database, load, count)
            tasks, cost = count * load.tasks / seconds, (processor_seconds(server) - before) * 1e6 / count / load.tasks
            print(f"{load.name:40}{count / seconds:9.0f}{tasks:9.0f}{cost:25.0f}", flush=True)
        found = [seconds * 1000 for seconds in await latencies(await installed(kafka, dsn), database)]
        p50, p95 = statistics.median(found), statistics.quantiles(found, n=20)[-1]
        print(f"acknowledged to shown, ms: p50 {p50:.1f}, p95 {p95:.1f}, max {max(found):.1f}")


async def installed(kafka: KafkaServer, dsn: str) -> Settings:
    """Make topics of their own for a measurement."""
    prefix = f"b{uuid4().hex[:8]}"
    settings = Settings(kafka=kafka.bootstrap, database=SecretStr(dsn), prefix=prefix, partitions=4)
    await admin.create_topics(settings.cluster)
    return settings


def main() -> None:
    """Start Kafka and PostgreSQL and measure."""
    parser = argparse.ArgumentParser(description="Measure the projection.")
    parser.add_argument("--jobs", type=int, default=10_000, help="one-task jobs of a backlog; fewer of the larger ones")
    parser.add_argument("--without", nargs="*", default=[], help="indexes to do without")
    parser.add_argument("--no-key", action="store_true", help="submissions without a key, which the audit passes over")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, KafkaServer(Path(scratch, "kafka"), jvm=BENCHMARK_JVM) as kafka:
        server = EmbeddedDatabase(Path(scratch, "postgresql"))
        server.start()
        try:
            dsn = server.ensure_database("bench")
            migrations.upgrade(dsn)
            asyncio.run(measure(kafka, dsn, given, server.pid))
        finally:
            server.stop()


if __name__ == "__main__":
    main()
