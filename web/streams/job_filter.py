"""The hub of those streams whose filters ask what the job of an event is: behind the feed by as long as that takes."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Collection, Iterable
from contextlib import AbstractAsyncContextManager
from itertools import islice

from jabba.errors import Unavailable
from jabba.kafka.reader import LogMessage, LogReader
from web.streams.cursor import Mark
from web.streams.hub import Hub
from web.streams.job_cache import JobCache
from web.streams.stream_events import KnownJob, StreamEvent, happenings

logger = logging.getLogger(__name__)

Replay = Callable[[Mark], AbstractAsyncContextManager[LogReader]]
"""Opens the log behind a mark."""

_RESTART_SECONDS = 1.0
_AHEAD = 50
"""Messages whose jobs are asked for together: of jobs that end at once, each new one must not cost a question."""


class JobFilter:
    """Publishes every message that the feed's hub has published, in the same order, once its jobs are known.

    Only jobs are looked up of whose events a reader wants to know it. While one is not known, everything behind it
    waits here, and nobody else does: first in memory, and beyond ``room`` bytes in the log alone.
    """

    def __init__(self, before: Hub, jobs: JobCache, hub: Hub, replay: Replay, room: int) -> None:
        self.hub = hub
        self.jobs = jobs
        self._before = before
        self._replay = replay
        self._room = room
        self._waiting: deque[LogMessage] = deque()
        self._bytes = 0
        self._left_out = False
        self._come = asyncio.Event()

    def offer(self, message: LogMessage) -> None:
        """Take in a message that the feed's hub has published."""
        if self._left_out:
            return
        self._waiting.append(message)
        self._bytes += len(message.value)
        if self._bytes > self._room:
            self._waiting.clear()
            self._bytes, self._left_out = 0, True
        self._come.set()

    async def follow(self) -> None:
        """Publish what was offered, for ever; both hubs have begun at the same place."""
        while True:
            try:
                await self._publish_all()
            except Unavailable as error:
                logger.warning("filtered live streams lost Kafka, connecting again", extra={"error": str(error)})
            except Exception:  # of a task that has ended nobody would hear, and every stream would be still
                logger.exception("filtered live streams failed, continuing from their position")
            await asyncio.sleep(_RESTART_SECONDS)

    def recall(self, asked: Iterable[StreamEvent]) -> list[StreamEvent]:
        """Tell events what their jobs are as far as that is remembered; return the others."""
        left = []
        for one in asked:
            if (facts := self.jobs.recall(one.job)) is None:
                left.append(one)
            else:
                one.learn(KnownJob.read(one.job, facts))
        return left

    async def inform(self, asked: Collection[StreamEvent]) -> None:
        """Tell events what their jobs are, once that is known."""
        found = await self.jobs.find({one.job for one in asked})
        known = {job: None if facts is None else KnownJob.read(job, facts) for job, facts in found.items()}
        for one in asked:
            one.learn(known[one.job])

    async def _publish_all(self) -> None:
        while True:
            if self._left_out:
                await self._catch_up()
            while self._waiting:
                await self._publish(self._waiting[0], islice(self._waiting, _AHEAD))
                if self._waiting:
                    self._bytes -= len(self._waiting.popleft().value)
            self._come.clear()
            if not self._left_out:
                await self._come.wait()

    async def _publish(self, message: LogMessage, ahead: Iterable[LogMessage]) -> None:
        """Publish a message once its jobs are known; those of the messages ``ahead`` are asked for along with them."""
        told = list(happenings(message)) if self.hub.readers else []
        if self.recall(self.hub.in_doubt(told)):
            coming = [one for each in ahead for one in happenings(each)]
            await self.jobs.look({one.job for one in self.hub.in_doubt(coming)})
        # Another reader may come while one waits.
        while asked := self.hub.in_doubt(told):
            await self.inform(asked)
        self.hub.publish(message, told)
        # A burst of large messages must not hold up the requests.
        await asyncio.sleep(0)

    async def _catch_up(self) -> None:
        """Read the log from where this hub is until the feed's tail has all that is behind that."""
        tail = self._before.tail
        if not tail.reaches(self.hub.mark):
            async with self._replay(self.hub.mark) as log:
                while not tail.reaches(self.hub.mark):
                    messages = await log.read()
                    for number, message in enumerate(messages):
                        await self._publish(message, messages[number : number + _AHEAD])
        # Nothing is awaited between the look at the tail and what is taken over from it.
        self._waiting.extend(tail.after(self.hub.mark))
        self._bytes = sum(len(one.value) for one in self._waiting)
        self._left_out = False
