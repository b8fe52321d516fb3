"""The gate that every step of a partition passes: it bounds what runs at a time, and closes for a hand-over."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

from jabba.errors import JabbaError

_LEASE_POLL_SECONDS = 0.1

NEVER = float("-inf")
"""A moment that is over at any time."""


class PartitionLost(JabbaError):
    """The partition was lost while one of its steps was to start, or a record of it to be written."""


class Gate:
    """Open: steps start. Held: no more start, running ones are recorded. Closed: nothing is recorded either.

    ``slots`` bounds the steps of all gates that branch off this one: a worker has one for each of its partitions.
    ``lease`` answers whether the consumer group still counts this worker as alive: one whose session may have expired
    records nothing, because another may own its partitions already. ``waiting`` counts the steps that wait for a slot.
    """

    def __init__(self, slots: asyncio.Semaphore, lease: Callable[[], bool] = lambda: True) -> None:
        self._slots = slots
        self._lease = lease
        self._open = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable_until = NEVER
        self._retired = False
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._running = self._settling = 0
        self.waiting = 0

    def branch(self) -> "Gate":
        """Make a gate of its own for a partition, closed as yet."""
        return Gate(self._slots, self._lease)

    @property
    def running(self) -> int:
        """Return how many steps are between their start and their record."""
        return self._running

    @property
    def writable(self) -> bool:
        """Return whether records and events may be sent now."""
        if self._retired:
            return False
        if self._writable.is_set():
            return self._lease()
        return asyncio.get_running_loop().time() < self._writable_until

    def open(self) -> None:
        """Let steps start."""
        self._writable_until = NEVER
        self._writable.set()
        self._open.set()

    def hold(self) -> None:
        """Start no more steps."""
        if not self._retired:
            self._open.clear()

    def close(self, *, until: float = NEVER) -> None:
        """Let nothing be recorded any more, or only until then, by the event loop's time and whatever the lease says.

        That is for running steps of a partition whose next owner knows that it has to wait for so long.
        """
        if not self._retired:
            self._open.clear()
            self._writable.clear()
            self._writable_until = until

    @property
    def is_quiet(self) -> bool:
        """Return whether nothing has started that is not recorded, and no lane is about to end."""
        return self._quiet.is_set()

    def retire(self) -> None:
        """Refuse everything from now on, for good: the partition has gone to another owner."""
        self._retired = True
        # Whoever waits is told: what it waits for never comes.
        self._open.set()
        self._writable.set()

    async def quiet(self, seconds: float) -> int:
        """Give running steps so long to be recorded, and ending lanes to end; return how many steps are not."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not self.is_quiet:
                    await self._quiet.wait()
        return self._running

    @contextmanager
    def settling(self) -> Iterator[None]:
        """Be waited for while a lane ends: without its last record, its slice would be read again."""
        self._count(settling=1)
        try:
            yield
        finally:
            self._count(settling=-1)

    @asynccontextmanager
    async def step(self) -> AsyncIterator[None]:
        """Hold a slot from the start of a step until it is recorded. Nobody holds one while waiting at the gate."""
        await self.enter()
        try:
            yield
        finally:
            self.leave()

    async def enter(self) -> None:
        """Wait for the gate and a slot; PartitionLost, as for all that waits here."""
        while True:
            await self._until_open()
            self.waiting += 1
            try:
                await self._slots.acquire()
            finally:
                self.waiting -= 1
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
            await self._until_open()
        finally:
            self._count(1)

    async def may_write(self) -> None:
        """Wait until records may be written.

        Raises:
            PartitionLost: the partition has been lost.
        """
        while not self.writable:
            await self._allowed(self._writable)

    def _is_open(self) -> bool:
        return self._open.is_set() and self._lease() and not self._retired

    def _count(self, running: int = 0, *, settling: int = 0) -> None:
        self._running += running
        self._settling += settling
        if self._running or self._settling:
            self._quiet.clear()
        else:
            self._quiet.set()

    async def _until_open(self) -> None:
        while not self._is_open():
            await self._allowed(self._open)

    async def _allowed(self, event: asyncio.Event) -> None:
        await event.wait()
        if self._retired:
            raise PartitionLost
        if not self._lease():
            await asyncio.sleep(_LEASE_POLL_SECONDS)
