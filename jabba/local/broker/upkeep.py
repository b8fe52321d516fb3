"""What the broker does beside answering: it forces writes to the disk, expires, and compacts."""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Iterable
from contextlib import ExitStack
from typing import Protocol

from jabba.clock import Clock
from jabba.local.broker import compaction
from jabba.local.broker.topics import Topics

logger = logging.getLogger(__name__)

_force = getattr(os, "fdatasync", os.fsync)  # macOS has the latter only


class Store(Protocol):
    """Something that writes files."""

    def unsynced(self) -> list[int]:
        """Return descriptors of the files written to since the last call, the caller's to sync and to close."""
        ...


async def repeat(what: Callable[[], Awaitable[None]], seconds: float) -> None:
    """Do something again and again, so many seconds after the last time, until cancelled; errors are logged."""
    while True:
        try:
            await what()
        except Exception:
            logger.exception("the broker goes on without this")
        await asyncio.sleep(seconds)


async def flush(stores: Iterable[Store]) -> None:
    """Force what was written since the last time to the disk, in a thread: only a power failure could lose it."""
    descriptors = [descriptor for store in stores for descriptor in store.unsynced()]
    if descriptors:
        await asyncio.to_thread(_sync, descriptors)


async def tidy(topics: Topics, clock: Clock) -> None:
    """Delete what is too old, and compact what has grown."""
    for log in list(topics.logs()):
        log.roll_if_old()
        log.forget_idle_producers()
        if not log.config.compacted:
            log.delete_expired()
        elif compaction.is_due(log):
            await compaction.compact(log, int(clock.now() * 1000))


def _sync(descriptors: list[int]) -> None:
    with ExitStack() as closing:
        for descriptor in descriptors:
            closing.callback(os.close, descriptor)
        for descriptor in descriptors:
            _force(descriptor)
