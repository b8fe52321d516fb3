"""Many at a time, and the results in the order of what they are of."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable
from typing import Generic, TypeVar

from jabba.concurrency.memory_budget import MemoryBudget

Item = TypeVar("Item")
Result = TypeVar("Result")

_BEGUN_AT_ONCE = 16
"""So much work is begun before others get their turn."""


async def map_ordered(
    items: AsyncIterable[Item],
    work: Callable[[Item], Awaitable[Result]],
    *,
    room: MemoryBudget,
    size: Callable[[Item], int],
) -> AsyncGenerator[list[Result]]:
    """Work on items as they come, on as many at a time as there is room for; return the results in their order.

    Each list is all that is ready, at least one result. Its room is given back when the next list is asked for: who
    takes results slowly is read for slowly. What goes wrong with the items or the work is raised in its turn, after
    the results before it. Who stops early has no more items read, and what is under way is brought to its end.
    """
    flow = _Flow(work, room, size)
    reading = asyncio.create_task(flow.read(items))
    try:
        while await flow.has_more(reading):
            results, taken = await flow.take_ready()
            yield results
            room.release(len(results), taken)
    finally:
        reading.cancel()
        await asyncio.gather(reading, *flow.under_way, return_exceptions=True)


class _Flow(Generic[Item, Result]):
    """What is under way, the oldest first."""

    def __init__(
        self, work: Callable[[Item], Awaitable[Result]], room: MemoryBudget, size: Callable[[Item], int]
    ) -> None:
        self.under_way: deque[asyncio.Future[Result]] = deque()
        self._sizes: deque[int] = deque()
        self._work = work
        self._room = room
        self._size = size
        self._begun = asyncio.Event()

    async def read(self, items: AsyncIterable[Item]) -> None:
        """Begin the work on every item once there is room for it."""
        number = 0
        async for item in items:
            size = self._size(item)
            await self._room.acquire(1, size)
            self.under_way.append(asyncio.ensure_future(self._work(item)))
            self._sizes.append(size)
            self._begun.set()
            number += 1
            if number % _BEGUN_AT_ONCE == 0:
                await asyncio.sleep(0)

    async def has_more(self, reading: "asyncio.Task[None]") -> bool:
        """Wait until something is under way, or nothing will be; what went wrong with the items is raised."""
        while not self.under_way:
            self._begun.clear()
            begun = asyncio.ensure_future(self._begun.wait())
            await asyncio.wait({begun, reading}, return_when=asyncio.FIRST_COMPLETED)
            begun.cancel()
            if reading.done() and not self.under_way:
                reading.result()
                return False
        return True

    async def take_ready(self) -> tuple[list[Result], int]:
        """Wait for the oldest result; return it and those behind it that are ready, and how large their items are."""
        await asyncio.wait({self.under_way[0]})
        results = [self.under_way.popleft().result()]
        size = self._sizes.popleft()
        while self.under_way and _succeeded(self.under_way[0]):
            results.append(self.under_way.popleft().result())
            size += self._sizes.popleft()
        return results, size


def _succeeded(one: "asyncio.Future[Result]") -> bool:
    return one.done() and not one.cancelled() and one.exception() is None
