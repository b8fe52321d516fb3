"""Records of the changelog that this version does not understand: what they are about waits, and nothing else does."""

import asyncio
from uuid import uuid4

import pytest

from jabba.concurrency.memory_budget import MemoryBudget
from jabba.engine import changelog as lanes_store
from jabba.engine.changelog import CLEAN_KEY, EPOCH_KEY, Changelog, Store
from jabba.engine.engine import Engine
from jabba.engine.gate import Gate
from jabba.engine.lane import LaneContext
from jabba.engine.partition import OwnedPartition
from jabba.engine.policy import Policy
from jabba.engine.records import JobRecord, LaneName, LaneRecord
from jabba.jobs.lifecycle import Strategy
from jabba.jobs.models import Callback, TaskSpec
from jabba.messages.slices import Slice
from tests.support.lanes import Events, Log, Runner, at_any_time

_NEWER = b'{"v":2,"ended":null,"digest":"d","offset":0,"seq":0,"failed":false}'
_CUT_OFF = b'{"v":1,"ended":null,"digest":"d","off'


class Worker:
    """A partition of an engine that is loaded from a log, and what it has put aside."""

    def __init__(self) -> None:
        self.log = Log()
        self.runner = Runner()
        self.finished: list[int] = []
        self.refused: list[tuple[Slice, str]] = []
        gate = Gate(asyncio.Semaphore(10))
        shared = LaneContext(gate, Events(), self.runner, 1024, 3, lambda: 0.0, refuse=self._refuse)
        self.partition = OwnedPartition(shared, MemoryBudget(10, 1000), Policy(), self.finished.append)
        self.partition.gate.open()

    async def load(self) -> Store:
        store = await self.log.taken(at_any_time)
        await self.partition.loaded(store)
        return store

    async def until_idle(self) -> None:
        async with asyncio.timeout(5):
            while self.partition.lanes:  # noqa: ASYNC110 — lanes tell nobody that they have ended
                await asyncio.sleep(0.01)

    async def _refuse(self, slice_: Slice, reason: str) -> None:
        self.refused.append((slice_, reason))


@pytest.fixture
async def worker() -> Worker:
    return Worker()


def one_task(k: int = 0, n_slices: int = 1) -> Slice:
    task = TaskSpec(callback=Callback(service="local", module="m", function="f"))
    return Slice(
        job=uuid4(),
        k=k,
        n_slices=n_slices,
        first=k,
        total=n_slices,
        digest="d",
        strategy=Strategy.SEQUENTIAL,
        type="t",
        tasks=[task],
    )


@pytest.mark.parametrize("value", [_NEWER, _CUT_OFF, b"", b"\xff"])
async def test_a_slice_whose_record_is_unreadable_is_put_aside_and_others_run(worker: Worker, value: bytes) -> None:
    strange, other = one_task(), one_task()
    before = await worker.log.taken(at_any_time)
    await before.put(LaneName.of(strange).key, value)
    store = await worker.load()
    worker.partition.start(strange, 3, 10)
    worker.partition.start(other, 4, 10)
    await worker.until_idle()
    ((refused, reason),) = worker.refused
    assert refused is strange
    assert LaneName.of(strange).key in reason
    assert (worker.runner.calls, sorted(worker.finished)) == (1, [3, 4])
    assert store.get(LaneName.of(strange).key) == value


async def test_a_slice_of_a_job_whose_record_is_unreadable_is_put_aside(worker: Worker) -> None:
    strange = one_task(k=1, n_slices=2)
    before = await worker.log.taken(at_any_time)
    await before.put(LaneName.of(strange).job_key, b"[]")
    await worker.load()
    worker.partition.start(strange, 3, 10)
    await worker.until_idle()
    assert [slice_ for slice_, _ in worker.refused] == [strange]
    assert (worker.runner.calls, worker.finished) == (0, [3])


