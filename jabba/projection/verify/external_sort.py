"""What the log says, sorted by job: on disk, because a log may be larger than any memory.

Parts of bounded size are sorted in memory and written to files without a name; reading merges them. That keeps one job
in memory at a time, and needs neither room nor work in the database, which may be the one in doubt.
"""

import heapq
import struct
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import groupby
from operator import attrgetter
from types import TracebackType
from typing import IO, NamedTuple, Self
from uuid import UUID

from jabba.errors import NotReady

_PART_BYTES = 64 * 1024 * 1024
_MOST_PARTS = 64
_BUFFER_BYTES = 256 * 1024
_OVERHEAD_BYTES = 250
"""What an entry takes in memory beside its text."""

_HEAD = struct.Struct(">16s?iqqI")


class Entry(NamedTuple):
    """What one message says of one job: ``text`` is that part of it, itself a message of the topic.

    ``is_event`` tells the topic, ``at`` is the message's time in milliseconds.
    """

    job: bytes
    is_event: bool
    partition: int
    offset: int
    at: int
    text: bytes


_BY_JOB = attrgetter("job")


class Ledger:
    """Entries, read job by job in the order of ids, those of a job in the order in which they were added.

    ``with Ledger() as ledger``; it needs as many bytes of the temporary directory as the log has.

    Raises:
        NotReady: the directory has no room for that.
    """

    def __init__(self, part_bytes: int = _PART_BYTES) -> None:
        self._part_bytes = part_bytes
        self._parts: list[IO[bytes]] = []
        self._entries: list[Entry] = []
        self._bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for part in self._parts:
            part.close()

    def add(self, entry: Entry) -> None:
        """Take an entry in."""
        self._entries.append(entry)
        self._bytes += len(entry.text) + _OVERHEAD_BYTES
        if self._bytes >= self._part_bytes:
            self._write()

    def by_job(self) -> Iterator[tuple[UUID, list[Entry]]]:
        """Return each job with its entries. May be asked again, and after more was added; not while it is read."""
        self._write()
        for job, entries in groupby(_merged(self._parts), _BY_JOB):
            yield UUID(bytes=job), list(entries)

    def _write(self) -> None:
        if self._entries:
            self._parts.append(_written(sorted(self._entries, key=_BY_JOB)))
            self._entries, self._bytes = [], 0
        if len(self._parts) >= _MOST_PARTS:
            merged = _written(_merged(self._parts))
            for part in self._parts:
                part.close()
            self._parts = [merged]


def _merged(parts: list[IO[bytes]]) -> Iterator[Entry]:
    """Merge sorted parts; entries of one job keep the order of the parts."""
    return heapq.merge(*map(_read, parts), key=_BY_JOB)


def _written(entries: Iterable[Entry]) -> IO[bytes]:
    try:
        part = tempfile.TemporaryFile(buffering=_BUFFER_BYTES)  # noqa: SIM115 — the ledger closes it
    except OSError as error:
        raise _no_room(error) from error
    try:
        for *head, text in entries:
            part.write(_HEAD.pack(*head, len(text)))
            part.write(text)
        part.flush()
    except OSError as error:
        with suppress(OSError):  # closing tries once more to write what is left
            part.close()
        raise _no_room(error) from error
    return part


def _no_room(error: OSError) -> NotReady:
    place = tempfile.gettempdir() if tempfile.tempdir else "the temporary directory"
    return NotReady(f"{place} does not take what the log says: {error.strerror}; TMPDIR names another directory")


def _read(part: IO[bytes]) -> Iterator[Entry]:
    part.seek(0)
    while head := part.read(_HEAD.size):
        job, is_event, partition, offset, at, size = _HEAD.unpack(head)
        yield Entry(job, is_event, partition, offset, at, part.read(size))
