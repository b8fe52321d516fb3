import asyncio

import pytest

from jabba.callbacks.services import Rate
from jabba.callbacks.throttle import TURN_SECONDS, Throttle
from tests.support.clocks import HandClock


def make(concurrency: int = 2, rate: Rate | None = None) -> tuple[Throttle, HandClock]:
    clock = HandClock(100.0)
    return Throttle(concurrency, rate, clock.monotonic), clock


async def test_a_free_place_is_taken_at_once() -> None:
    throttle, _ = make()
    assert [await throttle.enter() for _ in range(2)] == [0, 0]
    assert throttle.running == 2


async def test_places_are_given_in_order() -> None:
    throttle, _ = make(1)
    await throttle.enter()
    order: list[int] = []

    async def call(number: int) -> None:
        assert await throttle.enter() == 0
        order.append(number)
        throttle.leave(0.01, good=True)

    calls = [asyncio.create_task(call(number)) for number in range(3)]
    await asyncio.sleep(0)
    throttle.leave(0.01, good=True)
    await asyncio.gather(*calls)
    assert order == [0, 1, 2]
    assert throttle.running == 0


async def test_those_without_a_place_are_spread_over_the_time_to_come() -> None:
    throttle, _ = make(1)
    await throttle.enter()
    waits = await asyncio.gather(*(throttle.enter() for _ in range(3)))
    assert all(wait > TURN_SECONDS for wait in waits)
    assert len(set(waits)) == 3
    throttle.leave(0.01, good=True)
    assert await throttle.enter() == 0


async def test_one_that_is_cancelled_while_it_waits_leaves_no_trace() -> None:
    throttle, _ = make(1)
    await throttle.enter()
    waiting = asyncio.create_task(throttle.enter())
    await asyncio.sleep(0)
    throttle.leave(0.01, good=True)
    # It has its place already, and does not know yet.
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert throttle.running == 0
    assert await throttle.enter() == 0


async def test_a_rate_bounds_how_many_begin() -> None:
    throttle, clock = make(100, Rate(5, 60.0))
    assert await throttle.enter() == 0
    waits = [await throttle.enter() for _ in range(3)]
    assert waits == pytest.approx([TURN_SECONDS + 12, TURN_SECONDS + 24, TURN_SECONDS + 36])
    assert throttle.running == 1
    clock.seconds += 12
    assert await throttle.enter() == 0
    assert await throttle.enter() > 0


async def test_a_high_rate_lets_a_tenth_of_a_second_begin_at_once() -> None:
    throttle, clock = make(10_000, Rate(1000, 1.0))
    waits = await asyncio.gather(*(throttle.enter() for _ in range(1000)))
    # A hundred at once, and those whose turn comes within the time that a call may wait.
    assert waits.count(0) == pytest.approx(300, abs=5)
    clock.seconds += 1
    assert await throttle.enter() == 0


async def test_a_busy_service_gets_half_as_many_and_recovers() -> None:
    throttle, clock = make(8)
    for _ in range(4):
        await throttle.enter()
    for _ in range(2):
        throttle.leave(0.01, good=None)
    assert throttle.limit == 4
    clock.seconds += 2
    throttle.leave(0.01, good=None)
    assert throttle.limit == 2
    throttle.leave(0.01, good=True)
    for _ in range(60):
        await throttle.enter()
        throttle.leave(0.01, good=True)
    assert throttle.limit == 8
