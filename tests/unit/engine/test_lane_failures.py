"""A lane that fails over a defect starts again, and takes nothing away from the others."""

import asyncio
from uuid import UUID, uuid4

import pytest

from jabba.callbacks.registry import TaskContext
from jabba.callbacks.results import Answer, succeeded
from jabba.concurrency.memory_budget import MemoryBudget
from jabba.engine import lane
from jabba.engine import partition as engine_partition
from jabba.engine.gate import Gate
from jabba.engine.lane import LaneContext
from jabba.engine.partition import OwnedPartition
from jabba.engine.policy import Policy
from jabba.jobs import json_codec
from jabba.jobs.lifecycle import Event, JobClosed, Strategy, TaskStarted, TaskSucceeded
from jabba.jobs.models import Callback, TaskSpec
from jabba.messages.events import event_from_json
from jabba.messages.slices import Slice
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


async def until_idle(partition: OwnedPartition) -> None:
    async with asyncio.timeout(5):
        while partition.lanes:  # noqa: ASYNC110 — lanes tell nobody that they have ended
            await asyncio.sleep(0.01)


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


async def test_an_event_after_a_stumble_has_a_higher_number_than_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or the projection, to which the highest counts, would leave the task CONSUMED."""
    monkeypatch.setattr(engine_partition, "_FIRST_RETRY_SECONDS", 0.0)
    # Announced at once before the stumble, and not at all after it.
    monkeypatch.setattr(lane, "CONSUMED_AFTER_SECONDS", 0.0)
    events, sent = Events(), list[Event | JobClosed]()

    class BreaksLate(Runner):
        async def run(self, callback: Callback, context: TaskContext) -> Answer:
            self.calls += 1
            if self.calls > 1:
                return succeeded({})
            await asyncio.sleep(0.01)
            raise RuntimeError("a defect")

    def note(job: UUID, text: bytes) -> asyncio.Future[int]:
        sent.append(event_from_json(json_codec.decode(text)))
        return Events.send(events, job, text)

    monkeypatch.setattr(events, "send", note)
    shared = LaneContext(Gate(asyncio.Semaphore(1)), events, BreaksLate(), 1024, 3, lambda: 0.0)
    partition = OwnedPartition(shared, MemoryBudget(10, 1000), Policy(), print)
    partition.gate.open()
    await partition.loaded(await Log().taken(at_any_time))
    partition.start(tasks(1, Strategy.SEQUENTIAL), 0, 10)
    await until_idle(partition)
    assert [type(event) for event in sent] == [TaskStarted, TaskSucceeded]
    assert sent[0].version < sent[1].version


async def test_no_slot_is_lost_when_a_concurrent_lane_stumbles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_partition, "_FIRST_RETRY_SECONDS", 0.0)
    gate, runner = Gate(asyncio.Semaphore(SLOTS)), BrokenRunner(broken=4 * SLOTS)
    partition = OwnedPartition(
        LaneContext(gate, Events(), runner, 1024, 3, lambda: 0.0), MemoryBudget(10, 1000), Policy(), print
    )
    partition.gate.open()
    await partition.loaded(await Log().taken(at_any_time))
    partition.start(tasks(4 * SLOTS, Strategy.CONCURRENT), 0, 10)
    await until_idle(partition)
    assert partition.gate.running == 0
