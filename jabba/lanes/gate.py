"""The gate that every step passes: it bounds what runs at a time, and closes while partitions change hands."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

_LEASE_POLL_SECONDS = 0.1


class Gate:
    """Open: steps start. Drained: no more start, running ones are recorded. Closed: nothing is recorded either.

    ``lease`` answers whether the consumer group still counts this worker as alive: one whose session may have expired
    records nothing, because another may own its partitions already.
    """

    def __init__(self, slots: int, lease: Callable[[], bool] = lambda: True) -> None:
        self._slots = asyncio.Semaphore(slots)
        self._lease = lease
        self._open = asyncio.Event()
        self._writable = asyncio.Event()
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._running = 0

    @property
    def running(self) -> int:
        """Answer how many steps are between their start and their record."""
        return self._running

    @property
    def writable(self) -> bool:
        """Answer whether records and events may be sent now."""
        return self._writable.is_set() and self._lease()

    def open(self) -> None:
        """Let steps start."""
        self._writable.set()
        self._open.set()

    async def drain(self, seconds: float) -> int:
        """Start no more steps, and give running ones so long to be recorded; answer how many did not.

        Without a lease nothing can be recorded, and nothing is waited for.
        """
        self._open.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._quiet.wait(), seconds if self._lease() else 0)
        return self._running

    def close(self) -> None:
        """Let nothing be recorded any more."""
        self._open.clear()
        self._writable.clear()

    @asynccontextmanager
    async def step(self) -> AsyncIterator[None]:
        """Hold a slot from the start of a step until it is recorded. Nobody holds one while waiting at the gate."""
        await self.enter()
        try:
            yield
        finally:
            self.leave()

    async def enter(self) -> None:
        """Wait for the gate and a slot."""
        while True:
            await self._until(self._open)
            await self._slots.acquire()
            if self._is_open():
                break
            self._slots.release()
        self._count(1)

    def leave(self) -> None:
        """Give the slot back."""
        self._slots.release()
        self._count(-1)

    async def may_start(self) -> None:
        """Wait, with a slot, until the step may start: one that another worker has recorded meanwhile must not.

        While it waits it does not count as running: a hand-over would wait for it, and it for the end of the hand-over.
        """
        if self._is_open():
            return
        self._count(-1)
        try:
            await self._until(self._open)
        finally:
            self._count(1)

    async def may_write(self) -> None:
        """Wait until records may be written."""
        await self._until(self._writable)

    def _is_open(self) -> bool:
        return self._open.is_set() and self._lease()

    def _count(self, change: int) -> None:
        self._running += change
        if self._running:
            self._quiet.clear()
        else:
            self._quiet.set()

    async def _until(self, allowed: asyncio.Event) -> None:
        while True:
            await allowed.wait()
            if self._lease():
                return
            await asyncio.sleep(_LEASE_POLL_SECONDS)
