"""How many messages wait in the log for their readers, and since when."""

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Self

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from jabba.clock import Clock
from jabba.errors import Unavailable
from jabba.kafka.reader import LogReader
from jabba.kafka.security import KafkaAccess

_LOOKED_AT = 16
"""Of so many partitions, those with most to read, the first message that waits is looked at."""

_LOOK_SECONDS = 1.0
_FETCH_BYTES = 1024


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits for a reader: how many messages, by partition, and for how many seconds already.

    ``seconds`` is null when that could not be seen in time, and 0 when nothing waits.
    """

    messages: int
    seconds: float | None
    partitions: dict[int, int]


class Backlog:
    """``async with Backlog(access, clock) as backlog``; connects when it is asked, and stays connected.

    One question at a time. Every method raises ``Unavailable`` when Kafka does not answer.
    """

    def __init__(self, access: KafkaAccess, clock: Clock, *, client_id: str = "jabba-backlog") -> None:
        self._access = access
        self._client_id = client_id
        self._clock = clock
        self._open = AsyncExitStack()
        self._readers: dict[str, LogReader] = {}
        self._admin: AIOKafkaAdminClient | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._readers.clear()
        await self._open.aclose()
        await self._disconnect()

    async def waiting(self, topic: str, reached: Mapping[int, int]) -> Waiting:
        """Return what waits for a reader that goes on at these offsets, by partition."""
        reader = await self._reader(topic)
        beginnings, ends = await reader.beginnings(), await reader.ends()
        starts = {partition: max(reached.get(partition, 0), beginnings[partition]) for partition in ends}
        messages = {partition: max(0, end - starts[partition]) for partition, end in ends.items()}
        behind = sorted((partition for partition in messages if messages[partition]), key=lambda p: -messages[p])
        seconds = await self._age(reader, {partition: starts[partition] for partition in behind[:_LOOKED_AT]})
        return Waiting(sum(messages.values()), seconds, messages)

    async def committed(self, group: str, topic: str) -> dict[int, int]:
        """Return the offsets that a consumer group goes on at, by partition."""
        places = [TopicPartition(topic, partition) for partition in (await self._reader(topic)).partitions]
        try:
            if self._admin is None:
                self._admin = await self._connected()
            found = await self._admin.list_consumer_group_offsets(group, partitions=places)
        except (KafkaError, OSError) as error:
            await self._disconnect()
            raise Unavailable(f"Kafka does not answer: {error!r}") from error
        return {place.partition: at.offset for place, at in found.items() if at.offset >= 0}

    async def kept(self, topic: str) -> int:
        """Return how many messages a topic holds."""
        reader = await self._reader(topic)
        return sum((await reader.ends()).values()) - sum((await reader.beginnings()).values())

    async def _reader(self, topic: str) -> LogReader:
        if topic not in self._readers:
            made = LogReader(self._access, topic, client_id=self._client_id, fetch_bytes=_FETCH_BYTES)
            self._readers[topic] = await self._open.enter_async_context(made)
        return self._readers[topic]

    async def _connected(self) -> AIOKafkaAdminClient:
        admin = AIOKafkaAdminClient(**self._access.client_options())
        try:
            await admin.start()
        except BaseException:
            await admin.close()
            raise
        return admin

    async def _disconnect(self) -> None:
        admin, self._admin = self._admin, None
        if admin is not None:
            await admin.close()

    async def _age(self, reader: LogReader, starts: Mapping[int, int]) -> float | None:
        """Return for how many seconds the oldest of the messages at these offsets has stood there."""
        if not starts:
            return 0.0
        reader.go_to(starts)
        first: dict[int, int] = {}
        try:
            async with asyncio.timeout(_LOOK_SECONDS):
                while len(first) < len(starts):
                    for message in await reader.read():
                        first.setdefault(message.partition, message.at)
        except TimeoutError:
            pass
        finally:
            reader.go_to({})
        return max(0.0, self._clock.now() - min(first.values()) / 1000) if first else None
