"""One live stream, from its first block to its last."""

import asyncio
from asyncio import FIRST_COMPLETED
from collections.abc import AsyncGenerator, Coroutine, Iterable, Iterator
from contextlib import aclosing, contextmanager
from typing import Any

from pydantic_core import to_json

from jabba.concurrency.cancellation import cancel_and_wait
from jabba.kafka.reader import LogMessage
from jabba.messages.topics import partition_of
from web.streams.cursor import Mark, read_mark
from web.streams.feed import Feed
from web.streams.hub import Reader, Selection, tell
from web.streams.stream_events import StreamEvent, happenings

_CHUNK_BYTES = 64 * 1024
_RETRY = b"retry: 1000\n"
"""How many milliseconds a browser waits before it connects again."""

Farewell = asyncio.Task[bytes]
"""What ends a stream when it is done; its answer is the last block."""


class Stream:
    """The events that one reader selected: those behind a mark, or those that come from now on.

    It ends with its farewell, when the process stops, or when its reader lags so far that the tail has not what it
    would need next. One whose selection asks what jobs are goes by the hub that knows; while a job is being looked up,
    it shows that it is alive, and its mark stays.
    """

    def __init__(self, feed: Feed, selection: Selection, mark: Mark | None, farewell: Farewell | None) -> None:
        self._feed = feed
        self._informed = feed.informed if selection.asks else None
        self._hub = feed.informed.hub if selection.asks else feed.hub
        self._selection = selection
        self._mark = mark
        self._farewell = farewell

    async def blocks(self) -> AsyncGenerator[bytes]:
        """Return what is to be sent, block by block or several at a time.

        Raises:
            Unavailable: Kafka does not answer.
        """
        mark, gone = await self._begin()
        yield _RETRY + _beat(mark) + (_GAP if gone else b"")
        while not self._hub.tail.reaches(mark):
            async with aclosing(self._replayed(mark)) as replayed:
                async for chunk in replayed:
                    yield chunk
            if self._hub.closing.is_set():
                return
        # Nothing is awaited between the look at the tail and the joining.
        while self._hub.tail.reaches(mark):
            with self._joined(mark) as (reader, behind):
                async with aclosing(self._live(reader, behind, mark)) as live:
                    async for chunk in live:
                        yield chunk
            if not reader.lagged:
                return
            mark = self._mark_behind(reader, mark)
        yield _LAGGED

    async def _begin(self) -> tuple[Mark, bool]:
        """Return where the stream begins, with the partitions that matter to it."""
        partitions = await self._feed.partitions()
        job = self._selection.job
        mine = range(partitions) if job is None else [partition_of(job, partitions)]
        here = self._feed.hub.mark.among(mine)
        if self._mark is None:
            return here, False
        return await self._feed.within_log(self._mark.among(mine).or_else(here))

    @contextmanager
    def _joined(self, mark: Mark) -> Iterator[tuple[Reader, list[LogMessage]]]:
        reader, behind = self._hub.join(self._selection, mark)
        if self._farewell is not None:
            self._farewell.add_done_callback(lambda _: reader.wake.set())
        try:
            yield reader, behind
        finally:
            self._hub.leave(reader)

    async def _replayed(self, mark: Mark) -> AsyncGenerator[bytes]:
        """Read the log alone until the tail reaches back to the mark, which moves along."""
        async with self._feed.replay(mark) as log:
            while not (self._hub.tail.reaches(mark) or self._hub.closing.is_set()):
                async with aclosing(self._told(await log.read(), mark)) as told:
                    async for chunk in told:
                        yield chunk

    async def _live(self, reader: Reader, behind: list[LogMessage], mark: Mark) -> AsyncGenerator[bytes]:
        """Return what the tail has and then what the hub offers, until the reader has lagged or the stream is over."""
        async with aclosing(self._told(behind, mark)) as told:
            async for chunk in told:
                yield chunk
        if self._hub.closing.is_set():
            return
        while True:
            reader.wake.clear()
            if reader.waiting:
                yield reader.take(_CHUNK_BYTES)
            elif reader.lagged or self._hub.closing.is_set():
                return
            elif self._farewell is not None and self._farewell.done():
                yield self._farewell.result()
                return
            elif not await _woken(reader.wake, self._feed.heartbeat_seconds):
                reader.last = self._beat(self._hub.mark_of(reader).among(mark.places))
                yield reader.last

    async def _told(self, messages: Iterable[LogMessage], mark: Mark) -> AsyncGenerator[bytes]:
        """Return what messages say behind a mark, in pieces: a write costs more than an event."""
        chunk = bytearray()
        for message in messages:
            told = list(happenings(message))
            if self._informed is not None and (asked := self._informed.recall(self._in_doubt(told, mark))):
                async with aclosing(self._patiently(self._informed.inform(asked), chunk, mark)) as beats:
                    async for beat in beats:
                        yield beat
            if self._hub.closing.is_set():
                break
            for block in tell(message, told, mark, self._selection):
                chunk += block
                if len(chunk) >= _CHUNK_BYTES:
                    yield bytes(chunk)
                    chunk.clear()
        if chunk:
            yield bytes(chunk)

    def _in_doubt(self, told: Iterable[StreamEvent], mark: Mark) -> Iterator[StreamEvent]:
        """Return the events behind a mark of which the selection asks what their jobs are."""
        return (one for one in told if not mark.has_seen(one.partition, one.place) and self._selection.doubts(one))

    async def _patiently(self, work: Coroutine[Any, Any, None], chunk: bytearray, mark: Mark) -> AsyncGenerator[bytes]:
        """Work until it is done or the process stops; return what waits to be sent meanwhile, and signs of life."""
        tasks = [asyncio.create_task(one) for one in (work, self._hub.closing.wait())]
        try:
            while not (await asyncio.wait(tasks, timeout=self._feed.heartbeat_seconds, return_when=FIRST_COMPLETED))[0]:
                yield bytes(chunk) + self._beat(mark)
                chunk.clear()
            if tasks[0].done():
                tasks[0].result()
        finally:
            await cancel_and_wait(tasks)

    def _beat(self, mark: Mark) -> bytes:
        """Return a block that is no event, and what there is to say why none comes."""
        trouble = self._informed.jobs.trouble if self._informed else ""
        return _beat(mark) + (notice("delayed", _DELAYED + trouble) if trouble else b"")

    def _mark_behind(self, reader: Reader, mark: Mark) -> Mark:
        """Return the mark behind the last block that a reader took, or the given one when it took none."""
        if not reader.last:
            return mark
        text = reader.last.partition(b"\n")[0].removeprefix(b"id: ").decode()
        return read_mark(text, "", len(self._hub.mark.places)).or_farther(mark)


async def _woken(wake: asyncio.Event, within: float) -> bool:
    try:
        async with asyncio.timeout(within):
            return await wake.wait()
    except TimeoutError:
        return False


def _beat(mark: Mark) -> bytes:
    """Return a block that is no event, and tells the reader how far it has come."""
    return b"id: %b\n:\n\n" % mark.text.encode()


def notice(kind: str, message: str) -> bytes:
    """Return an event of the stream's own, which is no fact of the log."""
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), to_json({"event": kind, "message": message}))


_DELAYED = "what follows waits until PostgreSQL tells what its job is: "
_GAP = notice("gap", "events behind the last one that this stream got are gone from the log")
_LAGGED = notice("lagged", "this stream is too slow; connect again to go on behind the last event")
