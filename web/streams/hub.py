"""The hub: messages of the events topic come in once, and every reader gets what it selected. No I/O."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from jabba.kafka.reader import LogMessage
from web.streams.cursor import Mark, Place
from web.streams.stream_events import StreamEvent, happenings


@dataclass(frozen=True, slots=True)
class Selection:
    """Which events a reader wants: those of one job, or of all; ``takes`` decides about the rest.

    ``asks`` answers whether an event's job must be known for that; without it, it never must.
    """

    job: str | None = None
    takes: Callable[[StreamEvent], bool] = lambda _: True
    asks: Callable[[StreamEvent], bool] | None = None

    def wants(self, one: StreamEvent) -> bool:
        """Return whether an event is selected."""
        return self.job in (None, one.job) and self.takes(one)

    def doubts(self, one: StreamEvent) -> bool:
        """Return whether it cannot be decided yet, because nobody has told what the event's job is."""
        return self.asks is not None and not one.knows_job and self.job in (None, one.job) and self.asks(one)


class Tail:
    """The newest messages, up to a number of bytes: who was away for a moment goes on from here."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._messages: deque[LogMessage] = deque()
        self._bytes = 0
        self._from: dict[int, int] = {}

    def begin(self, offsets: Mapping[int, int]) -> None:
        """Begin anew, with the messages from these offsets on."""
        self._messages.clear()
        self._bytes = 0
        self._from = dict(offsets)

    def append(self, message: LogMessage) -> None:
        """Keep a message, and forget the oldest ones."""
        self._messages.append(message)
        self._bytes += len(message.value)
        while self._bytes > self._max_bytes:
            oldest = self._messages.popleft()
            self._bytes -= len(oldest.value)
            self._from[oldest.partition] = oldest.offset + 1

    def reaches(self, mark: Mark) -> bool:
        """Return whether everything behind a mark is here, in all of its partitions."""
        return all(offset >= self._from.get(partition, 0) for partition, offset in mark.next_offsets.items())

    def after(self, mark: Mark) -> list[LogMessage]:
        """Return the messages that have something behind a mark, in the partitions that it names."""
        nexts = mark.next_offsets
        return [one for one in self._messages if one.partition in nexts and one.offset >= nexts[one.partition]]


@dataclass(eq=False, slots=True)
class Reader:
    """One stream: what waits to be sent to it.

    ``ahead`` has its place in partitions where it has seen more than the hub, ``last`` is the last block it took. It
    has lagged once more bytes wait than it has room for; from then on it gets nothing.
    """

    selection: Selection
    room: int
    ahead: Mark
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    lagged: bool = False
    last: bytes = b""
    _queue: deque[bytes] = field(default_factory=deque)
    _queued: int = 0

    @property
    def waiting(self) -> bool:
        """Return whether something waits to be sent."""
        return bool(self._queue)

    def offer(self, block: bytes) -> None:
        """Queue an event."""
        if self._queue and self._queued + len(block) > self.room:
            self.lagged = True
        else:
            self._queue.append(block)
            self._queued += len(block)
        self.wake.set()

    def take(self, max_bytes: int) -> bytes:
        """Take the oldest blocks out of the queue: one, and more up to so many bytes."""
        taken = [self._queue.popleft()]
        size = len(taken[0])
        while self._queue and size + len(self._queue[0]) <= max_bytes:
            taken.append(self._queue.popleft())
            size += len(taken[-1])
        self._queued -= size
        self.last = taken[-1]
        return b"".join(taken)


class Hub:
    """Everyone who listens, and how far the topic has been read."""

    def __init__(self, *, tail_bytes: int, reader_bytes: int) -> None:
        self.tail = Tail(tail_bytes)
        self.mark = Mark({})
        self.closing = asyncio.Event()
        self._reader_bytes = reader_bytes
        self._of_all: set[Reader] = set()
        self._of_job: dict[str, set[Reader]] = {}
        self._hints: dict[str, set[asyncio.Event]] = {}
        self._moved = asyncio.Event()

    @property
    def readers(self) -> int:
        """Return how many streams are open."""
        return len(self._of_all) + sum(map(len, self._of_job.values()))

    def begin(self, offsets: Mapping[int, int]) -> None:
        """Begin with the messages at these offsets, which come next."""
        self.mark = Mark.before(offsets)
        self.tail.begin(offsets)

    def publish(self, message: LogMessage, told: Iterable[StreamEvent] | None = None) -> None:
        """Tell a message to those who want it; ``told`` are its events, if they have been read already."""
        place = Place(message.offset)
        if self.mark.has_seen(message.partition, place):
            self._begin_anew(message)
        self.tail.append(message)
        if self._of_all or self._of_job or self._hints:
            for one in happenings(message) if told is None else told:
                self.mark.move(message.partition, one.place)
                self._tell(one)
        self.mark.move(message.partition, place)
        self._moved.set()

    def in_doubt(self, told: Iterable[StreamEvent]) -> list[StreamEvent]:
        """Return the events of which a reader wants to know the job first."""
        return [one for one in told if any(_doubts(reader, one) for reader in self._readers_for(one))]

    async def reached(self, partition: int, offset: int) -> None:
        """Wait until all messages of a partition before an offset have been told."""
        while self.mark.next_offsets[partition] < offset:
            self._moved.clear()
            await self._moved.wait()

    def join(self, selection: Selection, mark: Mark) -> tuple[Reader, list[LogMessage]]:
        """Add a reader that goes on behind a mark, which the tail reaches; return it, and what it is to read before.

        The mark names every partition that the reader is to hear of.
        """
        ahead = {p: place for p, place in mark.places.items() if not self.mark.has_seen(p, place)}
        reader = Reader(selection, self._reader_bytes, Mark(ahead))
        self._readers_of(selection.job).add(reader)
        return reader, self.tail.after(mark)

    def leave(self, reader: Reader) -> None:
        """Remove a reader."""
        job = reader.selection.job
        self._readers_of(job).discard(reader)
        if job is not None and not self._of_job[job]:
            del self._of_job[job]

    def has_come_to(self, mark: Mark) -> bool:
        """Return whether everything up to a mark was published."""
        return all(self.mark.has_seen(partition, place) for partition, place in mark.places.items())

    def mark_of(self, reader: Reader) -> Mark:
        """Return how far a reader has come when nothing waits for it."""
        if reader.ahead and self.has_come_to(reader.ahead):
            reader.ahead = Mark({})
        return self.mark.or_farther(reader.ahead) if reader.ahead else self.mark

    @contextmanager
    def hints(self, job: str) -> Iterator[asyncio.Event]:
        """Return an event that is set whenever something happens to a job."""
        hint = asyncio.Event()
        hints = self._hints.setdefault(job, set())
        hints.add(hint)
        try:
            yield hint
        finally:
            hints.discard(hint)
            if not hints:
                del self._hints[job]

    def close(self) -> None:
        """Let every stream end."""
        self.closing.set()
        for reader in self._readers():
            reader.wake.set()

    def _begin_anew(self, message: LogMessage) -> None:
        """Follow a log that was made anew: nothing of the old one may be taken for a part of it."""
        self.begin({**self.mark.next_offsets, message.partition: message.offset})
        for reader in self._readers():
            reader.ahead = Mark({})

    def _readers(self) -> Iterator[Reader]:
        yield from self._of_all
        for readers in self._of_job.values():
            yield from readers

    def _readers_for(self, one: StreamEvent) -> Iterator[Reader]:
        yield from self._of_job.get(one.job, ())
        yield from self._of_all

    def _readers_of(self, job: str | None) -> set[Reader]:
        return self._of_all if job is None else self._of_job.setdefault(job, set())

    def _tell(self, one: StreamEvent) -> None:
        for hint in self._hints.get(one.job, ()):
            hint.set()
        for reader in self._of_job.get(one.job, ()):
            if _is_new(reader, one):
                reader.offer(one.block_of_partition())
        block = b""
        for reader in self._of_all:
            if not _is_new(reader, one):
                continue
            if reader.ahead:
                reader.offer(one.block(self.mark_of(reader).text))
            else:
                block = block or one.block(self.mark.text)
                reader.offer(block)


def tell(message: LogMessage, told: Iterable[StreamEvent], mark: Mark, selection: Selection) -> Iterator[bytes]:
    """Return what the events of a message say behind a mark, as blocks; the mark moves along."""
    for one in told:
        if not mark.has_seen(one.partition, one.place):
            mark.move(one.partition, one.place)
            if selection.wants(one):
                yield one.block(mark.text)
    if not mark.has_seen(message.partition, Place(message.offset)):
        mark.move(message.partition, Place(message.offset))


def _is_new(reader: Reader, one: StreamEvent) -> bool:
    if reader.lagged or reader.ahead.has_seen(one.partition, one.place):
        return False
    return reader.selection.takes(one)


def _doubts(reader: Reader, one: StreamEvent) -> bool:
    return not (reader.lagged or reader.ahead.has_seen(one.partition, one.place)) and reader.selection.doubts(one)
