"""Loading the changelog while partitions change hands, though a library swallows cancellations."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

from jabba.concurrency.memory_budget import MemoryBudget
from jabba.engine.changelog import Store
from jabba.engine.engine import Engine
from jabba.engine.gate import Gate, PartitionLost
from jabba.engine.lane import LaneContext
from tests.support.lanes import Events, Log, Runner
from tests.support.processes import eventually


class StubbornTable:
    """Swallows the first cancellation of every loading, and then goes on until ``release`` or the next one."""

    def __init__(self) -> None:
        self.log = Log()
        self.release = asyncio.Event()
        self.under_way = self.most_under_way = self.begun = 0
        self.refused = 0

    async def take(self, _partition: int, may_write: Callable[[], Awaitable[None]]) -> Store:
        self.begun += 1
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            with suppress(asyncio.CancelledError):
                await self.release.wait()
            await self.release.wait()
            return await self.log.taken(may_write)
        except PartitionLost:
            self.refused += 1
            raise
        finally:
            self.under_way -= 1


class Worker:
    """An engine on such a table."""

    def __init__(self) -> None:
        self.table = StubbornTable()
        shared = LaneContext(Gate(asyncio.Semaphore(10)), Events(), Runner(), 1000, 3, lambda: 0.0)
        self.engine = Engine(self.table, shared, MemoryBudget(10, 1000))

    def assign(self, generation: int, partitions: list[int]) -> None:
        """Own partitions, all gates open."""
        self.engine.assign(generation, partitions)
        self.engine.open()

    @property
    def loaded(self) -> list[int]:
        return [number for number, owned in self.engine._owned.items() if owned.store.done()]


@pytest.fixture
async def worker() -> AsyncIterator[Worker]:
    worker = Worker()
    yield worker
    worker.table.release.set()
    await worker.engine.stop()


async def until_begun(worker: Worker, loadings: int) -> None:
    await eventually(_answer(lambda: worker.table.begun == loadings), 5, f"{loadings} loadings")


async def until_loaded(worker: Worker, partitions: list[int]) -> None:
    await eventually(_answer(lambda: worker.loaded == partitions), 5, f"the partitions {partitions}")


def _answer(holds: Callable[[], bool]) -> Callable[[], Awaitable[bool]]:
    async def ask() -> bool:
        return holds()

    return ask


async def test_stopping_ends_a_loading_that_swallows_its_cancellation(worker: Worker) -> None:
    worker.assign(1, [0, 1])
    await until_begun(worker, 2)
    async with asyncio.timeout(5):
        await worker.engine.stop()
    assert worker.table.under_way == 0


async def test_a_partition_is_loaded_again_when_the_loading_before_has_ended(worker: Worker) -> None:
    for generation, partitions in enumerate(([0], [], [0])):
        worker.assign(generation, partitions)
        await asyncio.sleep(0.01)
    await until_begun(worker, 2)
    worker.table.release.set()
    await until_loaded(worker, [0])
    assert worker.table.most_under_way == 1


async def test_the_loading_of_a_partition_that_stays_goes_on(worker: Worker) -> None:
    worker.assign(1, [0, 1])
    await until_begun(worker, 2)
    worker.assign(2, [0, 2])
    await until_begun(worker, 3)
    worker.table.release.set()
    await asyncio.wait_for(worker.engine.loaded(), 5)
    assert worker.loaded == [0, 2]
    assert worker.table.begun == 3


async def test_what_a_cancelled_loading_brings_is_not_used(worker: Worker) -> None:
    worker.assign(1, [0])
    await until_begun(worker, 1)
    # The partition leaves in the very moment in which its loading closes a connection: it goes on all the same.
    worker.assign(3, [1])
    worker.table.release.set()
    failures: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
    await until_loaded(worker, [1])
    assert failures == []
    assert worker.table.refused == 1


async def test_what_fails_as_one_partition_is_given_up_is_told_and_holds_up_no_other(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(_seconds: float) -> None:
        raise RuntimeError("a defect")

    worker.table.release.set()
    worker.assign(1, [0, 1])
    await until_loaded(worker, [0, 1])
    one, other = worker.engine._owned.values()
    monkeypatch.setattr(one.hand_over, "part", fail)
    assert await worker.engine.release(5.0) == 0
    assert not other.gate.writable
    assert "a defect" in caplog.text
