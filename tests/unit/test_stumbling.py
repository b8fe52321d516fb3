"""A lane that fails over a defect starts again, and takes nothing away from the others."""

import asyncio
from uuid import uuid4

import pytest

from jabba.callbacks import TaskContext
from jabba.lanes import owned
from jabba.lanes.answers import Answer
from jabba.lanes.gate import Gate
from jabba.lanes.lane import Shared
from jabba.lanes.owned import OwnedPartition
from jabba.lanes.policy import Policy
from jabba.lifecycle import Strategy
from jabba.models import Callback, TaskSpec
from jabba.room import Room
from jabba.slices import Slice
from tests.support.lanes import Events, Log, Runner, at_any_time

SLOTS = 3


class BrokenRunner(Runner):
    """Raises, which no runner may, for so many of its calls."""

    def __init__(self, broken: int) -> None:
        super().__init__()
        self.broken = broken

    async def run(self, callback: Callback, context: TaskContext) -> Answer:
        answer = await super().run(callback, context)
        if self.calls <= self.broken:
            raise RuntimeError("a defect")
        return answer


def tasks(count: int, strategy: Strategy) -> Slice:
    task = TaskSpec(callback=Callback(service="local", module="m", function="f"))
    return Slice(
        job=uuid4(),
        k=0,
        n_slices=1,
        first=0,
        total=count,
        digest="d",
        strategy=strategy,
        type="t",
        tasks=[task] * count,
    )


async def test_no_slot_is_lost_when_a_concurrent_lane_stumbles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owned, "_FIRST_RETRY_SECONDS", 0.0)
    gate, runner = Gate(asyncio.Semaphore(SLOTS)), BrokenRunner(broken=4 * SLOTS)
    partition = OwnedPartition(Shared(gate, Events(), runner, 1024, 3, lambda: 0.0), Room(10, 1000), Policy(), print)
    partition.gate.open()
    await partition.loaded(await Log().taken(at_any_time))
    partition.start(tasks(4 * SLOTS, Strategy.CONCURRENT), 0, 10)
    async with asyncio.timeout(5):
        while partition.lanes:  # noqa: ASYNC110 — lanes tell nobody that they have ended
            await asyncio.sleep(0.01)
    assert partition.gate.running == 0
