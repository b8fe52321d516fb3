"""The feed: one consumer of the events topic for the whole process."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping
from typing import Any

from mode import Service

from jabba.clock import Clock, SystemClock
from jabba.concurrency.cancellation import cancel_and_wait
from jabba.errors import Unavailable
from jabba.kafka.reader import LogReader
from jabba.messages.topics import partition_of
from jabba.settings import Settings
from web.streams.cursor import Mark, Place
from web.streams.hub import Hub
from web.streams.job_cache import JobCache
from web.streams.job_filter import JobFilter

logger = logging.getLogger(__name__)

LIVE_SECONDS = 10.0
"""How long a stream may wait for the feed to come to the end of the topic when it has just begun to follow it."""

_WARM_SECONDS = 30.0
"""How far back the feed begins, so that the readers of a process that was replaced go on from its tail."""

_REPLAYS = 16
"""Streams that may read the log by themselves at a time; each has a connection and buffers of its own."""

_IDLE_SECONDS = 1.0
_RESTART_SECONDS = 1.0


class Feed(Service):
    """Follows the events topic for the hub, from the first time that someone listens."""

    abstract = False

    def __init__(self, settings: Settings, jobs: JobCache, *, clock: Clock | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.hub, hub = (_hub(settings) for _ in range(2))
        room = max(settings.stream_tail_bytes, settings.stream_queue_bytes)
        self.informed = JobFilter(self.hub, jobs, hub, self.replay, room)
        self.heartbeat_seconds = settings.stream_heartbeat_seconds
        self._settings = settings
        self._clock = clock or SystemClock()
        self._replays = asyncio.Semaphore(_REPLAYS)
        self._following: list[asyncio.Task[None]] = []
        self._log: LogReader | None = None
        self._live = asyncio.Event()

    @property
    def readers(self) -> int:
        """Return how many streams are open."""
        return self.hub.readers + self.informed.hub.readers

    async def on_stop(self) -> None:
        """End all streams, and stop following."""
        self.close()
        await cancel_and_wait(self._following)
        await self.informed.jobs.close()

    def close(self) -> None:
        """Let every stream end."""
        self.hub.close()
        self.informed.hub.close()

    def follow(self) -> None:
        """Begin to follow the topic, if that has not begun."""
        if not self._following:
            self._following.append(asyncio.create_task(self._follow(), name="feed"))

    async def partitions(self) -> int:
        """Return how many partitions the topic has, once the feed is at its end.

        Raises:
            Unavailable: it does not get there in time.
        """
        self.follow()
        try:
            async with asyncio.timeout(LIVE_SECONDS):
                await self._live.wait()
        except TimeoutError as error:
            raise Unavailable("the events cannot be read: Kafka does not answer") from error
        return len(self.hub.mark.places)

    async def since(self, seconds: float, job: str) -> Mark:
        """Return the mark before whatever happened to a job at a moment and later.

        Raises:
            Unavailable: Kafka does not answer.
        """
        partition = partition_of(job, await self.partitions())
        return Mark.before(await self._connected().since(seconds, [partition]))

    async def reached(self, job: str, offsets: Mapping[int, int], *, informed: bool) -> None:
        """Wait until all events of a job's partition have been told that stand before its one of these offsets."""
        partition = partition_of(job, await self.partitions())
        hub = self.informed.hub if informed else self.hub
        await hub.reached(partition, offsets.get(partition, 0))

    async def within_log(self, mark: Mark) -> tuple[Mark, bool]:
        """Return the mark that the log can go on from, and whether events behind the given one are gone.

        Raises:
            Unavailable: Kafka does not answer.
        """
        if self.hub.tail.reaches(mark) and self.hub.has_come_to(mark):
            return mark, False
        beginnings, ends = await self._connected().beginnings(), await self._connected().ends()
        # A mark behind the end is of another log, and everything in this one is new.
        gone = {p for p, offset in mark.next_offsets.items() if not beginnings[p] <= offset <= ends[p]}
        return Mark({**mark.places, **{p: Place.before(beginnings[p]) for p in gone}}), bool(gone)

    @contextlib.asynccontextmanager
    async def replay(self, mark: Mark) -> AsyncIterator[LogReader]:
        """Open the log behind a mark for one reader alone.

        Raises:
            Unavailable: Kafka does not answer.
        """
        async with self._replays, self._reader("replay") as log:
            log.go_to(mark.next_offsets)
            yield log

    async def _follow(self) -> None:
        """Publish what comes; with a new connection, should this one break."""
        while True:
            try:
                async with self._reader("feed") as self._log:
                    await self._publish_all(self._log)
            except Unavailable as error:
                logger.warning("live streams lost Kafka, connecting again", extra={"error": str(error)})
            except Exception:  # of a task that has ended nobody would hear, and every stream would be still
                logger.exception("live streams failed, continuing from their position")
            finally:
                self._log = None
            await asyncio.sleep(_RESTART_SECONDS)

    async def _publish_all(self, log: LogReader) -> None:
        ends = await log.ends()
        if not self.hub.mark:
            offsets = await log.since(self._clock.now() - _WARM_SECONDS, log.partitions)
            self.hub.begin(offsets)
            self.informed.hub.begin(offsets)
            self._following.append(asyncio.create_task(self.informed.follow(), name="informed feed"))
        log.go_to(self.hub.mark.next_offsets)
        while True:
            if all(offset >= ends[partition] for partition, offset in self.hub.mark.next_offsets.items()):
                self._live.set()
            for message in await log.read(_IDLE_SECONDS):
                self.hub.publish(message)
                self.informed.offer(message)
                # A burst of large messages must not hold up the requests.
                await asyncio.sleep(0)

    def _reader(self, what: str) -> LogReader:
        settings = self._settings
        return LogReader(settings.kafka_access, settings.topics.events, client_id=f"{settings.prefix}-web-{what}")

    def _connected(self) -> LogReader:
        if self._log is None:
            raise Unavailable("the events cannot be read: Kafka does not answer")
        return self._log


def _hub(settings: Settings) -> Hub:
    return Hub(tail_bytes=settings.stream_tail_bytes, reader_bytes=settings.stream_queue_bytes)
