"""Lanes whose steps need several attempts: recorded, parked, and never more than the policy allows."""

import asyncio
import json
from collections import Counter
from typing import Any
from uuid import UUID

import pytest

from jabba import Retry
from jabba.callbacks import results
from jabba.callbacks.registry import TaskContext
from jabba.callbacks.transport import Postponed, Reply, Unanswered
from jabba.concurrency.memory_budget import MemoryBudget
from jabba.engine.gate import Gate
from jabba.engine.lane import SHORT_SECONDS, LaneContext
from jabba.engine.partition import OwnedPartition
from jabba.engine.policy import Policy
from jabba.engine.records import LaneName, LaneRecord, is_marker
from jabba.jobs import ids
from jabba.jobs.lifecycle import Strategy
from jabba.jobs.models import Callback, TaskSpec
from jabba.jobs.retry import Defaults
from jabba.messages.slices import Slice
from tests.support.lanes import Log, at_any_time

NOW = 1_800_000_000.0
JOB = ids.new_job_id(NOW)


class Script:
    """Replies of callbacks, by the index of their task; the last one is repeated. Counts calls, knows their numbers."""

    def __init__(self, **replies: list[Any]) -> None:
        self.replies = {int(name[1:]): list(given) for name, given in replies.items()}
        self.calls: Counter[int] = Counter()
        self.attempts: dict[int, list[int]] = {}

    async def run(self, callback: Callback, context: TaskContext) -> Reply:
        index = int(str(callback.args[0]))
        self.calls[index] += 1
        self.attempts.setdefault(index, []).append(context.attempt)
        await asyncio.sleep(0)
        given = self.replies.get(index, [results.succeeded({})])
        reply = given.pop(0) if len(given) > 1 else given[0]
        if callable(reply):
            return await reply()  # type: ignore[no-any-return]
        return reply  # type: ignore[no-any-return]


