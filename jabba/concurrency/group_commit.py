"""Group commit: what arrives while a write is under way shares the next one."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from jabba.concurrency.cancellation import cancel_and_wait
from jabba.errors import MessageTooLarge

MAX_GROUP_BYTES = 512 * 1024

Write = Callable[[int, list[bytes]], Awaitable[int]]
"""Writes the items as one message to a partition, and answers its offset once it is acknowledged."""


@dataclass(slots=True)
class _Queue:
    waiting: list[tuple[bytes, asyncio.Future[int]]] = field(default_factory=list)
    writer: asyncio.Task[None] | None = None


class GroupCommit:
    """Gathers items per partition: an idle partition is written to at once, a busy one takes the next group whole.

    Items of a partition are written in the order in which they were added, one group at a time. Cancelling an item's
    future withdraws it, as long as its write is not under way. A group that is too large is written in two.
    """

    def __init__(self, write: Write, *, max_bytes: int = MAX_GROUP_BYTES) -> None:
        self._write = write
        self._max_bytes = max_bytes
        self._queues: dict[int, _Queue] = {}

    @property
    def waiting(self) -> int:
        """Return how many items wait for a write to begin."""
        return sum(len(queue.waiting) for queue in self._queues.values())

    def add(self, partition: int, item: bytes) -> asyncio.Future[int]:
        """Queue an item; the future answers the offset of the message that carries it, or why it failed."""
        queue = self._queues.setdefault(partition, _Queue())
        acknowledged = asyncio.get_running_loop().create_future()
        queue.waiting.append((item, acknowledged))
        if queue.writer is None:
            queue.writer = asyncio.create_task(self._drain(partition, queue))
        return acknowledged

    async def close(self) -> None:
        """Give up all that is still waiting, without an answer to anyone."""
        writers = [queue.writer for queue in self._queues.values() if queue.writer is not None]
        await cancel_and_wait(writers)

    async def _drain(self, partition: int, queue: _Queue) -> None:
        try:
            while queue.waiting:
                if group := self._take_group(queue):
                    await self._write_group(partition, group)
        finally:
            queue.writer = None
            for _, acknowledged in queue.waiting:
                acknowledged.cancel()
            queue.waiting.clear()

    def _take_group(self, queue: _Queue) -> list[tuple[bytes, asyncio.Future[int]]]:
        group: list[tuple[bytes, asyncio.Future[int]]] = []
        size = taken = 0
        for item, acknowledged in queue.waiting:
            # Whoever gave up has been told so; writing the item all the same would pile an outage's work up.
            if not acknowledged.done():
                size += len(item) + 1
                if group and size > self._max_bytes:
                    break
                group.append((item, acknowledged))
            taken += 1
        del queue.waiting[:taken]
        return group

    async def _write_group(self, partition: int, group: list[tuple[bytes, asyncio.Future[int]]]) -> None:
        try:
            offset = await self._write(partition, [item for item, _ in group])
        except MessageTooLarge as error:
            if (half := len(group) // 2) == 0:
                _fail(group, error)
                return
            await self._write_group(partition, group[:half])
            await self._write_group(partition, group[half:])
        except Exception as error:  # noqa: BLE001 — whatever went wrong belongs to those who wait
            _fail(group, error)
        except asyncio.CancelledError:
            for waiting in _unanswered(group):
                waiting.cancel()
            raise
        else:
            for waiting in _unanswered(group):
                waiting.set_result(offset)


def _fail(group: list[tuple[bytes, asyncio.Future[int]]], error: Exception) -> None:
    for waiting in _unanswered(group):
        waiting.set_exception(error)


def _unanswered(group: list[tuple[bytes, asyncio.Future[int]]]) -> list[asyncio.Future[int]]:
    return [acknowledged for _, acknowledged in group if not acknowledged.done()]
