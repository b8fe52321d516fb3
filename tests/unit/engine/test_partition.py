import asyncio
from types import SimpleNamespace
from typing import cast
from uuid import UUID, uuid4

import pytest

from jabba.callbacks.registry import TaskContext
from jabba.callbacks.results import Answer
from jabba.concurrency.memory_budget import MemoryBudget
from jabba.engine.dedup_markers import Window
from jabba.engine.gate import Gate
from jabba.engine.lane import LaneContext
from jabba.engine.partition import OwnedPartition, WorkerTotals
from jabba.engine.policy import Policy
from jabba.engine.records import LaneName, LaneRecord, Stamp
from jabba.jobs.lifecycle import Strategy
from jabba.jobs.models import Callback, TaskSpec
from jabba.messages.slices import Slice
from tests.support.lanes import Events, Log, Runner, at_any_time


def one_task() -> Slice:
    task = TaskSpec(callback=Callback(service="local", module="m", function="f"))
    return Slice(
        job=uuid4(), k=0, n_slices=1, first=0, total=1, digest="d", strategy=Strategy.SEQUENTIAL, type="t", tasks=[task]
    )


@pytest.fixture
def gate() -> Gate:
    made = Gate(asyncio.Semaphore(10))
    made.open()
    return made


async def test_an_adopted_lane_that_is_read_from_the_log_as_well_runs_once(gate: Gate) -> None:
    log, runner, slice_ = Log(), Runner(), one_task()
    name = LaneName.of(slice_)
    before = await log.taken(at_any_time)
    await before.put(name.slice_key, slice_.model_dump_json().encode())
    await before.put(name.key, LaneRecord("d", 7, adopted=True).encode())

    finished: list[int] = []
    shared = LaneContext(gate, Events(), runner, 1024, 3, lambda: 0.0)
    partition = OwnedPartition(shared, MemoryBudget(10, 1000), Policy(), finished.append)
    partition.gate.open()
    partition.start(slice_, 7, 10)
    await asyncio.sleep(0)
    store = await log.taken(at_any_time)
    await partition.loaded(store)
    async with asyncio.timeout(5):
        while partition.lanes:  # noqa: ASYNC110 — lanes tell nobody that they have ended
            await asyncio.sleep(0.01)
    assert (runner.calls, finished) == (1, [7])
    assert store.get(name.slice_key) is None


async def test_the_table_has_room_again_once_an_adopted_lane_has_ended(gate: Gate) -> None:
    shared = LaneContext(gate, Events(), Runner(), 1024, 3, lambda: 0.0)
    partition = OwnedPartition(
        shared, MemoryBudget(10, 1000), Policy(adopt_seconds=0.0, adopt_bytes=10), lambda _: None
    )
    partition.gate.open()
    store = await Log().taken(at_any_time)
    await partition.loaded(store)
    for offset in range(3):
        slice_ = one_task()
        partition.start(slice_, offset, 10)
        await asyncio.sleep(0)
        partition.tick(range(9))
        async with asyncio.timeout(5):
            while store.get(LaneName.of(slice_).slice_key) is None:  # noqa: ASYNC110 — as above
                await asyncio.sleep(0)
            while partition.lanes:  # noqa: ASYNC110 — as above
                await asyncio.sleep(0.01)


async def test_a_slice_whose_dead_letter_cannot_be_written_holds_up_no_other(gate: Gate) -> None:
    async def refuse(_slice: Slice, _reason: str) -> None:
        await asyncio.get_running_loop().create_future()

    shared = LaneContext(gate, Events(), Runner(), 1024, 3, lambda: 0.0, refuse=refuse)
    partition = OwnedPartition(shared, MemoryBudget(10, 1000), Policy(adopt_seconds=0.0), lambda _: None)
    store = await Log().taken(at_any_time)
    await partition.loaded(store)
    slice_ = one_task()
    partition.start(slice_, 0, 10)
    partition.start(slice_.model_copy(update={"digest": "another"}), 1, 10)
    await asyncio.sleep(0)
    partition.tick(range(9))
    async with asyncio.timeout(5):
        while store.get(LaneName.of(slice_).slice_key) is None:  # noqa: ASYNC110 — as above
            await asyncio.sleep(0.01)
    partition.lose()


async def test_what_the_other_partitions_of_a_worker_hold_counts(gate: Gate) -> None:
    shared = LaneContext(gate, Events(), Runner(), 1024, 3, lambda: 0.0)
    policy = Policy(adopt_seconds=0.0, adopt_bytes=10)
    others = cast("OwnedPartition", SimpleNamespace(adopted_bytes=10, markers=0))
    partition = OwnedPartition(
        shared, MemoryBudget(10, 1000), policy, lambda _: None, WorkerTotals(lambda: [others, partition])
    )
    partition.gate.open()
    store = await Log().taken(at_any_time)
    await partition.loaded(store)
    waiting = one_task().model_copy(update={"k": 1, "n_slices": 2})
    partition.start(waiting, 0, 10)
    for _ in range(10):
        await asyncio.sleep(0)
        partition.tick(range(9))
    assert (partition.lanes, partition.adopted_bytes) == (1, 0)
    others.adopted_bytes = 9  # type: ignore[misc]
    async with asyncio.timeout(5):
        while not partition.adopted_bytes:
            partition.tick(range(9))
            await asyncio.sleep(0)
    assert partition.adopted_bytes == len(store.get(LaneName.of(waiting).slice_key) or b"")
    partition.lose()


