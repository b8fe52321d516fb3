"""The table of lanes: Faust's changelog and assignment, our own loading and writing.

Faust's in-memory tables replay the whole changelog at every rebalance, kept partitions included, at a few thousand
records a second. This one makes a store for each partition it owns, loads only those that are new, in bulk, and writes
with an acknowledged producer; Faust is told that there is nothing left to recover.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import faust
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from faust.types import TP, EventT

from jabba.engine.changelog import Batch, Changelog, Store
from jabba.errors import Unavailable
from jabba.kafka.writer import Log
from jabba.settings import Settings

logger = logging.getLogger(__name__)

_APPEND_SECONDS = 5.0
"""After this a write is tried again, unless the partition has been lost meanwhile."""

_READ_AT_A_TIME = 2
"""While one partition waits for the broker, another one is worked on."""

_FETCH_BYTES = 4 * 1024 * 1024
"""More would be in memory several times, as it came and as messages; less would be waited for more often."""

_BATCH = 10_000
"""Messages that are worked through, in some 40 ms, before anything else gets its turn."""

_POLL_MILLISECONDS = 500
_RETRY_SECONDS = 0.5


class LaneTable(faust.Table[Any, Any]):
    """Gives the stores of the partitions that this worker owns.

    ``records`` counts what was written, ``passed`` by partition what was read and written.
    """

    def __init__(
        self,
        app: faust.App,
        *,
        settings: Settings,
        partitions: int,
        log: Log,
        now: Callable[[], float],
        **options: Any,
    ) -> None:
        super().__init__(app, name=settings.topics.lanes_table, partitions=partitions, **options)
        self._access = settings.kafka_access
        self._handover_seconds = settings.handover_seconds
        self._topic = settings.topics.changelog
        self._log = log
        self._now = now
        self._ends: dict[TP, int] = {}
        self._reading = asyncio.Semaphore(_READ_AT_A_TIME)
        self.records = 0
        self.passed: dict[int, int] = {}

    async def take(self, partition: int, may_write: Callable[[], Awaitable[None]]) -> Store:
        """Load a partition and claim a new epoch for it, once ``may_write`` returns; tries until it succeeds."""
        while True:
            store = Store(self._changelog(partition), may_write, self._now, self._handover_seconds)
            try:
                # A few at a time: loaded all at once, the first would be ready no sooner than the last.
                async with self._reading:
                    await store.load()
                await store.predecessor()
                await store.claim()
            except (KafkaError, Unavailable, OSError) as error:
                failed = {"partition": partition, "retry_in": _RETRY_SECONDS, "error": repr(error)}
                logger.warning("changelog cannot be loaded, trying again", extra=failed)
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                return store

    def _changelog(self, partition: int) -> Changelog:
        return Changelog(
            partial(self._append, partition), partial(self._read, partition), partial(self._follow, partition)
        )

    async def _append(self, partition: int, key: bytes, value: bytes | None) -> int:
        offset = await self._log.append(self._topic, partition, value, key=key, within=_APPEND_SECONDS, once=True)
        self.records += 1
        self._pass(partition, 1)
        return offset

    def _pass(self, partition: int, messages: int) -> None:
        self.passed[partition] = self.passed.get(partition, 0) + messages

    async def _read(self, partition: int, start: int) -> AsyncIterator[Batch]:
        place = TopicPartition(self._topic, partition)
        async with self._reader(place, start) as consumer:
            end = (await consumer.end_offsets([place]))[place]
            while await consumer.position(place) < end:
                for batch in await _polled(consumer):
                    self._pass(partition, len(batch))
                    yield batch
                    # Neither Kafka's client nor what is done with a batch waits while there is more at hand.
                    await asyncio.sleep(0)

    async def _follow(self, partition: int, start: int, seconds: float) -> AsyncGenerator[Batch, None]:
        until = asyncio.get_running_loop().time() + seconds
        async with self._reader(TopicPartition(self._topic, partition), start) as consumer:
            while asyncio.get_running_loop().time() < until:
                for batch in await _polled(consumer):
                    self._pass(partition, len(batch))
                    yield batch

    @asynccontextmanager
    async def _reader(self, place: TopicPartition, start: int) -> AsyncIterator[AIOKafkaConsumer]:
        consumer = AIOKafkaConsumer(
            **self._access.client_options(),
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            max_partition_fetch_bytes=_FETCH_BYTES,
            max_poll_records=_BATCH,
        )
        await consumer.start()
        try:
            consumer.assign([place])
            consumer.seek(place, max(start, (await consumer.beginning_offsets([place]))[place]))
            yield consumer
        finally:
            # In a task of its own: it would swallow a cancellation of this one, and so the loss of the partition.
            await asyncio.shield(asyncio.create_task(consumer.stop()))

    # What Faust asks of a table.

    async def on_rebalance(
        self, assigned: set[TP], revoked: set[TP], newly_assigned: set[TP], generation_id: int = 0
    ) -> None:
        """Note where the changelog ends, since Faust goes there."""
        await super().on_rebalance(assigned, revoked, newly_assigned, generation_id)
        ours = {place for place in assigned if place.topic == self._topic}
        if ours:
            self._ends = dict(await self.app.consumer.highwaters(*ours))

    def persisted_offset(self, tp: TP) -> int | None:
        """Return the end of the changelog: what is before it is loaded by ``take``."""
        return self._ends.get(tp, 0) - 1

    def apply_changelog_batch(self, batch: Iterable[EventT[Any]]) -> None:
        """Ignore what Faust replays."""

    async def on_recovery_completed(self, active_tps: set[TP], standby_tps: set[TP]) -> None:
        """Do nothing: stores are complete once ``take`` has returned."""


async def _polled(consumer: AIOKafkaConsumer) -> list[Batch]:
    found = await consumer.getmany(timeout_ms=_POLL_MILLISECONDS)
    return [[(message.offset, message.key, message.value) for message in messages] for messages in found.values()]