class Sent:
    """The events that were sent, acknowledged at once."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []

    def send(self, _job: UUID, event: bytes) -> asyncio.Future[int]:
        self.told.append(json.loads(event))
        sent = asyncio.get_running_loop().create_future()
        sent.set_result(0)
        return sent

    def of(self, index: int) -> list[tuple[str, int]]:
        return [(one["event"], one.get("attempt", 1)) for one in self.told if one["index"] == index]


class World:
    """One partition of one worker; ``crash`` gives it to another owner, ``advance`` moves the clock."""

    def __init__(self, script: Script, **context: Any) -> None:
        self.now = NOW
        self.script = script
        self.sent = Sent()
        self.log = Log()
        self.gate = Gate(asyncio.Semaphore(10))
        self.finished: list[int] = []
        self.context = LaneContext(
            self.gate, self.sent, script, 1024, 3, lambda: self.now, random=lambda: 0.0, worker="w", **context
        )

    async def take(self) -> None:
        self.partition = OwnedPartition(self.context, MemoryBudget(10, 1000), Policy(), self.finished.append)
        self.partition.gate.open()
        self.store = await self.log.taken(at_any_time)
        await self.partition.loaded(self.store)

    async def crash(self) -> None:
        self.partition.end()
        await asyncio.sleep(0)
        await self.take()

    async def idle(self) -> None:
        """Wait until no lane is in memory."""
        async with asyncio.timeout(5):
            while self.partition.lanes:  # noqa: ASYNC110 — lanes tell nobody that they have ended
                await asyncio.sleep(0.001)

    async def advance(self, seconds: float) -> None:
        self.now += seconds
        self.partition.tick(range(0))
        await self.idle()


def slice_of(*tasks: TaskSpec, strategy: Strategy = Strategy.SEQUENTIAL, **given: Any) -> Slice:
    return Slice(
        job=JOB,
        k=0,
        n_slices=1,
        first=0,
        total=len(tasks),
        digest="d",
        strategy=strategy,
        type="t",
        tasks=list(tasks),
        **given,
    )


def task(index: int, **given: Any) -> TaskSpec:
    return TaskSpec(callback=Callback(service="local", module="m", function="f", args=[index]), **given)


async def started(world: World, slice_: Slice) -> None:
    await world.take()
    world.partition.start(slice_, 7, 10)
    await world.idle()


GONE = Unanswered("connection refused", status_code=502, address="http://a")
OK = results.succeeded({})
LONG = Retry(max_attempts=3, initial=10.0)


async def test_a_task_parks_between_attempts_and_its_lane_ends_with_the_last() -> None:
    world = World(Script(t0=[GONE, GONE, OK]))
    await started(world, slice_of(task(0, retry=LONG), task(1)))
    assert (world.script.calls[0], world.partition.parked, world.partition.lanes) == (1, 1, 0)
    assert world.finished == [7], "a parked lane needs the log no more"
    await world.advance(9.9)
    assert world.script.calls[0] == 1
    await world.advance(0.2)
    assert world.script.calls[0] == 2
    await world.advance(20.1)
    assert world.script.attempts == {0: [1, 2, 3], 1: [1]}
    assert world.sent.of(0) == [("task_attempted", 1), ("task_attempted", 2), ("task_succeeded", 3)]
    assert is_marker(world.store.get(LaneName.of(slice_of(task(0))).key) or b"")


async def test_an_attempt_says_when_how_and_where() -> None:
    world = World(Script(t0=[GONE, OK]))
    await started(world, slice_of(task(0, retry=LONG)))
    (attempted,) = world.sent.told
    expected = {"outcome": "infrastructure", "error": "connection refused", "status_code": 502, "address": "http://a"}
    assert {name: attempted[name] for name in expected} == expected
    assert (attempted["began"], attempted["ended"], attempted["next_at"], attempted["worker"]) == (
        NOW,
        NOW,
        NOW + 10,
        "w",
    )


async def test_the_last_attempt_fails_the_task_and_aborts_the_rest() -> None:
    world = World(Script(t0=[GONE]))
    await started(world, slice_of(task(0, retry=LONG), task(1)))
    await world.advance(11)
    await world.advance(21)
    assert world.script.calls == {0: 3}
    assert world.sent.of(0)[-1] == ("task_failed", 3)
    assert world.sent.told[-2]["result"] == {
        "error": "connection refused",
        "outcome": "infrastructure",
        "attempts": 3,
        "status_code": 502,
    }
    assert world.sent.told[-1]["event"] == "tasks_aborted"


async def test_what_was_recorded_of_attempts_survives_every_owner() -> None:
    world = World(Script(t0=[GONE]))
    await started(world, slice_of(task(0, retry=LONG)))
    for _ in range(5):
        await world.crash()
        await world.idle()
        assert world.script.calls[0] == 1, "nothing runs before it is due"
    await world.advance(11)
    await world.crash()
    await world.advance(21)
    assert world.script.attempts[0] == [1, 2, 3]


async def test_short_delays_are_waited_for_in_memory() -> None:
    world = World(Script(t0=[GONE, OK]))
    policy = Retry(max_attempts=2, initial=SHORT_SECONDS / 1000)
    await started(world, slice_of(task(0, retry=policy)))
    assert world.script.calls[0] == 2
    assert world.partition.parked == 0


async def test_in_a_concurrent_slice_only_what_failed_is_attempted_again() -> None:
    world = World(Script(t1=[GONE, OK], t3=[GONE, GONE, OK]))
    tasks = [task(index, retry=LONG) for index in range(5)]
    await started(world, slice_of(*tasks, strategy=Strategy.CONCURRENT))
    assert world.script.calls == dict.fromkeys(range(5), 1)
    assert world.partition.parked == 1
    await world.advance(10.1)
    assert world.script.calls == {0: 1, 1: 2, 2: 1, 3: 2, 4: 1}
    await world.crash()
    await world.advance(20.1)
    assert world.script.calls == {0: 1, 1: 2, 2: 1, 3: 3, 4: 1}
    assert world.partition.parked == 0
    assert [one["event"] for one in world.sent.told].count("task_succeeded") == 5


async def test_waits_are_not_attempts() -> None:
    world = World(Script(t0=[Postponed("busy", 30.0)] * 4 + [OK]))
    await started(world, slice_of(task(0, retry=Retry(max_attempts=1))))
    for _ in range(4):
        assert world.partition.parked == 1
        await world.crash()
        await world.advance(30.1)
    assert world.script.attempts[0] == [1] * 5
    assert world.sent.of(0) == [("task_succeeded", 1)]


async def test_an_attempt_that_takes_too_long_is_ended_and_counted() -> None:
    cancelled = []

    async def hangs() -> Reply:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise
        raise AssertionError

    world = World(Script(t0=[hangs, OK]))
    await started(world, slice_of(task(0, timeout=0.01, retry=Retry(initial=0.001))))
    assert cancelled == [True]
    assert world.sent.of(0) == [("task_attempted", 1), ("task_succeeded", 2)]
    assert world.sent.told[0]["outcome"] == "timeout"


async def test_the_default_of_a_callback_holds_where_its_task_says_nothing() -> None:
    world = World(Script(t0=[GONE]), defaults=lambda _: Defaults(Retry(max_attempts=2, initial=0.001)))
    await started(world, slice_of(task(0)))
    assert world.script.calls[0] == 2


@pytest.mark.parametrize("given, calls", [({"deadline": NOW + 15}, 1), ({}, 2)])
async def test_no_attempt_begins_after_the_deadline(given: dict[str, Any], calls: int) -> None:
    world = World(Script(t0=[GONE]))
    await started(world, slice_of(task(0, retry=LONG), **given))
    await world.advance(16)
    assert world.script.calls[0] == calls


async def test_a_task_that_waited_too_long_to_start_fails() -> None:
    world = World(Script())
    world.now = NOW + 31
    await started(world, slice_of(task(0, expires=30.0)))
    assert world.script.calls[0] == 0
    assert world.sent.told[0]["result"]["error"].startswith("expired: it waited for 31 s to start")


async def test_a_record_of_before_attempts_is_read() -> None:
    told = json.loads(LaneRecord("d", 7).encode())
    assert "attempts" not in told
    assert LaneRecord.decode(json.dumps(told).encode()).attempts == {}
