"""The gate: what starts, what is waited for, what is recorded."""

import asyncio

import pytest

from jabba.lanes.gate import Gate

_LONG = 30.0


@pytest.fixture
def gate() -> Gate:
    made = Gate(2)
    made.open()
    return made


async def test_a_drain_waits_for_a_running_step(gate: Gate) -> None:
    await gate.enter()
    draining = asyncio.create_task(gate.drain(_LONG))
    await asyncio.sleep(0)
    assert not draining.done()
    gate.leave()
    assert await draining == 0


async def test_a_drain_gives_up_in_time(gate: Gate) -> None:
    await gate.enter()
    assert await gate.drain(0.01) == 1


async def test_no_step_enters_a_drained_gate_until_it_is_opened_again(gate: Gate) -> None:
    assert await gate.drain(_LONG) == 0
    entering = asyncio.create_task(gate.enter())
    await asyncio.sleep(0.01)
    assert not entering.done()
    gate.open()
    await entering
    assert gate.running == 1


async def test_a_step_that_took_its_slot_before_the_drain_and_has_not_begun_is_not_waited_for(gate: Gate) -> None:
    await gate.enter()
    draining = asyncio.create_task(gate.drain(_LONG))
    await asyncio.sleep(0)
    beginning = asyncio.create_task(gate.may_start())
    assert await asyncio.wait_for(draining, 5) == 0
    gate.open()
    await beginning
    assert gate.running == 1


async def test_a_step_that_is_cancelled_before_it_begins_gives_its_slot_back(gate: Gate) -> None:
    await gate.drain(_LONG)
    gate.open()

    async def step() -> None:
        async with gate.step():
            await gate.drain(0.01)
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
    gate = Gate(1, lambda: valid)
    gate.open()
    entering = asyncio.create_task(gate.enter())
    writing = asyncio.create_task(gate.may_write())
    await asyncio.sleep(0.01)
    assert not entering.done()
    assert not writing.done()
    assert not gate.writable
    valid = True
    await asyncio.wait_for(asyncio.gather(entering, writing), 5)


async def test_a_drain_without_a_lease_waits_for_nobody() -> None:
    valid = True
    gate = Gate(1, lambda: valid)
    gate.open()
    await gate.enter()
    valid = False
    assert await asyncio.wait_for(gate.drain(_LONG), 5) == 1
