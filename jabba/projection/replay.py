"""Reading what is kept of the log from its beginning, slices and events side by side."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from typing import Self

from jabba.errors import Unavailable
from jabba.kafka.reader import LogReader
from jabba.projection.decode import Message, Place
from jabba.projection.statements import Offsets
from jabba.settings import Settings


class Replay:
    """Reads both topics once, from the oldest message on; ``async with Replay(settings) as replay``.

    ``beginnings`` holds the offset of the oldest message of each partition, ``next`` that of the message that comes
    next, ``first_at`` the time of the oldest message, once it was read, in milliseconds.

    Raises:
        Unavailable: Kafka does not answer, or has deleted messages before they were read.
    """

    def __init__(self, settings: Settings) -> None:
        topics = (settings.topics.tasks, settings.topics.events)
        self._readers = {
            topic: LogReader(settings.kafka_access, topic, client_id=f"{settings.prefix}-replay") for topic in topics
        }
        self._open = AsyncExitStack()
        self.beginnings: Offsets = {}
        self.next: dict[tuple[str, int], int] = {}
        self.first_at: dict[tuple[str, int], int] = {}

    async def __aenter__(self) -> Self:
        try:
            for reader in self._readers.values():
                await self._open.enter_async_context(reader)
            self.beginnings = await self._offsets("beginnings")
        except BaseException:
            await self._open.aclose()
            raise
        self.next = dict(self.beginnings)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._open.aclose()

    async def ends(self) -> Offsets:
        """Return the offsets that the next messages will get."""
        return await self._offsets("ends")

    def passed(self) -> int:
        """Return how many messages were read."""
        return sum(offset - self.beginnings[place] for place, offset in self.next.items())

    def count(self, ends: Offsets) -> int:
        """Return how many messages there are before these offsets."""
        return sum(max(0, end - self.beginnings[place]) for place, end in ends.items())

    async def until(self, ends: Offsets) -> AsyncIterator[list[Message]]:
        """Return what was not read yet of the messages before these offsets, some at a time."""
        for topic, reader in self._readers.items():
            reader.go_to(self._open_places(topic, ends))
        while waiting := [topic for topic in self._readers if self._open_places(topic, ends)]:
            for topic in waiting:
                messages = await self._read(topic, ends)
                if messages:
                    yield messages

    async def _read(self, topic: str, ends: Offsets) -> list[Message]:
        """Read on in a topic, and note how far that has come."""
        reader, messages = self._readers[topic], []
        for one in await reader.read():
            place = (topic, one.partition)
            if one.offset < ends[place]:
                await self._pass(place, one.offset)
                self.first_at.setdefault(place, one.at)
                self.next[place] = one.offset + 1
                messages.append(Message(Place(topic, one.partition, one.offset), one.at, one.value))
        for partition, offset in (await reader.reached()).items():
            await self._pass((topic, partition), min(offset, ends[topic, partition]))
        return messages

    async def _pass(self, place: tuple[str, int], offset: int) -> None:
        """Pass over offsets without a message; there are some where Kafka has deleted, and behind transactions."""
        if offset > self.next[place]:
            topic, partition = place
            if (await self._readers[topic].beginnings())[partition] > self.next[place]:
                raise Unavailable(f"Kafka deleted messages of {topic}[{partition}] before they were read: begin again")
            self.next[place] = offset

    def _open_places(self, topic: str, ends: Offsets) -> Mapping[int, int]:
        """Return the partitions of a topic that have not been read to the end, and what comes next in them."""
        return {
            partition: offset
            for (of_topic, partition), offset in self.next.items()
            if of_topic == topic and offset < ends[of_topic, partition]
        }

    async def _offsets(self, which: str) -> Offsets:
        found = {topic: await getattr(reader, which)() for topic, reader in self._readers.items()}
        return {(topic, partition): offset for topic, by in found.items() for partition, offset in by.items()}
