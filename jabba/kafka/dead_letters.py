"""Dead letters: messages that no reader understood, kept with their reason and origin so that nothing is lost.

Written, read, and their messages sent again.
"""

import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.structs import ConsumerRecord

from jabba.errors import MessageTooLarge, NotFound, NotReady
from jabba.jobs import json_codec
from jabba.kafka.admin import COMMAND, partition_counts
from jabba.kafka.security import KafkaAccess
from jabba.kafka.writer import Log
from jabba.messages.positions import read_position
from jabba.messages.topics import Topics

KEPT_BYTES = 5 * 512 * 1024
"""More of a message is not kept, since its letter is a third larger; the origin says where the whole one stands."""

UNKNOWN_OFFSET = -1
"""The offset of a letter about a slice that has left its message."""

_REASON_CHARACTERS = 2000

_POLL_MILLISECONDS = 200
_MAX_FETCH_BYTES = 8 * 1024 * 1024


async def put_aside(append: Callable[[bytes], Awaitable[int]], letter: Callable[..., bytes]) -> None:
    """Append a letter, ``partial(dead_letter, …)``, with less of its message where Kafka does not take that much."""
    kept = KEPT_BYTES
    while True:
        try:
            await append(letter(kept=kept))
        except MessageTooLarge:
            if not kept:
                raise
            kept //= 8
        else:
            return


def dead_letter(
    topic: str, partition: int, offset: int, value: bytes | None, reason: str, *, kept: int = KEPT_BYTES
) -> bytes:
    """Return the message for the dead letters topic: where the faulty one stood, why it is here, and its bytes.

    ``size`` is the number of its bytes, ``value`` the first ones in base64: all but of the very largest messages.
    """
    letter = {
        "v": 1,
        "reason": json_codec.storable(reason[:_REASON_CHARACTERS]),
        "topic": topic,
        "partition": partition,
        "offset": offset,
        "size": None if value is None else len(value),
        "value": None if value is None else base64.b64encode(value[:kept]).decode(),
    }
    return json_codec.encode(letter)


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter: its own place, when it was written (milliseconds since the epoch), and what it says.

    ``value`` holds the first bytes of the faulty message, ``size`` says how many it had.
    """

    place: str
    at: int
    reason: str
    topic: str
    partition: int
    offset: int
    size: int
    value: bytes

    @classmethod
    def read(cls, record: ConsumerRecord) -> Self:
        """Read a message of the topic."""
        found = json_codec.decode(record.value)
        value = base64.b64decode(found["value"] or "")
        origin = found["topic"], found["partition"], found["offset"]
        size = found["size"] if found["size"] is not None else 0
        return cls(f"{record.partition}:{record.offset}", record.timestamp, found["reason"], *origin, size, value)

    def as_json(self) -> dict[str, Any]:
        """Return all of it, for programs; the value as base64."""
        origin = {"topic": self.topic, "partition": self.partition, "offset": self.offset}
        head = {"place": self.place, "at": self.at, "reason": self.reason, "origin": origin, "size": self.size}
        return head | {"value": base64.b64encode(self.value).decode()}


class DeadLetters:
    """The letters of an installation; ``async with DeadLetters(access, topics) as letters``.

    Raises:
        NotReady: the topic is missing.
        Unavailable: Kafka does not answer.
    """

    def __init__(self, access: KafkaAccess, topics: Topics, *, produce_seconds: float = 10.0) -> None:
        self._access = access
        self._topic = topics.dead_letters
        self._produce_seconds = produce_seconds
        self._log = Log(access, client_id=f"{topics.prefix}-letters")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._log.stop()

    async def all(self) -> AsyncIterator[Letter]:
        """Return every letter that the topic still holds, partition by partition."""
        for partition in range(await self._partitions()):
            async for record in self._records(TopicPartition(self._topic, partition), 0, None):
                yield Letter.read(record)

    async def get(self, place: str) -> Letter:
        """Return the letter at a place, ``partition:offset``.

        Raises:
            InvalidRequest: that is no place.
            NotFound: there is no letter.
        """
        return Letter.read(await self._record(self._topic, place))

    async def retry(self, place: str) -> int:
        """Append the faulty message to its topic again, and return its new offset.

        Useful once what could not be read can be: a newer version runs, or an outage is over.

        Raises:
            NotFound: there is no letter, or its message was too large to be kept and has left its topic.
        """
        letter = await self.get(place)
        value = letter.value
        if len(value) < letter.size:
            if letter.offset == UNKNOWN_OFFSET:
                raise NotFound(f"the message of letter {place} was not kept whole")
            value = (await self._record(letter.topic, f"{letter.partition}:{letter.offset}")).value
        return await self._log.append(letter.topic, letter.partition, value, within=self._produce_seconds)

    async def _partitions(self) -> int:
        # Not the log's: its producer would need a right to write.
        try:
            known = await partition_counts(self._access)
        except (KafkaError, OSError) as error:
            raise await self._access.unavailable(error) from error
        if self._topic not in known:
            raise NotReady(f"the topic {self._topic} is missing; run `{COMMAND}`")
        return known[self._topic]

    async def _record(self, topic: str, place: str) -> ConsumerRecord:
        ((partition, offset),) = read_position(place, "place").items()
        async for record in self._records(TopicPartition(topic, partition), offset, offset + 1):
            if record.offset == offset:
                return record
        raise NotFound(f"{topic} has no message at {place}")

    async def _records(self, place: TopicPartition, start: int, stop: int | None) -> AsyncIterator[ConsumerRecord]:
        async with self._consumer() as consumer:
            consumer.assign([place])
            end = (await consumer.end_offsets([place]))[place]
            end = end if stop is None else min(end, stop)
            consumer.seek(place, max(start, (await consumer.beginning_offsets([place]))[place]))
            while await consumer.position(place) < end:
                for records in (await consumer.getmany(timeout_ms=_POLL_MILLISECONDS)).values():
                    for record in records:
                        yield record

    @asynccontextmanager
    async def _consumer(self) -> AsyncIterator[AIOKafkaConsumer]:
        consumer = AIOKafkaConsumer(
            **self._access.client_options(),
            enable_auto_commit=False,
            max_partition_fetch_bytes=_MAX_FETCH_BYTES,
        )
        try:
            await consumer.start()
            yield consumer
        except (KafkaError, OSError) as error:
            raise await self._access.unavailable(error) from error
        finally:
            await consumer.stop()
