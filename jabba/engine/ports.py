"""What the engine needs from the world."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol
from uuid import UUID

from jabba.engine.changelog import Store


class Table(Protocol):
    """The changelog table: one store for each partition that this worker owns."""

    async def take(self, partition: int, may_write: Callable[[], Awaitable[None]]) -> Store:
        """Load a partition and claim a new epoch for it, once ``may_write`` returns; tries until it succeeds.

        A former owner that still runs steps is waited for, as long as it may record them.
        """
        ...


class Events(Protocol):
    """The topic of facts."""

    def send(self, job: UUID, event: bytes) -> asyncio.Future[int]:
        """Send an encoded event; the future ends once it is acknowledged, however long that takes.

        It fails with MessageTooLarge if Kafka takes no event of its size.
        """
        ...


def is_acknowledged(sent: asyncio.Future[int]) -> bool:
    """Return whether an event that was sent stands in the log, as far as is known."""
    return sent.done() and not sent.cancelled() and sent.exception() is None
