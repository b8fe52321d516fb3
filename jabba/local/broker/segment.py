"""One file of a partition: batches, one behind the other, and a sparse index of them in memory."""

import mmap
import os
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from aiokafka.errors import KafkaStorageError

from jabba.local.broker.batches import HEADER, Header, header_at, is_intact, whole_headers
from jabba.local.broker.files import Buffer, append_whole

Content = bytes | mmap.mmap

_INDEXED_BYTES = 4096
"""Every so many bytes a batch is in the index; it is found by walking from the one before it."""

_SUFFIX = ".log"
_NO_TIME = -1


class Segment:
    """Batches from ``base_offset`` on, in a file that bears that number.

    The last segment of a partition is written to and keeps its file open; the others are opened to be read.
    """

    def __init__(self, directory: Path, base_offset: int) -> None:
        self.base_offset = base_offset
        self.path = directory / f"{base_offset:020}{_SUFFIX}"
        self.size = 0
        self.next_offset = base_offset
        self.max_timestamp = _NO_TIME
        self._file: int | None = None
        self._offsets = array("q")
        self._positions = array("q")
        self._max_timestamps = array("q")

    @property
    def first_timestamp(self) -> int:
        """The latest time in the first batch, in milliseconds since the epoch; there must be one."""
        return self._max_timestamps[0]

    @classmethod
    def create(cls, directory: Path, base_offset: int) -> Self:
        """Return a segment with a new file."""
        segment = cls(directory, base_offset)
        segment._opened()
        return segment

    @staticmethod
    def base_offsets(directory: Path) -> list[int]:
        """Return the first offsets of the segments in a directory, in order."""
        return sorted(int(path.stem) for path in directory.glob(f"*{_SUFFIX}"))

    def load(self, *, check: bool) -> Iterator[Header]:
        """Index what the file holds and return its headers.

        With ``check`` the checksums are computed as well, and whatever follows the last batch that is whole is cut
        off: the broker died while it wrote it, and acknowledged it to nobody.
        """
        with self._content() as content:
            for position, header in whole_headers(content):
                if check and not is_intact(content[position : position + header.size], header.crc):
                    break
                self._index(header)
                yield header
        if check and self.path.exists():
            os.truncate(self.path, self.size)

    def append(self, batch: Buffer, header: Header) -> None:
        """Write a batch to the end of the file.

        Raises:
            KafkaStorageError: the disk does not take it; nothing of it stays.
        """
        try:
            append_whole(self._opened(), batch, self.size)
        except OSError as error:
            raise KafkaStorageError(str(error)) from error
        self._index(header)

    def read(self, offset: int, limit: int, *, at_least_one: bool) -> bytes:
        """Read about ``limit`` bytes from the batch that holds ``offset`` or follows it; the last may be cut off.

        The first never is: with ``at_least_one`` it is read though it is larger, without it nothing is then.
        """
        found = self._locate(offset)
        if found is None:
            return b""
        position, header = found
        if header.size > limit and not at_least_one:
            return b""
        return self._read(position, min(max(limit, header.size), self.size - position))

    def batches(self) -> Iterator[tuple[Header, bytes]]:
        """Return all batches in order."""
        with self._content() as content:
            for position, header in whole_headers(content):
                yield header, content[position : position + header.size]

    def first_since(self, timestamp: int) -> bytes | None:
        """Return the first batch with a record of that time or later, in milliseconds since the epoch."""
        if self.max_timestamp < timestamp:
            return None
        entry = max(bisect_left(self._max_timestamps, timestamp) - 1, 0)
        position = self._positions[entry]
        while (header := header_at(self._read(position, HEADER.size))) and header.max_timestamp < timestamp:
            position += header.size
        return self._read(position, header.size) if header else None

    def duplicate(self) -> int | None:
        """Return another descriptor of the open file, the caller's to close; None when it is not open."""
        return None if self._file is None else os.dup(self._file)

    def release(self) -> int | None:
        """Return the descriptor of the open file, the caller's to close now; the segment can still be read."""
        released, self._file = self._file, None
        return released

    def close(self) -> None:
        """Close the file; the segment can still be read."""
        if (file := self.release()) is not None:
            os.close(file)

    def delete(self) -> None:
        """Close and remove the file."""
        self.close()
        self.path.unlink(missing_ok=True)

    @contextmanager
    def _content(self) -> Iterator[Content]:
        """Map the file into memory; an empty one cannot be mapped."""
        if not self.path.exists() or not self.path.stat().st_size:
            yield b""
            return
        with self.path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            yield content

    def _index(self, header: Header) -> None:
        self.max_timestamp = max(self.max_timestamp, header.max_timestamp)
        if not self._positions or self.size - self._positions[-1] >= _INDEXED_BYTES:
            self._offsets.append(header.base_offset)
            self._positions.append(self.size)
            self._max_timestamps.append(self.max_timestamp)
        self.size += header.size
        self.next_offset = header.next_offset

    def _locate(self, offset: int) -> tuple[int, Header] | None:
        """Find the first batch that ends behind ``offset``, and its position."""
        if offset >= self.next_offset:
            return None
        entry = max(bisect_right(self._offsets, offset) - 1, 0)
        start = self._positions[entry]
        near = self._read(start, _INDEXED_BYTES + HEADER.size)
        position = 0
        while header := header_at(near, position):
            if header.next_offset > offset:
                return start + position, header
            position += header.size
        return self._walk(start + position, offset)

    def _walk(self, position: int, offset: int) -> tuple[int, Header] | None:
        while header := header_at(self._read(position, HEADER.size)):
            if header.next_offset > offset:
                return position, header
            position += header.size
        return None

    def _read(self, position: int, count: int) -> bytes:
        if self._file is not None:
            return os.pread(self._file, count, position)
        file = os.open(self.path, os.O_RDONLY)
        try:
            return os.pread(file, count, position)
        finally:
            os.close(file)

    def _opened(self) -> int:
        if self._file is None:
            self._file = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        return self._file
