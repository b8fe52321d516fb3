"""What lanes that wait in the table cost: memory, taking them over, and the tick that comes every second.

python -m bench.parked
"""

import asyncio
import gc
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, cast
from uuid import UUID

import psutil

from jabba.concurrency.memory_budget import MemoryBudget
from jabba.engine.changelog import Batch, Changelog, Store
from jabba.engine.gate import Gate
from jabba.engine.lane import LaneContext
from jabba.engine.partition import OwnedPartition
from jabba.engine.policy import Policy
from jabba.engine.records import LaneName, LaneRecord, Stamp
from jabba.jobs import ids
from jabba.jobs.lifecycle import Strategy
from jabba.jobs.models import Callback, TaskSpec
from jabba.messages.slices import Slice

_NOW = 1_800_000_000.0
_TICKS = 50
_ARGS = "x" * 200
Messages = list[tuple[int, bytes, bytes | None]]


def changelog(lanes: int) -> Messages:
    """Return what a former owner has left: lanes of one task each, all waiting for an hour."""
    written: Messages = []
    for number in range(lanes):
        slice_ = reminder(ids.new_job_id(_NOW))
        record = LaneRecord(slice_.digest, number, adopted=True, due=_NOW + 3600)
        name = LaneName.of(slice_)
        for key, value in (
            (name.slice_key, slice_.model_dump_json(exclude_defaults=True).encode()),
            (name.key, record.encode()),
        ):
            written.append((len(written), Stamp(1).full_key(key), value))
    return written


def reminder(job: UUID) -> Slice:
    """Return the only slice of a job of one task, with half a kilobyte in all."""
    callback = Callback(service="local", module="shop.mails", function="remind", args=[_ARGS])
    return Slice(
        job=job,
        k=0,
        n_slices=1,
        first=0,
        total=1,
        digest="0" * 32,
        strategy=Strategy.SEQUENTIAL,
        type="reminder",
        tasks=[TaskSpec(callback=callback)],
    )


async def measure(lanes: int) -> None:
    """Take a partition with so many parked lanes over, and print a row."""
    log = changelog(lanes)
    shared = LaneContext(
        Gate(asyncio.Semaphore(100)), cast("Any", None), cast("Any", None), 1024 * 1024, 3, lambda: _NOW
    )

    async def append(key: bytes, value: bytes | None) -> int:
        log.append((len(log), key, value))
        return len(log) - 1

    async def read(start: int) -> AsyncIterator[Batch]:
        # As from the broker: a copy, so that its memory is counted.
        yield [(offset, key, None if value is None else bytes(memoryview(value))) for offset, key, value in log[start:]]

    async def follow(_start: int, _seconds: float) -> AsyncGenerator[Batch, None]:
        yield []

    async def may_write() -> None:
        pass

    gc.collect()
    before = psutil.Process().memory_info().rss
    store = Store(Changelog(append, read, follow), may_write, lambda: _NOW)
    owned = OwnedPartition(shared, MemoryBudget(2000, 64 * 1024 * 1024), Policy(), lambda _: None)
    began = time.process_time()
    await store.load()
    await store.claim()
    await owned.loaded(store)
    loaded = time.process_time() - began
    gc.collect()
    held = psutil.Process().memory_info().rss - before
    # What is looked for once, behind the loading, is no part of a tick.
    await asyncio.sleep(0)
    began = time.process_time()
    for _ in range(_TICKS):
        owned.tick(range(sys.maxsize))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    ticked = (time.process_time() - began) / _TICKS
    assert owned.parked == lanes
    print(f"{lanes:10,} {held / 1024 / 1024:8.0f} {held / lanes:12,.0f} {loaded:13.2f} {1e6 * ticked:12.0f}")


def main() -> None:
    """Measure and print a table."""
    print(f"{'lanes':>10} {'MiB':>8} {'bytes/lane':>12} {'loaded CPU s':>13} {'CPU µs/tick':>12}")
    for lanes in (1_000, 10_000, 100_000):
        asyncio.run(measure(lanes))


if __name__ == "__main__":
    main()
