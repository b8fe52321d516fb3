"""Reading a topic without a consumer group: from any place, beside everyone else."""

import asyncio
import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from jabba.errors import Unavailable
from jabba.kafka.security import KafkaAccess

_FETCH_WAIT_MILLISECONDS = 50
"""aiokafka asks a broker once at a time: while it waits for more of one partition, the others' news wait too."""

_STOP_SECONDS = 3.0


class LogMessage(NamedTuple):
    """A message, and where it stands; ``at`` is its time in milliseconds since the epoch."""

    partition: int
    offset: int
    value: bytes
    at: int = 0


class LogReader:
    """Reads one topic; ``async with LogReader(access, topic) as reader``.

    Where it is told to go it reads everything once, each partition in order. Commits nothing, belongs to no group. All
    offsets are answered by partition. Every method raises ``Unavailable`` when Kafka does not answer.

    Args:
        access: how to connect to Kafka.
        topic: must exist.
        client_id: how the broker's logs name this reader.
        fetch_bytes: how much of a partition is fetched ahead.
    """

    def __init__(
        self, access: KafkaAccess, topic: str, *, client_id: str = "jabba", fetch_bytes: int = 1024 * 1024
    ) -> None:
        self._topic = topic
        self._consumer = AIOKafkaConsumer(
            topic,
            **access.client_options(),
            client_id=client_id,
            group_id=None,
            enable_auto_commit=False,
            # Where nothing is any more, or the log began anew: what there is.
            auto_offset_reset="earliest",
            fetch_max_wait_ms=_FETCH_WAIT_MILLISECONDS,
            max_partition_fetch_bytes=fetch_bytes,
        )

    async def __aenter__(self) -> Self:
        try:
            with _told_as_unavailable():
                await self._consumer.start()
        except BaseException:
            await self._stop()
            raise
        self._consumer.pause(*self._consumer.assignment())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stop()

    @property
    def partitions(self) -> list[int]:
        """The partitions of the topic, in order."""
        return sorted(place.partition for place in self._consumer.assignment())

    async def beginnings(self) -> dict[int, int]:
        """Return the offset of the oldest message that is kept."""
        with _told_as_unavailable():
            return self._by_partition(await self._consumer.beginning_offsets(self._places(self.partitions)))

    async def ends(self) -> dict[int, int]:
        """Return the offset that the next message will get."""
        with _told_as_unavailable():
            return self._by_partition(await self._consumer.end_offsets(self._places(self.partitions)))

    async def since(self, seconds: float, partitions: Iterable[int]) -> dict[int, int]:
        """Return the offset of the first message that is not older than a moment, or of the next one to come."""
        moments = dict.fromkeys(self._places(partitions), max(0, int(seconds * 1000)))
        ends = await self.ends()
        with _told_as_unavailable():
            found = await self._consumer.offsets_for_times(moments)
        return {place.partition: at.offset if at else ends[place.partition] for place, at in found.items()}

    async def reached(self) -> dict[int, int]:
        """Return the offset behind what was read, of the partitions that are read."""
        reading = self._consumer.assignment() - self._consumer.paused()
        with _told_as_unavailable():
            return self._by_partition({place: await self._consumer.position(place) for place in reading})

    def go_to(self, offsets: Mapping[int, int]) -> None:
        """Read these partitions from these offsets on, and no others."""
        wanted = {TopicPartition(self._topic, partition): offset for partition, offset in offsets.items()}
        self._consumer.pause(*self._consumer.assignment())
        for place, offset in wanted.items():
            self._consumer.seek(place, offset)
        self._consumer.resume(*wanted)

    async def read(self, within: float = 0.2) -> list[LogMessage]:
        """Return what comes next, after ``within`` seconds at the latest; that may be nothing."""
        with _told_as_unavailable():
            fetched = await self._consumer.getmany(timeout_ms=int(within * 1000))
        return [
            LogMessage(record.partition, record.offset, record.value or b"", record.timestamp)
            for records in fetched.values()
            for record in records
        ]

    def _places(self, partitions: Iterable[int]) -> list[TopicPartition]:
        return [TopicPartition(self._topic, partition) for partition in partitions]

    @staticmethod
    def _by_partition(offsets: Mapping[TopicPartition, int]) -> dict[int, int]:
        return {place.partition: offset for place, offset in offsets.items()}

    async def _stop(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._consumer.stop(), _STOP_SECONDS)


@contextlib.contextmanager
def _told_as_unavailable() -> Iterator[None]:
    try:
        yield
    except (KafkaError, OSError) as error:
        raise Unavailable(f"Kafka does not answer: {error!r}") from error
