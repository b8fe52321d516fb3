"""The gate: what starts, what is waited for, what is recorded."""

import asyncio

import pytest

from jabba.engine.gate import Gate, PartitionLost

_LONG = 30.0


@pytest.fixture
def gate() -> Gate:
    made = Gate(asyncio.Semaphore(2))
    made.open()
    return made


async def test_a_running_step_is_waited_for(gate: Gate) -> None:
    await gate.enter()
    gate.hold()
    waiting = asyncio.create_task(gate.quiet(_LONG))
    await asyncio.sleep(0)
    assert not waiting.done()
    gate.leave()
    assert await waiting == 0


async def test_a_running_step_is_not_waited_for_for_ever(gate: Gate) -> None:
    await gate.enter()
    assert await gate.quiet(0.01) == 1


async def test_a_lane_that_ends_behind_its_last_step_is_waited_for(gate: Gate) -> None:
    await gate.enter()
    waiting = asyncio.create_task(gate.quiet(_LONG))
    await asyncio.sleep(0)
    gate.leave()
    with gate.settling():
        await asyncio.sleep(0.01)
        assert not waiting.done()
    assert await asyncio.wait_for(waiting, 5) == 0


async def test_no_step_enters_a_held_gate_until_it_is_opened_again(gate: Gate) -> None:
    gate.hold()
    entering = asyncio.create_task(gate.enter())
    await asyncio.sleep(0.01)
    assert not entering.done()
    gate.open()
    await entering
    assert gate.running == 1


async def test_a_step_that_took_its_slot_in_time_and_has_not_begun_is_not_waited_for(gate: Gate) -> None:
    await gate.enter()
    gate.hold()
    waiting = asyncio.create_task(gate.quiet(_LONG))
    await asyncio.sleep(0)
    beginning = asyncio.create_task(gate.may_start())
    assert await asyncio.wait_for(waiting, 5) == 0
    gate.open()
    await beginning
    assert gate.running == 1


async def test_a_step_that_is_cancelled_before_it_begins_gives_its_slot_back(gate: Gate) -> None:
    async def step() -> None:
        async with gate.step():
            gate.hold()
            await gate.may_start()

    running = asyncio.create_task(step())
    await asyncio.sleep(0.05)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert gate.running == 0
    gate.open()
    for _ in range(2):
        await asyncio.wait_for(gate.enter(), 5)


async def test_nothing_starts_or_is_written_without_a_lease() -> None:
    valid = False
    gate = Gate(asyncio.Semaphore(1), lambda: valid)
    gate.open()
    entering = asyncio.create_task(gate.enter())
    writing = asyncio.create_task(gate.may_write())
    await asyncio.sleep(0.01)
    assert not entering.done()
    assert not writing.done()
    assert not gate.writable
    valid = True
    await asyncio.wait_for(asyncio.gather(entering, writing), 5)


async def test_a_closed_gate_may_record_until_then_whatever_the_lease_says() -> None:
    gate = Gate(asyncio.Semaphore(1), lambda: False)
    gate.close(until=asyncio.get_running_loop().time() + _LONG)
    await asyncio.wait_for(gate.may_write(), 5)
    gate.close()
    writing = asyncio.create_task(gate.may_write())
    await asyncio.sleep(0.01)
    assert not writing.done()
    writing.cancel()


async def test_the_steps_of_all_branches_share_the_slots(gate: Gate) -> None:
    branches = [gate.branch() for _ in range(3)]
    for branch in branches:
        branch.open()
    entering = [asyncio.create_task(branch.enter()) for branch in branches]
    await asyncio.sleep(0.01)
    assert [one.done() for one in entering] == [True, True, False]
    branches[0].leave()
    await asyncio.wait_for(entering[2], 5)
    assert [branch.running for branch in branches] == [0, 1, 1]


async def test_whoever_waits_for_a_partition_that_is_lost_is_told(gate: Gate) -> None:
    gate.close()
    waiting = [asyncio.create_task(one) for one in (gate.enter(), gate.may_start(), gate.may_write())]
    await asyncio.sleep(0)
    gate.retire()
    gate.close()
    for one in waiting:
        with pytest.raises(PartitionLost):
            await asyncio.wait_for(one, 5)
    assert not gate.writable


async def test_who_waits_for_a_slot_is_counted(gate: Gate) -> None:
    await gate.enter()
    await gate.enter()
    waiting = asyncio.create_task(gate.enter())
    await asyncio.sleep(0)
    assert (gate.running, gate.waiting) == (2, 1)
    gate.leave()
    await waiting
    assert (gate.running, gate.waiting) == (2, 0)
