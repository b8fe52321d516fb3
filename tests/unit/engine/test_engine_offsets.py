"""What an engine keeps of messages and partitions, and what it gives back."""

import asyncio
from uuid import uuid4

from jabba.concurrency.memory_budget import MemoryBudget
from jabba.engine.dedup_markers import Window
from jabba.engine.engine import Engine, Origin
from jabba.engine.gate import Gate
from jabba.engine.lane import LaneContext
from jabba.engine.offsets import Start
from jabba.engine.policy import Policy
from jabba.engine.records import LaneName, LaneRecord
from tests.support.lanes import Events, Runner, at_any_time
from tests.support.processes import eventually
from tests.unit.engine.test_loading import StubbornTable, Worker, until_loaded


async def test_messages_without_slices_take_no_room() -> None:
    worker = Worker()
    worker.table.release.set()
    worker.assign(1, [0])
    worker.engine.start_at(1, {0: Start(0, 0)}, {0: Start(0, 0)})
    room = worker.engine._room
    async with asyncio.timeout(5):
        for offset in range(3):
            await worker.engine.accept(Origin(0, offset, 1, 400), [])
    assert worker.engine.committable() == {0: 3}
    assert room.take_now(1, 500)
    assert room.take_now(1, 500)
    await worker.engine.stop()


async def test_a_partition_to_which_no_message_comes_forgets_what_is_below_the_committed_offset() -> None:
    table = StubbornTable()
    table.release.set()
    below, above = (LaneName(uuid4(), 0, 0).key for _ in range(2))
    before = await table.log.taken(at_any_time)
    await before.put(below, LaneRecord("d", 4).marker(1.0).encode())
    await before.put(above, LaneRecord("d", 5).marker(1.0).encode())
    shared = LaneContext(Gate(asyncio.Semaphore(10)), Events(), Runner(), 1000, 3, lambda: 100.0)
    engine = Engine(table, shared, MemoryBudget(10, 1000), Policy(window=Window(seconds=10.0)))
    engine.assign(1, [0])
    engine.open()
    await engine.loaded()
    engine.start_at(1, {0: Start(5, 6)}, {0: Start(0, 0)})
    store = engine._owned[0].store.result()

    async def is_forgotten() -> bool:
        engine.tick()
        return store.get(below) is None

    await eventually(is_forgotten, 5, "the end of the marker")
    assert store.get(above) is not None
    await engine.stop()


async def test_a_lost_partition_is_kept_until_its_last_step_is_recorded_and_no_longer() -> None:
    worker = Worker()
    worker.table.release.set()
    worker.assign(1, [0])
    await until_loaded(worker, [0])
    engine = worker.engine
    gate = engine._owned[0].gate
    await gate.enter()
    assert await engine.release(30.0) == 0
    engine.assign(2, [])
    assert (engine.running, len(engine._parting)) == (1, 1)
    gate.leave()

    async def is_gone() -> bool:
        return not engine._parting

    await eventually(is_gone, 5, "the end of the lost partition")
    await engine.stop()
