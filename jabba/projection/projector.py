"""The projector: follows the log and keeps PostgreSQL up to date with it."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from functools import partial
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError
from aiokafka.structs import ConsumerRecord
from mode import Service

from jabba.clock import SystemClock
from jabba.concurrency.cancellation import cancel_and_wait
from jabba.database import queries
from jabba.database.connection import Database
from jabba.errors import Unavailable
from jabba.kafka.dead_letters import dead_letter, put_aside
from jabba.kafka.writer import Log
from jabba.projection.decode import Fault, Intake, Message, Place, parts
from jabba.projection.incomplete_jobs import Closing
from jabba.projection.metrics import Figures, monitor_of
from jabba.projection.retention import Upkeep
from jabba.projection.statements import Offsets, WentBack, look_back
from jabba.projection.writer import Writer
from jabba.settings import Settings

logger = logging.getLogger(__name__)

_POLL_MILLISECONDS = 200
_FETCH_WAIT_MILLISECONDS = 100
"""aiokafka asks a broker once at a time: news of a partition that was not asked for waits that long at most."""

_FETCH_BYTES = 8 * 1024 * 1024
_STATEMENT_SECONDS = 60.0
_COMMIT_SECONDS = 1.0
_RESTART_SECONDS = 1.0
_STOP_SECONDS = 3.0
_NEVER = 2**31 - 1


class Projector(Service):
    """Writes slices and events to PostgreSQL, in transactions that also carry how far the log is written.

    Those offsets decide where to go on: a message is never counted twice, and an empty database is filled from the
    beginning of the log. The offsets committed to Kafka are for those who watch the lag. Several projectors share the
    partitions; while PostgreSQL is away they keep their partitions and wait. ``ready`` is set once it follows its own.
    """

    abstract = False

    def __init__(self, settings: Settings, **options: Any) -> None:
        super().__init__(**options)
        self._settings = settings
        self._topics = settings.topics
        self._database = Database(settings.database.get_secret_value(), size=2, statement_seconds=_STATEMENT_SECONDS)
        self._log = Log(settings.kafka_access, client_id=f"{settings.prefix}-projector")
        self._writer = Writer(self._database)
        self._open = contextlib.AsyncExitStack()
        self._running: asyncio.Task[None] | None = None
        self._duties: list[asyncio.Task[None]] = []
        self._following = Following()
        self._figures = Figures()
        self.ready = asyncio.Event()

    async def on_start(self) -> None:
        """Begin to follow the log."""
        await self._open.enter_async_context(monitor_of(self._settings, self._figures, self._unready))
        await self._open.enter_async_context(self._database)
        await self._open.enter_async_context(self._log)
        self._running = asyncio.create_task(self._run(), name="projector")
        self._running.add_done_callback(self._ended)
        closing = Closing(self._settings, self._database, self._log, SystemClock())
        upkeep = Upkeep(self._settings, SystemClock())
        for name, duty in (("closing", closing.run()), ("upkeep", upkeep.run())):
            self._duties.append(asyncio.create_task(duty, name=name))
            self._duties[-1].add_done_callback(self._ended)

    async def on_stop(self) -> None:
        """Let the current batch end, if it can, and leave the group."""
        await cancel_and_wait(self._duties)
        if self._running is not None:
            await asyncio.wait({self._running}, timeout=_STOP_SECONDS)
            await cancel_and_wait([self._running])
        await self._open.aclose()

    def _unready(self) -> str:
        """Return why it does not follow all of its partitions, empty while it does."""
        if self.should_stop:
            return "it ends"
        if not self._following.joined:
            return "it waits for its partitions"
        return "" if self._following.taken_over else "it waits for PostgreSQL, to know where its partitions go on"

    def _ended(self, running: "asyncio.Task[None]") -> None:
        if not running.cancelled() and (error := running.exception()) is not None:
            self.add_future(self.crash(error))

    async def _run(self) -> None:
        """Follow the log; with a new consumer, should this one break."""
        while not self.should_stop:
            try:
                async with self._consumer() as consumer:
                    await self._follow(consumer)
            except (KafkaError, OSError) as error:
                failed = {"retry_in": _RESTART_SECONDS, "error": repr(error)}
                logger.warning("connection to Kafka failed, connecting again", extra=failed)
                await self.sleep(_RESTART_SECONDS)

    @contextlib.asynccontextmanager
    async def _consumer(self) -> AsyncIterator[AIOKafkaConsumer]:
        seconds = self._settings.session_seconds
        consumer = AIOKafkaConsumer(
            **self._settings.kafka_access.client_options(),
            group_id=self._topics.projector_group,
            client_id=f"{self._settings.prefix}-projector",
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            session_timeout_ms=int(seconds * 1000),
            heartbeat_interval_ms=int(seconds * 200),
            # A batch may wait for PostgreSQL as long as it takes.
            max_poll_interval_ms=_NEVER,
            fetch_max_bytes=_FETCH_BYTES,
            fetch_max_wait_ms=_FETCH_WAIT_MILLISECONDS,
        )
        self._following = Following()
        consumer.subscribe([self._topics.tasks, self._topics.events], listener=self._following)
        try:
            await consumer.start()
            yield consumer
        finally:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(consumer.stop(), _STOP_SECONDS)

    async def _follow(self, consumer: AIOKafkaConsumer) -> None:
        clock = asyncio.get_running_loop()
        committed_at = clock.time()
        while not self.should_stop:
            await self._take_over(consumer)
            self._figures.lag = self._following.behind(consumer.highwater)
            try:
                await self._project_all(await self._read(consumer))
                if clock.time() - committed_at > _COMMIT_SECONDS:
                    await self._look_back()
                    await self._commit(consumer)
                    committed_at = clock.time()
            except WentBack as error:
                logger.warning("PostgreSQL lost committed rows, reading them again", extra={"error": str(error)})
                self._following.forget()
        await self._commit(consumer)

    async def _look_back(self) -> None:
        """See whether all that was written is still there, also where nothing comes that would be written onto it."""
        with contextlib.suppress(Unavailable):
            await look_back(self._database.fetch, self._following.reached())

    async def _take_over(self, consumer: AIOKafkaConsumer) -> None:
        """Go to where the projection stands in the partitions that were assigned anew."""
        following = self._following
        generation, gained = following.generation, consumer.assignment() - following.next.keys()
        if gained:
            starts = await self._starts(consumer, gained)
            if generation != following.generation:
                return
            for place, offset in starts.items():
                consumer.seek(place, offset)
            following.next |= starts
        following.taken_over = True
        if following.joined and not self.ready.is_set():
            self.ready.set()
            logger.info("projector ready", extra={"partitions": len(following.next)})

    async def _starts(self, consumer: AIOKafkaConsumer, places: set[TopicPartition]) -> dict[TopicPartition, int]:
        """Return for each partition the first offset that PostgreSQL does not have."""
        projected = await self._projected()
        beginnings = await consumer.beginning_offsets(list(places))
        ends = await consumer.end_offsets(list(places))
        starts, forgotten = {}, {}
        for place in places:
            where = {"topic": place.topic, "partition": place.partition}
            reached = projected.get((place.topic, place.partition), 0)
            if reached > ends[place]:
                offsets = {"end": ends[place], "projected": reached}
                logger.warning("the log was replaced, reading from the beginning", extra=where | offsets)
                await queries.forget_offset(self._database, place.topic, place.partition)
                reached = 0
            if 0 < reached < beginnings[place]:
                lost = {"lost_from": reached, "offset": beginnings[place]}
                logger.error("messages were deleted before they were read", extra=where | lost)
            starts[place] = max(reached, beginnings[place])
            if starts[place] > reached:
                forgotten[place.topic, place.partition] = starts[place]
        if forgotten:
            # Of a partition that has lost all of its messages, all is projected: nobody is to wait for the next one.
            await self._writer.move(forgotten)
        return starts

    async def _projected(self) -> dict[tuple[str, int], int]:
        while True:
            try:
                return await queries.projected_offsets(self._database, [self._topics.tasks, self._topics.events])
            except Unavailable as error:
                failed = {"retry_in": _RESTART_SECONDS, "error": str(error)}
                logger.warning("PostgreSQL does not answer, trying again", extra=failed)
                await asyncio.sleep(_RESTART_SECONDS)

    async def _read(self, consumer: AIOKafkaConsumer) -> list[ConsumerRecord[bytes, bytes]]:
        """Wait a little for messages; return those that PostgreSQL does not have."""
        following = self._following
        read = await consumer.getmany(
            *following.next, timeout_ms=_POLL_MILLISECONDS, max_records=self._settings.projector_batch
        )
        return [
            record
            for place, records in read.items()
            for record in records
            # A partition that was just assigned is read once it was taken over.
            if place in following.next and record.offset >= following.next[place]
        ]

    async def _project_all(self, records: Sequence[ConsumerRecord[bytes, bytes]]) -> None:
        generation = self._following.generation
        for part in parts(records):
            # What was read before the partitions were taken away is read again by whoever follows them now.
            if generation == self._following.generation:
                await self._project(part)

    async def _project(self, records: Sequence[ConsumerRecord[bytes, bytes]]) -> None:
        """Write what messages say; what nobody can understand is put aside before their offsets are passed."""
        with self._figures.batch(record.topic for record in records):
            await self._write(records)

    async def _write(self, records: Sequence[ConsumerRecord[bytes, bytes]]) -> None:
        needed = self._following.reached({TopicPartition(record.topic, record.partition) for record in records})
        intake = Intake()
        for record in records:
            message = Message(Place(record.topic, record.partition, record.offset), record.timestamp, record.value)
            read = intake.read_slices if record.topic == self._topics.tasks else intake.read_events
            read(message)
        await self._put_aside(intake.faults)
        offsets = {(record.topic, record.partition): record.offset + 1 for record in records}
        if faults := await self._writer.write(intake.items, offsets, needed):
            await self._put_aside(faults)
            await self._writer.move(offsets, needed)
        self._following.advance(offsets)

    async def _put_aside(self, faults: Iterable[Fault]) -> None:
        """Keep faulty messages as dead letters, one each."""
        reasons: dict[Place, list[str]] = {}
        messages: dict[Place, Message] = {}
        for fault in faults:
            messages[fault.message.place] = fault.message
            reasons.setdefault(fault.message.place, []).append(fault.reason)
        for place, message in messages.items():
            reason = "; ".join(reasons[place])
            self._figures.faults += 1
            where = {"topic": place.topic, "partition": place.partition, "offset": place.offset, "reason": reason}
            logger.error("message cannot be decoded, moved to the dead letters", extra=where)
            append = partial(self._log.append, self._topics.dead_letters, place.partition)
            await put_aside(append, partial(dead_letter, *place, message.value, reason))

    async def _commit(self, consumer: AIOKafkaConsumer) -> None:
        """Tell Kafka how far the projection is, for those who watch its lag."""
        following = self._following
        if not following.uncommitted:
            return
        following.uncommitted = False
        try:
            await consumer.commit(dict(following.next))
        except (CommitFailedError, IllegalStateError) as error:
            logger.info("offsets not committed, the partitions were revoked", extra={"error": repr(error)})


class Following(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """Which partitions are followed: per partition the offset that PostgreSQL needs next.

    ``joined`` says that the group has assigned some, or none, and ``taken_over`` that those are all followed.
    """

    def __init__(self) -> None:
        self.next: dict[TopicPartition, int] = {}
        self.generation = 0
        self.joined = False
        self.taken_over = False
        self.uncommitted = False

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:  # noqa: ARG002 — aiokafka's interface
        """Forget all: every rebalance takes all partitions away and assigns anew."""
        self.joined = False
        self.forget()

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:  # noqa: ARG002 — the same
        """Note that this projector is a member; the partitions are taken over by its loop."""
        self.forget()
        self.joined = True

    def forget(self) -> None:
        """Follow nothing until it is taken over again from where PostgreSQL is."""
        self.next = {}
        self.taken_over = False
        self.generation += 1
        # Whoever follows these partitions now tells how far they are; and aiokafka takes a commit of nothing amiss.
        self.uncommitted = False

    def behind(self, end_of: Callable[[TopicPartition], int | None]) -> dict[tuple[str, ...], int]:
        """Return how many messages are not written, by topic and partition, as far as the ends have been heard of."""
        ends = {place: end_of(place) for place in self.next}
        known = {place: max(0, end - self.next[place]) for place, end in ends.items() if end is not None}
        return {(place.topic, str(place.partition)): messages for place, messages in known.items()}

    def reached(self, places: Iterable[TopicPartition] | None = None) -> Offsets:
        """Return how far these partitions, or all, have been written."""
        return {(one.topic, one.partition): self.next[one] for one in (self.next if places is None else places)}

    def advance(self, offsets: Offsets) -> None:
        """Note what was written."""
        for (topic, partition), offset in offsets.items():
            place = TopicPartition(topic, partition)
            if place in self.next:
                self.next[place] = offset
                self.uncommitted = True
