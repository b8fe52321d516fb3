"""What a backlog costs a worker in memory, on Apache Kafka beside it.

    python -m bench.backlog
    python -m bench.backlog --tasks 8000 --bytes 524288 --seconds 120

All tasks are in the log before the worker starts; its memory is sampled until the backlog is done, or for so long.
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from aiokafka import AIOKafkaConsumer, TopicPartition

from jabba.kafka import admin
from jabba.producer import Producer
from jabba.settings import Settings
from tests.support.kafka import BENCHMARK_JVM, KafkaServer
from tests.support.processes import ChildProcess, jabba_process

_MODULE = "tests.support.callbacks"
_SAMPLE_SECONDS = 0.2
_LOOK_SECONDS = 2.0
MIB = 1024 * 1024


class Backlog(NamedTuple):
    """So many tasks with so many bytes of args, in concurrent jobs of so many."""

    tasks: int
    size: int
    per_job: int

    def jobs(self) -> Iterator[dict[str, Any]]:
        """Return the submissions."""
        text = "x" * self.size
        for first in range(0, self.tasks, self.per_job):
            numbers = range(first, min(first + self.per_job, self.tasks))
            tasks = [["local", _MODULE, "ignore", [n, text]] for n in numbers]
            yield {"tasks": tasks, "type": "bench", "strategy": "concurrent"}


async def submit(backlog: Backlog, settings: Settings) -> None:
    """Put the whole backlog into the log."""
    async with Producer(settings.kafka, prefix=settings.prefix, produce_seconds=60) as producer:
        async for delivery in producer.create_jobs(backlog.jobs()):
            delivery.result()


class Drain:
    """Watches one worker work."""

    def __init__(self, settings: Settings, worker: ChildProcess) -> None:
        self._settings = settings
        self._worker = psutil.Process(worker.pid)
        self._places = [TopicPartition(settings.topics.tasks, n) for n in range(settings.partitions)]
        self.peak = 0
        self.left = 1.0

    async def run(self, seconds: float) -> None:
        """Sample memory until nothing is left of the backlog, or for so long."""
        sampling = asyncio.create_task(self._sample())
        async with AIOKafkaConsumer(
            bootstrap_servers=self._settings.kafka,
            group_id=self._settings.topics.worker_group,
            enable_auto_commit=False,
        ) as consumer:
            ends = await consumer.end_offsets(self._places)
            began = time.monotonic()
            while self.left and time.monotonic() - began < seconds:
                await asyncio.sleep(_LOOK_SECONDS)
                committed = [await consumer.committed(place) or 0 for place in self._places]
                self.left = 1 - sum(committed) / sum(ends.values())
        sampling.cancel()

    async def _sample(self) -> None:
        while True:
            self.peak = max(self.peak, self._worker.memory_info().rss)
            await asyncio.sleep(_SAMPLE_SECONDS)


def measure(backlog: Backlog, seconds: float) -> None:
    """Measure one backlog and print a row."""
    with tempfile.TemporaryDirectory(prefix="jabba-bench-") as name:
        directory = Path(name)
        with KafkaServer(directory / "kafka", jvm=BENCHMARK_JVM) as kafka:
            settings = Settings(kafka=kafka.bootstrap, callbacks=[_MODULE])
            asyncio.run(admin.create_topics(settings.cluster))
            began = time.monotonic()
            asyncio.run(submit(backlog, settings))
            submitted = time.monotonic() - began
            with jabba_process("worker", environment=settings.as_environ(), log=directory / "log").start() as worker:
                worker.wait_for_line("worker ready", 60)
                began = time.monotonic()
                drain = Drain(settings, worker)
                asyncio.run(drain.run(seconds))
                took = time.monotonic() - began
    done = 1 - drain.left
    print(
        f"{backlog.tasks:10,} {backlog.size:10,} {submitted:12.0f} {took:9.0f} {done:8.0%}"
        f" {backlog.tasks * done / took:9,.0f} {drain.peak / MIB:9.0f}",
        flush=True,
    )


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=1_000_000)
    parser.add_argument("--bytes", type=int, default=1024, help="args of each task")
    parser.add_argument("--per-job", type=int, default=1000, help="tasks of each job")
    parser.add_argument("--seconds", type=float, default=600.0, help="watch the worker for at most so long")
    options = parser.parse_args()
    print(
        f"{'tasks':>10} {'args B':>10} {'submitted s':>12} {'drained s':>9} {'done':>8} {'tasks/s':>9} {'peak MiB':>9}"
    )
    measure(Backlog(options.tasks, options.bytes, options.per_job), options.seconds)


if __name__ == "__main__":
    main()
