"""How much one worker gets done, on Apache Kafka beside it.

    python -m bench.worker
    python -m bench.worker --workers 2 --scale 2

Every load is submitted by the producer and counted by its events, each of which follows the acknowledged record of its
step. A bare callback is called, so that what is measured is Jabba. What the workers used of a core says most on a
machine that is busy with other work.
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil
from aiokafka import AIOKafkaConsumer

from jabba.jobs.lifecycle import TaskFailed, TaskRescued, TaskSucceeded
from jabba.kafka import admin
from jabba.messages.events import decode_events
from jabba.producer import Producer
from jabba.settings import Settings
from tests.support.kafka import BENCHMARK_JVM, KafkaServer
from tests.support.processes import jabba_process

_MODULE = "tests.support.callbacks"
_PATIENCE_SECONDS = 30.0
_ENDS = (TaskSucceeded, TaskFailed, TaskRescued)


@dataclass(frozen=True)
class Load:
    """So many jobs of so many tasks."""

    name: str
    jobs: int
    tasks: int
    strategy: str = "sequential"

    @property
    def steps(self) -> int:
        """How many tasks that are."""
        return self.jobs * self.tasks


LOADS = (
    Load("(warm-up)", 3000, 1),
    Load("one-task jobs", 5000, 1),
    Load("sequential, 200 jobs of 20", 200, 20),
    Load("concurrent, one job", 1, 30_000, "concurrent"),
    Load("sequential, one job", 1, 1000),
)


async def run(load: Load, settings: Settings, scale: int) -> tuple[float, float]:
    """Submit a load; return the seconds until it was submitted and until its last event came."""
    consumer = AIOKafkaConsumer(
        settings.topics.events, bootstrap_servers=settings.kafka, auto_offset_reset="latest", fetch_max_wait_ms=50
    )
    await consumer.start()
    try:
        await consumer.seek_to_end()
        async with Producer(settings.kafka, prefix=settings.prefix) as producer:
            await producer.check()
            began = time.perf_counter()
            counting = asyncio.create_task(count(consumer, load.steps * scale))
            tasks = [["local", _MODULE, "echo", [n]] for n in range(load.tasks)]
            job: dict[str, Any] = {"tasks": tasks, "type": "bench", "strategy": load.strategy}
            for _ in range(scale):
                async for delivery in producer.create_jobs([job] * load.jobs):
                    delivery.result()
            submitted = time.perf_counter() - began
            await counting
            return submitted, time.perf_counter() - began
    finally:
        await consumer.stop()


async def count(consumer: AIOKafkaConsumer, expected: int) -> None:
    """Return once so many tasks have ended."""
    ended: set[tuple[UUID, int]] = set()
    async with asyncio.timeout(None) as patience:
        while len(ended) < expected:
            patience.reschedule(asyncio.get_running_loop().time() + _PATIENCE_SECONDS)
            for messages in (await consumer.getmany(timeout_ms=1000)).values():
                events = (event for message in messages for event in decode_events(message.value))
                ended.update((event.job, event.index) for event in events if isinstance(event, _ENDS))


@contextmanager
def house(workers: int) -> Iterator[tuple[Settings, list[psutil.Process]]]:
    """Start Kafka and workers."""
    with tempfile.TemporaryDirectory(prefix="jabba-bench-") as name, ExitStack() as running:
        directory = Path(name)
        kafka = running.enter_context(KafkaServer(directory / "kafka", jvm=BENCHMARK_JVM))
        settings = Settings(kafka=kafka.bootstrap, callbacks=[_MODULE])
        asyncio.run(admin.create_topics(settings.cluster))
        environment = {"JABBA_KAFKA": kafka.bootstrap, "JABBA_CALLBACKS": _MODULE}
        processes = []
        for number in range(workers):
            log = directory / f"worker-{number}.log"
            worker = running.enter_context(jabba_process("worker", environment=environment, log=log).start())
            worker.wait_for_line("worker ready", 60)
            processes.append(psutil.Process(worker.pid))
        yield settings, processes


def used(processes: list[psutil.Process]) -> float:
    """Return how many seconds of a core the workers have used."""
    return sum(times.user + times.system for times in (process.cpu_times() for process in processes))


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--scale", type=int, default=1, help="times the load")
    options = parser.parse_args()
    columns = f"{'submitted s':>12} {'all done s':>11} {'tasks/s':>8} {'ms/task':>8} {'core ms/task':>13}"
    print(f"{'load':30} {'tasks':>8} {columns}")
    with house(options.workers) as (settings, workers):
        for load in LOADS:
            before = used(workers)
            submitted, seconds = asyncio.run(run(load, settings, options.scale))
            steps = load.steps * options.scale
            core = 1000 * (used(workers) - before) / steps
            rate = f"{steps / seconds:8.0f} {1000 * seconds / steps:8.2f} {core:13.3f}"
            print(f"{load.name:30} {steps:8} {submitted:12.2f} {seconds:11.2f} {rate}")


if __name__ == "__main__":
    main()
