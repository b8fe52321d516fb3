"""How long work pauses when workers restart one after the other, with much in the changelog.

    python -m bench.handover --records 1000000

Two workers under a load of short steps, on Apache Kafka and PostgreSQL beside them. The changelog is as a busy day
leaves it: ended jobs that are remembered, lanes that wait in the table, and what compaction has not got at yet.
"""

import argparse
import asyncio
import itertools
import re
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import psutil
from aiokafka import AIOKafkaProducer

from bench.parked import reminder
from jabba.engine.records import LaneName, LaneRecord, Stamp
from jabba.jobs import ids
from jabba.messages.topics import partition_of
from jabba.settings import Settings
from tests.fault.faults import restart_workers
from tests.fault.house import House
from tests.fault.load import Pace
from tests.fault.rounds import Rounds
from tests.support.kafka import BENCHMARK_JVM, KafkaServer
from tests.support.postgres import PostgresServer
from tests.support.processes import ChildProcess

Record = tuple[int, bytes, bytes | None]
"""Partition, key and value."""

_MIB = 1024 * 1024
_EPOCH = 1
_HOUR_SECONDS = 3600.0
_SAMPLE_SECONDS = 0.1
_DEFAULTS = ("partitions", "session_seconds", "commit_seconds", "adopt_seconds")
"""The fault suite's house has others."""

_READY = re.compile(r"worker ready with (\d+) partitions, loaded ([\d.]+) s after it joined")


def changelog(records: int, partitions: int, now: float) -> Iterator[Record]:
    """Return so many records; of five lanes one waits for an hour, and the record of one was not compacted yet.

    Of a lane that waits there are two, its slice and its record, and so are there of one that was not compacted: its
    first record and its marker. The others are one marker each. Of a million that makes 570,000 markers, about what two
    workers remember by default.
    """
    lanes = (_lane(number, partitions, now) for number in itertools.count())
    return itertools.islice(itertools.chain.from_iterable(lanes), records)


def _lane(number: int, partitions: int, now: float) -> Iterator[Record]:
    slice_ = reminder(ids.new_job_id(now))
    name, stamp = LaneName.of(slice_), Stamp(_EPOCH)
    partition = partition_of(str(slice_.job), partitions)
    record = LaneRecord(slice_.digest, 0, seq=1)
    waits, superseded = number % 5 == 0, number % 5 == 1
    if waits:
        text = slice_.model_dump_json(exclude_defaults=True).encode()
        waiting = LaneRecord(slice_.digest, 0, adopted=True, due=now + _HOUR_SECONDS)
        yield partition, stamp.full_key(name.slice_key), text
        yield partition, stamp.full_key(name.key), waiting.encode()
        return
    if superseded:
        yield partition, stamp.full_key(name.key), record.encode()
    yield partition, stamp.full_key(name.key), record.marker(now).encode()


async def fill(settings: Settings, records: int) -> None:
    """Write the changelog."""
    topic = settings.topics.changelog
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka, acks="all", max_batch_size=_MIB) as producer:
        batches = {partition: producer.create_batch() for partition in range(settings.partitions)}
        for partition, key, value in changelog(records, settings.partitions, time.time()):
            if batches[partition].append(key=key, value=value, timestamp=None) is None:
                await producer.send_batch(batches[partition], topic, partition=partition)
                batches[partition] = producer.create_batch()
                batches[partition].append(key=key, value=value, timestamp=None)
        for partition, batch in batches.items():
            await producer.send_batch(batch, topic, partition=partition)


class Memory:
    """Samples how much memory the workers have; ``peak`` is the most that one of them had, in bytes."""

    def __init__(self, workers: list[ChildProcess]) -> None:
        self._workers = workers
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self.peak = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._over.wait(_SAMPLE_SECONDS):
            for worker in self._workers:
                try:
                    self.peak = max(self.peak, psutil.Process(worker.pid).memory_info().rss)
                except (psutil.Error, AssertionError):
                    # It is between two lives.
                    continue


def measure(records: int, longest_step: float) -> None:
    """Restart two workers once, and print a row; the logs stay in the directory that is printed."""
    directory = Path(tempfile.mkdtemp(prefix="jabba-bench-"))
    defaults = {name: Settings.model_fields[name].default for name in _DEFAULTS}
    with (
        KafkaServer(directory / "kafka", jvm=BENCHMARK_JVM) as kafka,
        PostgresServer(directory / "postgres") as postgres,
        House(directory / "house", kafka, postgres, workers=0, **defaults) as house,
    ):
        asyncio.run(fill(house.settings, records))
        workers = [house.new_worker() for _ in range(2)]
        with Memory(workers) as memory:
            for worker in workers:
                house.await_workers([worker.start()])
            result = Rounds(house, Pace(longest_step=longest_step)).play(restart_workers, seed=1)
        loadings = [_READY.findall(worker.log.read_text()) for worker in workers]
    print(f"{records:10,} {longest_step:10.1f} {result.pause.seconds:8.1f} {memory.peak / _MIB:9.0f}", flush=True)
    for partitions, seconds in itertools.chain.from_iterable(loadings):
        print(f"    had its {partitions} partitions {seconds} s after it joined the group")
    print(f"    {result.pause}; {result.verdict.problems or 'nothing lost, nothing twice'}")
    print(f"    logs are in {directory}")


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, nargs="*", default=[1_000_000])
    parser.add_argument("--longest-step", type=float, default=0.3, metavar="SECONDS")
    options = parser.parse_args()
    print(f"{'records':>10} {'step s':>10} {'pause s':>8} {'peak MiB':>9}")
    for records in options.records:
        measure(records, options.longest_step)


if __name__ == "__main__":
    main()
