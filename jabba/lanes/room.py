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
        while not self.take_now(slices, size):
            self._freed.clear()
            await self._freed.wait()

    def take_now(self, slices: int, size: int) -> bool:
        """Take them in if they fit; answer whether they did."""
        fits = self._used_slices + slices <= self._slices and self._used_bytes + size <= self._bytes
        if self._used_slices and not fits:
            return False
        self.take_anyway(slices, size)
        return True

    def take_anyway(self, slices: int, size: int) -> None:
        """Take them in even over budget; the next to wait will wait for longer."""
        self._used_slices += slices
        self._used_bytes += size

    @property
    def free(self) -> bool:
        """Answer whether there is room for at least one slice."""
        return self._used_slices < self._slices and self._used_bytes < self._bytes

    def give_back(self, slices: int, size: int) -> None:
        """Free what was taken."""
        self._used_slices -= slices
        self._used_bytes -= size
        self._freed.set()
