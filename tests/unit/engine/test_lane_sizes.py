"""Outcomes that are larger than the changelog or the events topic take: their tasks fail and say so, once."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest

from jabba.callbacks.registry import TaskContext
from jabba.callbacks.results import Answer, succeeded
from jabba.concurrency.memory_budget import MemoryBudget
from jabba.engine.changelog import Store
from jabba.engine.gate import Gate
from jabba.engine.lane import Lane, LaneContext
from jabba.engine.partition import OwnedPartition
from jabba.engine.policy import Policy
from jabba.engine.records import LaneName, LaneRecord
from jabba.engine.turns import Turns
from jabba.errors import MessageTooLarge
from jabba.jobs import json_codec
from jabba.jobs.lifecycle import Strategy
from jabba.jobs.models import Callback, TaskSpec
from jabba.messages.slices import Slice
from tests.support.lanes import Events, Log, at_any_time

EVERYTHING = 1 << 30


class SmallLog(Log):
    """A changelog that takes so many bytes at a time."""

    def __init__(self, takes: int) -> None:
        super().__init__()
        self.takes = takes

    async def append(self, key: bytes, value: bytes | None) -> int:
        if len(key) + len(value or b"") > self.takes:
            raise MessageTooLarge(f"Kafka takes no message of {len(value or b''):,} bytes into the changelog")
        return await super().append(key, value)


class SmallEvents(Events):
    """An events topic that takes so many bytes at a time, and keeps them."""

    def __init__(self, takes: int = EVERYTHING) -> None:
        self.takes = takes
        self.told: list[dict[str, Any]] = []

    def send(self, job: UUID, event: bytes) -> asyncio.Future[int]:
        if len(event) > self.takes:
            sent: asyncio.Future[int] = asyncio.get_running_loop().create_future()
            sent.set_exception(MessageTooLarge(f"Kafka takes no message of {len(event):,} bytes into events"))
            return sent
        self.told.append(json_codec.decode(event))
        return super().send(job, event)


class Sized:
    """Answers each callback with as many bytes as its argument says."""

    def __init__(self) -> None:
        self.calls = 0

    async def run(self, callback: Callback, context: TaskContext) -> Answer:
        self.calls += 1
        return succeeded({"text": "x" * int(str(callback.args[0]))})


def slice_of(*sizes: int, strategy: Strategy = Strategy.SEQUENTIAL) -> Slice:
    tasks = [TaskSpec(callback=Callback(service="local", module="m", function="f", args=[size])) for size in sizes]
    return Slice(
        job=uuid4(), k=0, n_slices=1, first=0, total=len(sizes), digest="d", strategy=strategy, type="t", tasks=tasks
    )


def shared_of(events: Events, runner: Sized) -> LaneContext:
    gate = Gate(asyncio.Semaphore(1000))
    gate.open()
    return LaneContext(gate, events, runner, EVERYTHING, 3, lambda: 0.0)


def lane_of(slice_: Slice, store: Store, events: Events, runner: Sized) -> Lane:
    return Lane(slice_, 1, store, Turns(lambda _: None), shared_of(events, runner))


async def run(slice_: Slice, log: Log, events: SmallEvents) -> Store:
    runner, store = Sized(), await log.taken(at_any_time)
    async with asyncio.timeout(10):
        await lane_of(slice_, store, events, runner).run()
    assert runner.calls <= len(slice_.tasks)
    return store


def kinds(events: SmallEvents) -> list[tuple[int, str]]:
    return [(one["index"], one["event"]) for one in events.told]


async def test_an_outcome_larger_than_the_changelog_takes_fails_its_task() -> None:
    events = SmallEvents()
    await run(slice_of(10, 40_000, 10), SmallLog(30_000), events)
    assert kinds(events) == [(0, "task_succeeded"), (1, "task_failed"), (2, "tasks_aborted")]
    assert "Kafka takes no message of 40," in events.told[1]["result"]["error"]


@pytest.mark.parametrize("strategy", list(Strategy))
async def test_many_small_outcomes_of_one_moment_fit_however_little_the_changelog_takes(strategy: Strategy) -> None:
    events = SmallEvents()
    await run(slice_of(*[15_000] * 100, strategy=strategy), SmallLog(300_000), events)
    assert {kind for _, kind in kinds(events)} == {"task_succeeded"}


async def test_outcomes_that_no_record_takes_fail_their_tasks() -> None:
    events = SmallEvents()
    await run(slice_of(12_000, 12_000, strategy=Strategy.CONCURRENT), SmallLog(10_000), events)
    assert sorted(kinds(events)) == [(0, "task_failed"), (1, "task_failed")]


@pytest.mark.parametrize("size", [5_000, 40_000])
async def test_an_event_larger_than_its_topic_takes_becomes_a_failure_that_is_told(size: int) -> None:
    events, log = SmallEvents(4_000), SmallLog(EVERYTHING)
    slice_ = slice_of(10, size, 10)
    store = await run(slice_, log, events)
    assert kinds(events) == [(0, "task_succeeded"), (2, "task_succeeded"), (1, "task_failed")]
    assert "Kafka takes no message of" in events.told[-1]["result"]["error"]
    assert events.told[-1]["seq"] == 4
    record = LaneRecord.decode(store.get(LaneName.of(slice_).key) or b"")
    assert (record.ended, record.failed) == (0.0, True)
    assert [key for key, _ in store.items() if key.startswith("outcome/")] == []


@pytest.mark.parametrize("size", [5_000, 40_000])
async def test_an_event_that_is_too_large_stays_on_record_until_it_is_told_otherwise(size: int) -> None:
    """A worker that dies between the two leaves the next one what it needs."""
    log, slice_ = SmallLog(EVERYTHING), slice_of(size, 10)
    await run(slice_, log, SmallEvents(4_000))
    ends = next(number for number, (_, value) in enumerate(log.messages) if b'"ended":0.0' in (value or b""))
    for length in range(ends):
        before, told = SmallLog(EVERYTHING), SmallEvents(4_000)
        before.messages = log.messages[:length]
        await run(slice_, before, told)
        assert (0, "task_failed") in kinds(told), length


async def test_a_slice_larger_than_the_changelog_takes_stays_in_the_log_and_others_are_adopted() -> None:
    runner, finished = Sized(), list[int]()
    shared = shared_of(SmallEvents(), runner)
    partition = OwnedPartition(shared, MemoryBudget(10, EVERYTHING), Policy(adopt_seconds=0.0), finished.append)
    store = await SmallLog(3_000).taken(at_any_time)
    await partition.loaded(store)
    large, small = slice_of(1, 1), slice_of(1)
    large.tasks[0].callback.args.append("x" * 4_000)
    for offset, slice_ in enumerate([large, small]):
        partition.start(slice_, offset, 10)
    await asyncio.sleep(0)
    partition.tick(range(9))
    async with asyncio.timeout(5):
        while not finished:  # noqa: ASYNC110 — lanes tell nobody that they are adopted
            await asyncio.sleep(0)
    assert finished == [1]
    assert store.get(LaneName.of(small).slice_key) is not None
    partition.gate.open()
    async with asyncio.timeout(5):
        while partition.lanes:  # noqa: ASYNC110 — as above
            await asyncio.sleep(0.01)
    assert sorted(finished) == [0, 1]
    assert runner.calls == 3
