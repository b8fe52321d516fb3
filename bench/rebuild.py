"""How long it takes to compare the projection with the log, and to make it anew.

    python -m bench.rebuild --tasks 200000

Kafka and PostgreSQL are started for the measurement, with their durable settings. Jobs of 20 steps and slices of 100
concurrent tasks are written to the log, all finished, and projected. Then the projection is compared, and rebuilt with
a swap, once each. The memory is the most that this one process ever had; its own CPU time tells more than the other
where the machine is busy.
"""

import argparse
import asyncio
import resource
import tempfile
import time
from pathlib import Path

from bench.projection import LOADS, catch_up, installed
from jabba.clock import SystemClock
from jabba.database import migrations
from jabba.database.connection import Database
from jabba.local.postgres import EmbeddedDatabase
from jabba.projection.rebuild.rebuild import Rebuild
from jabba.projection.verify.verify import Verification
from jabba.settings import Settings
from tests.support.kafka import BENCHMARK_JVM, KafkaServer

_MEASURED = [load for load in LOADS if load.tasks > 1]


async def fill(settings: Settings, database: Database, tasks: int) -> None:
    """Project as many tasks, half of each kind."""
    for load in _MEASURED:
        jobs = tasks // len(_MEASURED) // load.tasks
        seconds = await catch_up(settings, database, load, jobs)
        print(f"{load.name}: {jobs * load.tasks:,} tasks projected in {seconds:.1f} s", flush=True)


async def measure(settings: Settings, dsn: str, tasks: int) -> None:
    """Print a row for each kind of work."""
    async with Database(dsn, size=2, statement_seconds=600) as database:
        await fill(settings, database, tasks)
        begin = _now()
        report = await Verification(settings, database, SystemClock(), lambda *_: None).run(60, print)
        assert not report.differences
        _print("jabba verify", report.tasks, begin)
    begin = _now()
    async with Rebuild(settings, SystemClock(), lambda *_: None) as rebuild:
        rebuilt = await rebuild.run(print, swap=True, keep=False)
    assert rebuilt.swapped
    _print("jabba rebuild --yes", rebuilt.report.tasks, begin)


def _now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _print(what: str, tasks: int, begin: tuple[float, float]) -> None:
    seconds, cpu = (now - before for now, before in zip(_now(), begin, strict=True))
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    rate = f"{tasks / seconds:,.0f} tasks/s, {1e6 * cpu / tasks:.0f} µs of CPU a task, {megabytes:.0f} MB"
    print(f"{what:20}{tasks:9,} tasks{seconds:8.1f} s  {rate}", flush=True)


async def run(kafka: KafkaServer, dsn: str, tasks: int) -> None:
    """Install and measure."""
    await measure(await installed(kafka, dsn), dsn, tasks)


def main() -> None:
    """Start Kafka and PostgreSQL and measure."""
    parser = argparse.ArgumentParser(description="Measure verify and rebuild.")
    parser.add_argument("--tasks", type=int, default=200_000, help="tasks in the log")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, KafkaServer(Path(scratch, "kafka"), jvm=BENCHMARK_JVM) as kafka:
        server = EmbeddedDatabase(Path(scratch, "postgresql"))
        server.start()
        try:
            dsn = server.ensure_database("bench")
            migrations.upgrade(dsn)
            asyncio.run(run(kafka, dsn, given.tasks))
        finally:
            server.stop()


if __name__ == "__main__":
    main()
