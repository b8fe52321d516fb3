"""The log of one partition: what was appended, by offset, in files of bounded size."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from aiokafka.errors import CorruptRecordException, MessageSizeTooLargeError, OffsetOutOfRangeError

from jabba.clock import Clock
from jabba.local.broker.batches import Header, placed, received, records
from jabba.local.broker.configs import TopicConfig
from jabba.local.broker.files import Buffer
from jabba.local.broker.producers import Producers
from jabba.local.broker.segment import Segment

NO_TIMESTAMP = -1

_FORGET_PRODUCERS_MS = 24 * 3600 * 1000


class Appended(NamedTuple):
    """Where a batch is; ``timestamp`` is when it arrived, in topics that keep that time, else ``NO_TIMESTAMP``."""

    offset: int
    timestamp: int


class PartitionLog:
    """One partition, in a directory of its own; opening it reads the headers of all batches.

    What ``append`` has answered outlives the process; ``watchers`` are called after every append.
    """

    def __init__(self, directory: Path, config: TopicConfig, clock: Clock) -> None:
        self.config = config
        self.watchers: set[Callable[[], None]] = set()
        self.dirty_from = 0
        """Compaction has seen everything before this offset."""
        self._directory = directory
        self._clock = clock
        self._producers = Producers()
        self._directory.mkdir(parents=True, exist_ok=True)
        self._segments = self._load()
        self._unsynced: list[Segment] = []
        self._written = False

    @property
    def start_offset(self) -> int:
        """The first offset that can be read."""
        return self._segments[0].base_offset

    @property
    def end_offset(self) -> int:
        """The offset of the next record."""
        return self.active.next_offset

    @property
    def active(self) -> Segment:
        """The segment that is written to."""
        return self._segments[-1]

    @property
    def closed(self) -> list[Segment]:
        """The segments that are complete, oldest first."""
        return self._segments[:-1]

    def append(self, batch: Buffer) -> Appended:
        """Append a batch and answer where it is, also when it was there already.

        Raises:
            BrokerResponseError: one of Kafka's errors; nothing was appended.
        """
        if len(batch) > self.config.max_message_bytes:
            raise MessageSizeTooLargeError
        header = received(batch)
        if self.config.compacted and any(record.key is None for record in records(batch)):
            raise CorruptRecordException("a compacted topic needs keys")
        repeated = self._producers.find_repeated(header)
        if repeated is not None:
            return self._appended(repeated.offset, repeated.timestamp)
        return self._keep(batch, header)

    def read(self, offset: int, limit: int, *, at_least_one: bool) -> bytes:
        """Read batches from the one with ``offset`` on: as ``Segment.read``, and never from two segments.

        Raises:
            OffsetOutOfRangeError: the offset was deleted, or is not there yet.
        """
        if not self.start_offset <= offset <= self.end_offset:
            raise OffsetOutOfRangeError
        for segment in self._segments:
            if offset < segment.next_offset:
                return segment.read(offset, limit, at_least_one=at_least_one)
        return b""

    def find_since(self, timestamp: int) -> tuple[int, int] | None:
        """Return offset and time of the first record of that time or later, None when there is none."""
        for segment in self._segments:
            if (found := segment.first_since(timestamp)) is not None:
                all_records = records(found)
                late = (record for record in all_records if record.timestamp >= timestamp)
                # In a compacted batch the record that was as late as its header says may be gone.
                record = next(late, all_records[0])
                return record.offset, record.timestamp
        return None

    def roll_if_old(self) -> None:
        """Close the active segment when its first batch is old enough."""
        if self.active.size and self._now() - self.active.first_timestamp >= self.config.segment_ms:
            self._roll()

    def delete_expired(self) -> None:
        """Delete the oldest segments that are too old or too much, all of a segment or nothing."""
        if self.config.retention_ms is not None:
            oldest = self._now() - self.config.retention_ms
            if self.active.max_timestamp < oldest:
                self._roll()
            self._delete_while(lambda segment: segment.max_timestamp < oldest)
        if (allowed := self.config.retention_bytes) is not None:
            self._delete_while(lambda first: sum(segment.size for segment in self._segments) - first.size >= allowed)

    def forget_idle_producers(self) -> None:
        """Forget the producers that have not written for a day."""
        self._producers.forget_idle(self._now() - _FORGET_PRODUCERS_MS)

    def replace_closed(self, old: list[Segment], path: Path) -> None:
        """Put a file with the compacted batches of ``old``, the first closed segments, in their place."""
        path.rename(old[0].path)
        for segment in old[1:]:
            segment.delete()
        compacted = Segment(self._directory, old[0].base_offset)
        for _ in compacted.load(check=False):
            pass
        self._segments[: len(old)] = [compacted]
        self.dirty_from = compacted.next_offset

    def unsynced(self) -> list[int]:
        """Return descriptors of the files written to since the last call, the caller's to sync and to close."""
        if not self._written:
            return []
        self._written = False
        closed, self._unsynced = self._unsynced, []
        found = [self.active.duplicate(), *(segment.release() for segment in closed)]
        return [descriptor for descriptor in found if descriptor is not None]

    def close(self) -> None:
        """Close the files."""
        for segment in (*self._unsynced, self.active):
            segment.close()

    def _load(self) -> list[Segment]:
        segments: list[Segment] = []
        bases = Segment.base_offsets(self._directory)
        for base in bases:
            segment = Segment(self._directory, base)
            if segments and base < segments[-1].next_offset:
                segment.delete()  # its records were compacted into the one before when the broker died
                continue
            for header in segment.load(check=base == bases[-1]):
                self._producers.keep(header, header.base_offset, header.max_timestamp)
            segments.append(segment)
        return segments or [Segment(self._directory, 0)]

    def _keep(self, batch: Buffer, header: Header) -> Appended:
        now = self._now()
        if self.active.size + len(batch) > self.config.segment_bytes:
            self._roll()
        offset, time = self.end_offset, now if self.config.append_time else header.max_timestamp
        kept = placed(batch, header, offset, now if self.config.append_time else None)
        self.active.append(kept, header._replace(base_offset=offset, max_timestamp=time))
        self._producers.keep(header, offset, time)
        self._written = True
        for watcher in self.watchers:
            watcher()
        return self._appended(offset, time)

    def _appended(self, offset: int, timestamp: int) -> Appended:
        return Appended(offset, timestamp if self.config.append_time else NO_TIMESTAMP)

    def _roll(self) -> None:
        if self.active.size:
            self._unsynced.append(self.active)
            # Made at once, since its name keeps the end offset when all before it is deleted.
            self._segments.append(Segment.create(self._directory, self.end_offset))

    def _delete_while(self, condition: Callable[[Segment], bool]) -> None:
        while len(self._segments) > 1 and condition(self._segments[0]):
            self._segments.pop(0).delete()

    def _now(self) -> int:
        return int(self._clock.now() * 1000)
