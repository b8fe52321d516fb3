"""Sends events in groups: at once when their partition is idle, otherwise with whatever gathered meanwhile."""

import asyncio
from collections.abc import Awaitable, Callable
from uuid import UUID

from jabba.concurrency.group_commit import GroupCommit
from jabba.messages.events import encode_events
from jabba.messages.topics import partition_of

Append = Callable[[int, bytes], Awaitable[int]]
"""Appends a message to a partition of the events topic and answers its offset, however long that takes."""


class Emitter:
    """The events topic, partitioned by job, so that the facts of one job stay in order.

    ``sent`` and ``acknowledged`` count events.
    """

    def __init__(self, append: Append, partitions: int) -> None:
        self._append = append
        self._partitions = partitions
        self._groups = GroupCommit(self._write)
        self.sent = 0
        self.acknowledged = 0

    @property
    def waiting(self) -> int:
        """Return how many events wait to be sent."""
        return self._groups.waiting

    def send(self, job: UUID, event: bytes) -> asyncio.Future[int]:
        """Send an encoded event; the future ends once it is acknowledged."""
        self.sent += 1
        return self._groups.add(partition_of(str(job), self._partitions), event)

    async def close(self) -> None:
        """Give up what is not acknowledged: records still carry it, and their next owner sends it again."""
        await self._groups.close()

    async def _write(self, partition: int, events: list[bytes]) -> int:
        offset = await self._append(partition, encode_events(events))
        self.acknowledged += len(events)
        return offset
