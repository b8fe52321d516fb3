"""Record batches, version 2: what producers send, the log keeps and consumers get, byte for byte.

A batch begins with a header of 61 bytes, big-endian, which ``Header`` names. The checksum (CRC-32C) covers all that
follows it, from the attributes on; so a broker may set the first offset without computing it again.
"""

import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

from aiokafka.errors import (
    CorruptRecordException,
    InvalidRequestError,
    UnsupportedCodecError,
    UnsupportedForMessageFormatError,
)
from aiokafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c

from jabba.local.broker.files import Buffer

HEADER = struct.Struct(">qiibIhiqqqhii")
PREFIX_BYTES = 12
"""The first offset and the length, which the length does not count."""

_MAGIC = 2
_CRC = struct.Struct(">I")
_CRC_AT = 17
_CHECKED_FROM = 21
_PLACE = struct.Struct(">qii")
_ATTRIBUTES = struct.Struct(">h")
_MAX_TIMESTAMP = struct.Struct(">q")
_MAX_TIMESTAMP_AT = 35
_LAST_OFFSET_DELTA = struct.Struct(">i")
_LAST_OFFSET_DELTA_AT = 23
_CODEC = 0x07
_APPEND_TIME = 0x08
_TRANSACTIONAL_OR_CONTROL = 0x30
_LEADER_EPOCH = 0
_UNLIMITED = 2**31 - 1


class Header(NamedTuple):
    """The header of a batch; times are milliseconds since the epoch."""

    base_offset: int
    length: int
    leader_epoch: int
    magic: int
    crc: int
    attributes: int
    last_offset_delta: int
    first_timestamp: int
    max_timestamp: int
    producer_id: int
    producer_epoch: int
    base_sequence: int
    records: int

    @property
    def size(self) -> int:
        """The bytes of the whole batch."""
        return self.length + PREFIX_BYTES

    @property
    def next_offset(self) -> int:
        """The offset behind the last record, be that still there or not."""
        return self.base_offset + self.last_offset_delta + 1


class Record(NamedTuple):
    """What the broker itself wants to know of a record."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]


def header_at(buffer: Any, position: int = 0) -> Header | None:
    """Read the header at ``position``; None when the buffer ends before it does, or holds something else there."""
    if len(buffer) - position < HEADER.size:
        return None
    header = Header._make(HEADER.unpack_from(buffer, position))
    return header if header.magic == _MAGIC and header.size >= HEADER.size else None


def whole_headers(buffer: Any) -> Iterator[tuple[int, Header]]:
    """Walk over the batches from the start of a buffer to the first that is not all there; answer their positions."""
    position = 0
    while (header := header_at(buffer, position)) and position + header.size <= len(buffer):
        yield position, header
        position += header.size


def is_intact(batch: Buffer, crc: int) -> bool:
    """Whether a batch has the checksum that its header states."""
    return bool(calc_crc32c(memoryview(batch)[_CHECKED_FROM:]) == crc)


def received(batch: Buffer) -> Header:
    """Check the batch that a producer sent for one partition, and return its header.

    Raises:
        UnsupportedForMessageFormatError: it has an older format.
        CorruptRecordException: it is broken, or not exactly one batch.
        InvalidRequestError: it belongs to a transaction.
    """
    if len(batch) >= HEADER.size and batch[16] != _MAGIC:
        raise UnsupportedForMessageFormatError
    header = header_at(batch)
    if header is None or header.size != len(batch) or not is_intact(batch, header.crc):
        raise CorruptRecordException
    if header.records < 1 or header.last_offset_delta != header.records - 1:
        raise CorruptRecordException
    if header.attributes & _TRANSACTIONAL_OR_CONTROL:
        raise InvalidRequestError
    return header


def placed(batch: Buffer, header: Header, offset: int, append_time: int | None) -> bytearray:
    """Return the batch as the log keeps it: from ``offset`` on and, if given, with the time of its arrival."""
    kept = bytearray(batch)
    _PLACE.pack_into(kept, 0, offset, header.length, _LEADER_EPOCH)
    if append_time is not None:
        _ATTRIBUTES.pack_into(kept, _CHECKED_FROM, header.attributes | _APPEND_TIME)
        _MAX_TIMESTAMP.pack_into(kept, _MAX_TIMESTAMP_AT, append_time)
        _seal(kept)
    return kept


def records(batch: Buffer) -> list[Record]:
    """Unpack a batch.

    Raises:
        CorruptRecordException: it cannot be read, or nothing here can decompress it.
    """
    try:
        return [
            Record(record.offset, record.timestamp, record.key, record.value, record.headers)
            for record in DefaultRecordBatch(batch)
        ]
    except (ValueError, IndexError, UnsupportedCodecError) as error:
        raise CorruptRecordException(str(error)) from error


def with_records(header: Header, kept: list[Record]) -> bytearray:
    """Return the batch with only these of its records, at their offsets; its own range of offsets stays."""
    builder = DefaultRecordBatchBuilder(
        magic=_MAGIC,
        compression_type=header.attributes & _CODEC,
        is_transactional=0,
        producer_id=header.producer_id,
        producer_epoch=header.producer_epoch,
        base_sequence=header.base_sequence,
        batch_size=_UNLIMITED,
    )
    for record in kept:
        builder.append(record.offset - header.base_offset, record.timestamp, record.key, record.value, record.headers)
    smaller = bytearray(builder.build())
    (attributes,) = _ATTRIBUTES.unpack_from(smaller, _CHECKED_FROM)
    _PLACE.pack_into(smaller, 0, header.base_offset, len(smaller) - PREFIX_BYTES, _LEADER_EPOCH)
    _ATTRIBUTES.pack_into(smaller, _CHECKED_FROM, attributes | header.attributes & _APPEND_TIME)
    _LAST_OFFSET_DELTA.pack_into(smaller, _LAST_OFFSET_DELTA_AT, header.last_offset_delta)
    _MAX_TIMESTAMP.pack_into(smaller, _MAX_TIMESTAMP_AT, header.max_timestamp)
    _seal(smaller)
    return smaller


def _seal(batch: bytearray) -> None:
    _CRC.pack_into(batch, _CRC_AT, calc_crc32c(memoryview(batch)[_CHECKED_FROM:]))
