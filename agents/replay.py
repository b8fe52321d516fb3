"""Messages that were fetched and have never come to an agent: read again, before anything behind them is taken in."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import NamedTuple, Protocol

from jabba.engine.engine import Origin
from jabba.engine.offsets import Start
from jabba.errors import Unavailable
from jabba.kafka.reader import LogMessage, LogReader
from jabba.kafka.security import KafkaAccess
from jabba.messages.topics import EMPTY_MESSAGE

logger = logging.getLogger(__name__)

_RETRY_SECONDS = 0.5
_MOST_AT_A_LOOK = 100

Reread = Callable[[int, range], AsyncIterator[LogMessage]]
"""Reads a part of a partition once more; offsets that the log does not have are passed over."""


class Message(Protocol):
    """What an agent needs of a message; Faust's are such."""

    @property
    def topic(self) -> str: ...  # noqa: D102 — as its name says
    @property
    def partition(self) -> int: ...  # noqa: D102
    @property
    def offset(self) -> int: ...  # noqa: D102
    @property
    def generation_id(self) -> int: ...  # noqa: D102
    @property
    def value(self) -> bytes | None: ...  # noqa: D102
    @property
    def timestamp(self) -> float | None: ...  # noqa: D102


class Found(NamedTuple):
    """A message that was read again."""

    topic: str
    partition: int
    offset: int
    generation_id: int
    value: bytes
    timestamp: float


class Intake:
    """Hands the messages of one topic to ``take_in``, none before those that stand in front of it in its partition.

    Between the broker and the agents are a fetcher, a thread and buffers that are emptied in rebalances. What is lost
    there would be committed over. ``missing`` answers which offsets have not come before a message, and waits until
    that is known. A message may be handed over twice. ``reached`` answers how far each partition has come.
    """

    def __init__(
        self,
        topic: str,
        take_in: Callable[[Message], Awaitable[None]],
        missing: Callable[[Origin], Awaitable[range]],
        reread: Reread,
        reached: Callable[[], Mapping[int, Start]] = dict,
    ) -> None:
        self.topic = topic
        self.reached = reached
        self._take_in = take_in
        self._missing = missing
        self._reread = reread
        self._seen: dict[int, tuple[int, int]] = {}

    async def take(self, message: Message) -> None:
        """Take a message in, after those before it that never came."""
        origin = origin_of(message)
        if missing := await self._missing(origin):
            await self._fill(origin, missing)
        await self._take_in(message)

    async def look(self, generation: int, ends: Mapping[int, int]) -> None:
        """Take in what the log has behind a message after which none has come since the last look.

        ``ends`` are those of the log, by partition; behind the last message of all no other would tell of a gap.
        """
        seen, self._seen = self._seen, {}
        for partition, end in ends.items():
            origin = Origin(partition, end, generation, 0)
            missing = await self._missing(origin)
            self._seen[partition] = (generation, missing.start)
            if missing and seen.get(partition) == (generation, missing.start):
                await self._fill(origin, missing[:_MOST_AT_A_LOOK])

    async def _fill(self, origin: Origin, missing: range) -> None:
        partition = origin.partition
        place = {"topic": self.topic, "partition": partition, "offset": missing.start, "messages": len(missing)}
        logger.warning("messages were not delivered, reading them again", extra=place)
        async for _, offset, value, at in self._reread(partition, missing):
            await self._take_in(Found(self.topic, partition, offset, origin.generation, value, at / 1000))


def origin_of(message: Message) -> Origin:
    """Return where a message comes from, as the engine wants to know it."""
    at = round((message.timestamp or 0) * 1000)
    return Origin(message.partition, message.offset, message.generation_id or 0, len(message.value or b""), at)


async def reread(access: KafkaAccess, topic: str, partition: int, offsets: range) -> AsyncIterator[LogMessage]:
    """Read a part of a partition once more, as far as the log has it, however often Kafka has to be asked.

    If there is no message where it ends, an empty one stands for it, so that nobody looks for that again.
    """
    at, last = offsets.start, -1
    while True:
        try:
            async with LogReader(access, topic) as reader:
                beginning = (await reader.beginnings())[partition]
                if at < beginning:
                    lost = {"topic": topic, "partition": partition, "lost_from": at, "offset": beginning}
                    logger.error("messages were deleted before they were read", extra=lost)
                end = (await reader.ends())[partition]
                async for message in _messages(reader, partition, range(max(at, beginning), min(end, offsets.stop))):
                    yield message
                    last, at = message.offset, message.offset + 1
                if last < offsets.stop - 1 and offsets.stop <= end:
                    yield LogMessage(partition, offsets.stop - 1, EMPTY_MESSAGE)
                return
        except Unavailable as error:
            place = {"topic": topic, "partition": partition, "retry_in": _RETRY_SECONDS, "error": repr(error)}
            logger.warning("Kafka does not answer, reading again later", extra=place)
            await asyncio.sleep(_RETRY_SECONDS)


async def _messages(reader: LogReader, partition: int, offsets: range) -> AsyncIterator[LogMessage]:
    """Read to where the reader is behind these offsets: a transaction may have marked its end there, which is none."""
    if not offsets:
        return
    reader.go_to({partition: offsets.start})
    at = offsets.start
    while at < offsets.stop:
        for message in await reader.read():
            if message.offset in offsets:
                yield message
        at = (await reader.reached())[partition]