async def test_lanes_are_adopted_though_the_clock_is_set_back(gate: Gate) -> None:
    clock = [1000.0]
    shared = LaneContext(gate, Events(), Runner(), 1024, 3, lambda: clock[0])
    partition = OwnedPartition(shared, MemoryBudget(10, 1000), Policy(adopt_seconds=0.0), lambda _: None)
    partition.gate.open()
    store = await Log().taken(at_any_time)
    await partition.loaded(store)
    waiting = [one_task().model_copy(update={"k": 1, "n_slices": 2}) for _ in range(2)]
    for offset, slice_ in enumerate(waiting):
        partition.start(slice_, offset, 10)
        clock[0] = 0.0
    async with asyncio.timeout(5):
        while any(store.get(LaneName.of(slice_).slice_key) is None for slice_ in waiting):
            partition.tick(range(0))
            await asyncio.sleep(0)
    partition.lose()


class Side(Runner):
    """Notes how many callbacks run side by side at most."""

    def __init__(self) -> None:
        super().__init__()
        self.running = self.most = 0

    async def run(self, callback: Callback, context: TaskContext) -> Answer:
        self.running += 1
        self.most = max(self.most, self.running)
        answer = await super().run(callback, context)
        self.running -= 1
        return answer


@pytest.mark.parametrize("end, most", [(0, 4), (2, 3), (4, 1)])
async def test_what_came_after_a_partition_was_taken_cannot_have_ended_its_former_owners(
    gate: Gate, end: int, most: int
) -> None:
    log, runner = Log(), Side()
    for _ in range(2):
        await log.taken(at_any_time)
    partition = OwnedPartition(
        LaneContext(gate, Events(), runner, 1024, 3, lambda: 0.0), MemoryBudget(10, 1000), Policy(), print
    )
    partition.gate.open()
    store = await log.taken(at_any_time)
    assert store.crashes == 2
    await partition.loaded(store)
    partition.begin(end)
    partition.begin(9)  # the next generation
    for offset in range(4):
        partition.start(one_task(), offset, 10)
    async with asyncio.timeout(5):
        while partition.lanes:  # noqa: ASYNC110 — lanes tell nobody that they have ended
            await asyncio.sleep(0.001)
    assert (runner.calls, runner.most) == (4, most)


async def test_nothing_is_forgotten_while_others_load(gate: Gate) -> None:
    shared = LaneContext(gate, Events(), Runner(), 1024, 3, lambda: 100.0)
    policy = Policy(window=Window(seconds=0.0))
    partition = OwnedPartition(shared, MemoryBudget(10, 1000), policy, lambda _: None)
    partition.gate.open()
    store = await Log().taken(at_any_time)
    slice_ = one_task()
    key = LaneName.of(slice_).key
    await store.put(key, LaneRecord(slice_.digest, 0).marker(99.0).encode())
    await partition.loaded(store)
    for forgets, left in ((False, 1), (True, 0)):
        partition.tick(range(1, 9), forgets=forgets)
        await asyncio.sleep(0.01)
        assert (partition.markers, store.get(key) is not None) == (left, bool(left))


async def test_what_a_former_owner_has_left_beside_a_lane_that_has_ended_is_deleted(gate: Gate) -> None:
    log, slice_ = Log(), one_task()
    name = LaneName.of(slice_)
    before = await log.taken(at_any_time)
    await before.put(name.slice_key, slice_.model_dump_json().encode())
    await before.put(name.outcome_key("0:1.1"), b"{}")
    await before.put(name.key, LaneRecord(slice_.digest, 0).marker(99.0).encode())

    shared = LaneContext(gate, Events(), Runner(), 1024, 3, lambda: 100.0)
    partition = OwnedPartition(shared, MemoryBudget(10, 1000), Policy(), lambda _: None)
    partition.gate.open()
    store = await log.taken(at_any_time)
    await partition.loaded(store)
    await asyncio.sleep(0.01)
    assert (store.get(name.slice_key), store.get(name.outcome_key("0:1.1"))) == (None, None)
    assert (partition.adopted_bytes, partition.markers) == (0, 1)


async def test_others_have_their_turn_while_a_partition_begins(gate: Gate) -> None:
    log, markers = Log(), 50_000
    for number in range(markers):
        record = LaneRecord("d", 0).marker(99.0).encode()
        log.messages.append((Stamp(1).full_key(LaneName(UUID(int=number), 0, 0).key), record))
    shared = LaneContext(gate, Events(), Runner(), 1024, 3, lambda: 100.0)
    partition = OwnedPartition(shared, MemoryBudget(10, 1000), Policy(), lambda _: None)
    partition.gate.open()
    store = await log.taken(at_any_time)
    beginning = asyncio.create_task(partition.loaded(store))
    seen = set()
    while not beginning.done():
        await asyncio.sleep(0)
        seen.add(partition.markers)
    assert len(seen) >= 3
    assert partition.markers == markers
