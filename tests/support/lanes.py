"""What a lane needs from the world, in memory."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from uuid import UUID

from jabba.callbacks.registry import TaskContext
from jabba.callbacks.results import Answer, succeeded
from jabba.engine.changelog import Batch, Changelog, Store
from jabba.jobs.models import Callback

_BATCH = 3


class Log:
    """A changelog partition in memory."""

    def __init__(self) -> None:
        self.messages: list[tuple[bytes, bytes | None]] = []

    async def append(self, key: bytes, value: bytes | None) -> int:
        self.messages.append((key, value))
        return len(self.messages) - 1

    async def read(self, start: int) -> AsyncIterator[Batch]:
        messages = [(offset, key, value) for offset, (key, value) in enumerate(self.messages)]
        for at in range(start, len(messages), _BATCH):
            yield messages[at : at + _BATCH]

    async def follow(self, start: int, seconds: float) -> AsyncGenerator[Batch, None]:
        clock = asyncio.get_running_loop()
        until = clock.time() + seconds
        while clock.time() < until:
            async for batch in self.read(start):
                start += len(batch)
                yield batch
            await asyncio.sleep(0.01)

    async def taken(self, may_write: Callable[[], Awaitable[None]]) -> Store:
        """Load and claim the partition."""
        store = Store(Changelog(self.append, self.read, self.follow), may_write, lambda: 0.0, handover_seconds=0.05)
        await store.load()
        await store.predecessor()
        await store.claim()
        return store


class Runner:
    """Answers every callback at once, and counts them."""

    def __init__(self) -> None:
        self.calls = 0

    async def run(self, callback: Callback, context: TaskContext) -> Answer:
        self.calls += 1
        await asyncio.sleep(0.01)
        return succeeded({})


class Events:
    def send(self, job: UUID, event: bytes) -> asyncio.Future[int]:
        sent = asyncio.get_running_loop().create_future()
        sent.set_result(0)
        return sent


async def at_any_time() -> None:
    """Stand for ``Gate.may_write``: records may be written."""
