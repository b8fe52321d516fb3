"""How many slices, and how many bytes of them, a worker keeps in memory."""

import asyncio


class Room:
    """A budget: the next message waits until it fits; one larger than the whole budget waits until it is alone."""

    def __init__(self, slices: int, size: int) -> None:
        self._slices = slices
        self._bytes = size
        self._used_slices = 0
        self._used_bytes = 0
        self._freed = asyncio.Event()

    async def take(self, slices: int, size: int) -> None:
        """Wait until so many slices of so many bytes fit, and take them in."""
        while not self._fits(slices, size):
            self._freed.clear()
            await self._freed.wait()
        self._used_slices += slices
        self._used_bytes += size

    def give_back(self, slices: int, size: int) -> None:
        """Free what was taken."""
        self._used_slices -= slices
        self._used_bytes -= size
        self._freed.set()

    def _fits(self, slices: int, size: int) -> bool:
        if self._used_slices == 0:
            return True
        return self._used_slices + slices <= self._slices and self._used_bytes + size <= self._bytes
