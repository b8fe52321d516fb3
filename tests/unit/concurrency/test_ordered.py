import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing

import pytest

from jabba.concurrency.memory_budget import MemoryBudget
from jabba.concurrency.ordered import map_ordered


async def numbers(count: int) -> AsyncIterator[int]:
    for number in range(count):
        yield number


async def results(count: int, work: Callable[[int], Awaitable[int]], room: MemoryBudget) -> list[int]:
    got: list[int] = []
    await gather_into(got, numbers(count), work, room)
    return got


async def gather_into(
    got: list[int], items: AsyncIterator[int], work: Callable[[int], Awaitable[int]], room: MemoryBudget
) -> None:
    async for batch in map_ordered(items, work, room=room, size=lambda _: 10):
        got += batch


class Work:
    """Doubles numbers, the even ones later than the odd ones."""

    def __init__(self) -> None:
        self.running = self.most = self.begun = 0

    async def __call__(self, number: int) -> int:
        self.begun += 1
        self.running += 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(0.002 * (1 - number % 2))
        self.running -= 1
        return 2 * number


async def test_results_have_the_order_of_their_items() -> None:
    assert await results(100, Work(), MemoryBudget(10, 1000)) == [2 * number for number in range(100)]
    assert await results(0, Work(), MemoryBudget(10, 1000)) == []


@pytest.mark.parametrize("room", [MemoryBudget(7, 10_000), MemoryBudget(1000, 79)])
async def test_no_more_is_under_way_than_there_is_room_for(room: MemoryBudget) -> None:
    work = Work()
    await results(100, work, room)
    assert work.most == 7
    assert room.take_now(7, 0)
    assert room.free == (room._count == 1000)


async def test_an_item_larger_than_the_room_is_worked_on_alone() -> None:
    work = Work()
    await results(20, work, MemoryBudget(100, 5))
    assert work.most == 1


async def test_who_takes_slowly_is_read_for_slowly() -> None:
    work = Work()
    async with aclosing(map_ordered(numbers(1000), work, room=MemoryBudget(10, 1000), size=lambda _: 1)) as flow:
        await anext(flow)
        await asyncio.sleep(0.05)
        assert work.begun == 10


async def test_what_goes_wrong_is_raised_in_its_turn() -> None:
    async def fails_at_five(number: int) -> int:
        await asyncio.sleep(0)
        return 1 // (number - 5)

    got: list[int] = []
    with pytest.raises(ZeroDivisionError):
        await gather_into(got, numbers(100), fails_at_five, MemoryBudget(10, 1000))
    assert got == [-1] * 5

    async def broken() -> AsyncIterator[int]:
        yield 1
        yield 2
        raise ConnectionError

    got.clear()
    with pytest.raises(ConnectionError):
        await gather_into(got, broken(), Work(), MemoryBudget(10, 1000))
    assert got == [2, 4]


async def test_who_stops_early_lets_what_is_under_way_end() -> None:
    work = Work()
    async with aclosing(map_ordered(numbers(1000), work, room=MemoryBudget(10, 1000), size=lambda _: 1)) as flow:
        await anext(flow)
    assert (work.running, work.begun) == (0, 10)
