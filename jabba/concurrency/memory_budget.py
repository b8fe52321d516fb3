"""How many things, and how many bytes of them, are kept in memory at a time."""

import asyncio


class MemoryBudget:
    """A budget: what comes next waits until it fits; what is larger than the whole budget waits until it is alone."""

    def __init__(self, count: int, size: int) -> None:
        self._count = count
        self._bytes = size
        self._used_count = 0
        self._used_bytes = 0
        self._freed = asyncio.Event()

    async def acquire(self, count: int, size: int) -> None:
        """Wait until so many things of so many bytes fit, and take them in."""
        while not self.take_now(count, size):
            self._freed.clear()
            await self._freed.wait()

    def take_now(self, count: int, size: int) -> bool:
        """Take them in if they fit; return whether they did."""
        fits = self._used_count + count <= self._count and self._used_bytes + size <= self._bytes
        if self._used_count and not fits:
            return False
        self.acquire_anyway(count, size)
        return True

    def acquire_anyway(self, count: int, size: int) -> None:
        """Take them in even over budget; the next to wait will wait for longer."""
        self._used_count += count
        self._used_bytes += size

    @property
    def free(self) -> bool:
        """Return whether there is room for at least one more."""
        return self._used_count < self._count and self._used_bytes < self._bytes

    def release(self, count: int, size: int) -> None:
        """Free what was taken."""
        self._used_count -= count
        self._used_bytes -= size
        self._freed.set()
