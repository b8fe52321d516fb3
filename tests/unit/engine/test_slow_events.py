"""Events that are acknowledged slowly: a lane gets ahead of them by so much, and a hand-over does not wait for them."""

import asyncio
from uuid import UUID, uuid4

import pytest

from jabba.callbacks.registry import TaskContext
from jabba.callbacks.results import Answer, succeeded
from jabba.concurrency.memory_budget import MemoryBudget
from jabba.engine.carried import CARRIED_BYTES
from jabba.engine.gate import Gate
from jabba.engine.lane import LaneContext
from jabba.engine.partition import OwnedPartition
from jabba.engine.policy import Policy
from jabba.jobs.lifecycle import Strategy
from jabba.jobs.models import Callback, TaskSpec
from jabba.messages.slices import Slice
from tests.support.lanes import Events, Log, Runner, at_any_time
from tests.support.processes import eventually

SLOTS = 3


class SlowEvents(Events):
    """Acknowledges an event when it is told to."""

    def __init__(self) -> None:
        self.waiting: list[asyncio.Future[int]] = []
        self.bytes = self.most = 0

    def send(self, job: UUID, event: bytes) -> asyncio.Future[int]:
        sent = asyncio.get_running_loop().create_future()
        self.bytes += len(event)
        self.most = max(self.most, self.bytes)
        sent.add_done_callback(lambda _: self._acknowledged(len(event)))
        self.waiting.append(sent)
        return sent

    def acknowledge(self) -> None:
        for sent in self.waiting:
            sent.set_result(0)
        self.waiting.clear()

    def _acknowledged(self, size: int) -> None:
        self.bytes -= size


class Worker:
    """A partition with a lane of a hundred steps, each with a result of so many bytes."""

    def __init__(self, strategy: Strategy, size: int) -> None:
        self.log, self.events, self.calls = Log(), SlowEvents(), 0

        class Large(Runner):
            async def run(self, callback: Callback, context: TaskContext) -> Answer:
                self.calls += 1
                await asyncio.sleep(0)
                return succeeded({"text": "x" * size})

        self.runner = Large()
        shared = LaneContext(Gate(asyncio.Semaphore(SLOTS)), self.events, self.runner, 2 * size + 100, 3, lambda: 0.0)
        self.partition = OwnedPartition(shared, MemoryBudget(10, 1000), Policy(), lambda _: None)
        self.partition.gate.open()
        task = TaskSpec(callback=Callback(service="local", module="m", function="f"))
        self.slice = Slice(
            job=uuid4(),
            k=0,
            n_slices=1,
            first=0,
            total=100,
            digest="d",
            strategy=strategy,
            type="t",
            tasks=[task] * 100,
        )

    async def start(self) -> None:
        await self.partition.loaded(await self.log.taken(self.partition.gate.may_write))
        self.partition.start(self.slice, 0, 10)
        await eventually(self._waits, 5, "a lane that waits for its events")

    async def _waits(self) -> bool:
        return self.events.bytes > CARRIED_BYTES and self.partition.gate.is_quiet


@pytest.mark.parametrize("strategy", Strategy)
@pytest.mark.parametrize("size", [15_000, 100_000])
async def test_a_lane_starts_no_step_while_too_much_is_not_acknowledged(strategy: Strategy, size: int) -> None:
    worker = Worker(strategy, size)
    await worker.start()
    # One more may have passed the check, and waits for a slot.
    at_once = SLOTS + 1 if strategy is Strategy.CONCURRENT else 1
    assert worker.events.most < CARRIED_BYTES + at_once * (size + 1000)

    async def has_ended() -> bool:
        worker.events.acknowledge()
        return not worker.partition.lanes

    await eventually(has_ended, 10, "the end of the lane")
    assert worker.runner.calls == 100
    assert worker.events.most < CARRIED_BYTES + at_once * (size + 1000)
    assert max(len(value or b"") for _, value in worker.log.messages) < CARRIED_BYTES + at_once * (size + 1000)


@pytest.mark.parametrize("strategy", Strategy)
async def test_a_hand_over_does_not_wait_for_events(strategy: Strategy) -> None:
    worker = Worker(strategy, 100_000)
    await worker.start()
    before = worker.runner.calls
    async with asyncio.timeout(5):
        await worker.partition.hand_over.part(600.0)
        assert not worker.partition.hand_over.finishing
        worker.partition.lose()
        await asyncio.gather(
            *(one.task for one in worker.partition._running.values() if one.task), return_exceptions=True
        )
    successor = await worker.log.taken(at_any_time)
    assert successor.crashes == 0
    assert worker.runner.calls == before
