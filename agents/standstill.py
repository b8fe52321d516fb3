"""Whether a worker gets nothing done though it could: what its watchdog has to know."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple, Protocol

from jabba.errors import Unavailable
from jabba.kafka import KafkaAccess
from jabba.log_reader import LogReader

_ASK_SECONDS = 10.0
"""How often Kafka is asked where the log ends, at most; its answer is waited for as long."""


class Extent(NamedTuple):
    """What Kafka has of a topic: its first offsets, and those behind its last ones, by partition."""

    beginnings: dict[int, int]
    ends: dict[int, int]


class Work(Protocol):
    """What the engine says of itself."""

    @property
    def lanes(self) -> int: ...  # noqa: D102 — as its name says
    @property
    def ready(self) -> int: ...  # noqa: D102
    @property
    def running(self) -> int: ...  # noqa: D102
    @property
    def loading(self) -> bool: ...  # noqa: D102


class Standstill:
    """A judge, as long as somebody calls ``ask`` every ``ask_seconds``.

    A worker stands still when no step runs and work waits: a lane that nothing but this worker holds up, or, if it has
    no lane at all, a message that is not committed. While Kafka does not answer, does not acknowledge (``failing``), or
    while a changelog is loaded, it does not: a new process could do no more.

    Args:
        work: the engine.
        extent: asks Kafka for the extent of the tasks topic.
        failing: whether the last write was not acknowledged.
        seconds: after which a standstill ends the process.
    """

    def __init__(
        self, work: Work, extent: Callable[[], Awaitable[Extent]], failing: Callable[[], bool], seconds: float
    ) -> None:
        self._work = work
        self._extent = extent
        self._failing = failing
        self._known: Extent | None = None
        self.ask_seconds = min(_ASK_SECONDS, seconds / 4)

    async def ask(self) -> None:
        """Ask Kafka once."""
        try:
            async with asyncio.timeout(self.ask_seconds):
                self._known = await self._extent()
        except (Unavailable, TimeoutError):
            self._known = None

    def holds(self, committed: Mapping[int, int]) -> bool:
        """Answer whether the worker stands still that owns these partitions and has committed these offsets."""
        work, known = self._work, self._known
        if known is None or self._failing() or work.running or work.loading:
            return False
        if work.lanes:
            return work.ready > 0
        # What retention has taken can be committed by nobody.
        return any(
            end > max(committed[partition], known.beginnings.get(partition, 0))
            for partition, end in known.ends.items()
            if partition in committed
        )


async def extent_of(access: KafkaAccess, topic: str) -> Extent:
    """Ask Kafka, over a connection of its own: Faust's consumer may be what is stuck."""
    async with LogReader(access, topic) as reader:
        return Extent(await reader.beginnings(), await reader.ends())