async def test_lanes_in_the_table_wait_for_a_version_that_can_read_them(
    worker: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    nobody_reads, no_slice, no_job = one_task(), one_task(), one_task(k=1, n_slices=2)
    turn = one_task(k=1, n_slices=2)
    other = one_task()
    before = await worker.log.taken(at_any_time)
    for slice_ in (nobody_reads, no_job, turn, other):
        await before.put(LaneName.of(slice_).slice_key, slice_.model_dump_json().encode())
    await before.put(LaneName.of(no_slice).slice_key, b"{")
    for slice_ in (no_slice, no_job, other):
        await before.put(LaneName.of(slice_).key, LaneRecord("d", 0, adopted=True).encode())
    await before.put(LaneName.of(nobody_reads).key, _NEWER)
    await before.put(LaneName.of(turn).key, LaneRecord("d", 0, adopted=True, turn=True).encode())
    for slice_ in (no_job, turn):
        await before.put(LaneName.of(slice_).job_key, b"{}")
    store = await worker.load()
    await worker.until_idle()
    assert worker.runner.calls == 1
    assert worker.refused == []
    for slice_ in (nobody_reads, no_slice, no_job, turn):
        name = LaneName.of(slice_)
        assert store.get(name.slice_key) is not None
        assert str(slice_.job) in caplog.text


async def test_keys_that_nobody_of_jabbas_writes_are_passed_over(
    worker: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    slice_ = one_task()
    for key in (b"garbage", b"\xff", b"", b"lane/x.y/1", b"lane/x/1.0", b"slice/1.0", b"outcome/1.0", None):
        worker.log.messages.append((key, b"x"))  # type: ignore[arg-type]  # Kafka knows messages without a key
    store = await worker.load()
    worker.partition.start(slice_, 3, 10)
    await worker.until_idle()
    assert (worker.runner.calls, worker.finished) == (1, [3])
    assert store.epoch > 0
    assert "offset 0 of the changelog" in caplog.text


async def test_markers_that_are_unreadable_stay_and_others_go(worker: Worker) -> None:
    first, second, third = (one_task() for _ in range(3))
    before = await worker.log.taken(at_any_time)
    await before.put(LaneName.of(first).key, b'{"v":1,"ended":1.0}')
    await before.put(LaneName.of(second).job_key, b"{}")
    for slice_ in (second, third):
        await before.put(LaneName.of(slice_).key, LaneRecord("d", 0).marker(-1e9).encode())
    store = await worker.load()
    worker.partition.tick(range(1, 9))
    async with asyncio.timeout(5):
        while store.get(LaneName.of(third).key) is not None:  # noqa: ASYNC110 — nobody tells
            await asyncio.sleep(0.01)
    assert store.get(LaneName.of(first).key) is not None
    assert store.get(LaneName.of(second).job_key) is not None
    worker.partition.tick(range(1, 9))


async def test_a_record_of_a_newer_version_is_no_marker(worker: Worker) -> None:
    before = await worker.log.taken(at_any_time)
    await before.put(LaneName.of(one_task()).key, _NEWER)
    await worker.load()
    assert worker.partition.markers == 0


@pytest.mark.parametrize("value", [_NEWER, b"{", b"[]", b'{"v":1,"since":"x","crashes":0}'])
async def test_an_owner_whose_claim_is_unreadable_counts_as_one_that_has_crashed(worker: Worker, value: bytes) -> None:
    before = await worker.log.taken(at_any_time)
    await before.put(EPOCH_KEY, value)
    after = await worker.log.taken(at_any_time)
    assert (after.epoch, after.crashes) == (before.epoch + 1, 1)
    assert (await worker.log.taken(at_any_time)).crashes == 2


async def test_an_owner_whose_claim_is_unreadable_may_have_left(worker: Worker) -> None:
    before = await worker.log.taken(at_any_time)
    await before.put(EPOCH_KEY, b"{")
    await before.leave()
    assert (await worker.log.taken(at_any_time)).crashes == 0


@pytest.mark.parametrize("value", [_NEWER, b"{", b"[]", b'{"v":1,"clean":false,"finishing":"x"}'])
async def test_an_owner_whose_parting_is_unreadable_is_waited_for_as_long_as_a_hand_over_takes(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, value: bytes
) -> None:
    monkeypatch.setattr(lanes_store, "_PATIENCE_SECONDS", 0.0)
    before = await worker.log.taken(at_any_time)
    await before.put(CLEAN_KEY, value)
    loop, waited = asyncio.get_running_loop(), list[float]()
    began = loop.time()
    taking = asyncio.create_task(worker.log.taken(at_any_time))
    taking.add_done_callback(lambda _: waited.append(loop.time() - began))
    # Before it is over, the former owner may still record.
    await before.put("lane/step", b"recorded")
    after = await taking
    assert waited[0] >= 0.05
    assert (after.get("lane/step"), after.epoch, after.crashes) == (b"recorded", before.epoch + 1, 1)


async def test_an_owner_whose_parting_is_unreadable_is_waited_for_no_longer_once_it_has_left(worker: Worker) -> None:
    before = await worker.log.taken(at_any_time)
    await before.put(CLEAN_KEY, b"{")
    store = Store(Changelog(worker.log.append, worker.log.read, worker.log.follow), at_any_time, lambda: 0.0, 600.0)
    await store.load()
    waiting = asyncio.create_task(store.predecessor())
    await before.leave()
    async with asyncio.timeout(5):
        await waiting
        await store.claim()
    assert store.crashes == 0


def test_a_job_record_of_a_newer_version_is_not_read() -> None:
    with pytest.raises(ValueError, match="version 2"):
        JobRecord.decode(b'{"v":2,"n_slices":2,"next":1,"failed":false}')


async def test_what_fails_in_the_tick_of_one_partition_holds_up_no_other(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    log, ticked = Log(), list[int]()

    class Table:
        async def take(self, _partition: int, may_write: object) -> Store:
            return await log.taken(at_any_time)

    engine = Engine(
        Table(), LaneContext(Gate(asyncio.Semaphore(1)), Events(), Runner(), 1024, 3, lambda: 0.0), MemoryBudget(1, 1)
    )
    engine.assign(1, [0, 1])
    engine.open()
    await engine.loaded()

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a defect")

    one, other = engine._owned.values()
    monkeypatch.setattr(one, "tick", fail)
    monkeypatch.setattr(other, "tick", lambda *_, **__: ticked.append(1))
    engine.tick()
    assert ticked == [1]
    assert "a defect" in caplog.text
    await engine.stop()
