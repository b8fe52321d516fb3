"""Record batches as producers send them, and as consumers read them."""

from collections.abc import Iterable, Sequence

from aiokafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder

Pair = tuple[bytes | None, bytes | None]
"""Key and value."""

NO_PRODUCER = (-1, -1, -1)


def batch_of(
    *records: Pair | bytes, timestamp: int = 1000, producer: tuple[int, int, int] = NO_PRODUCER, codec: int = 0
) -> bytes:
    """Return a batch of ``(key, value)`` records, or of values; ``producer`` is its id, epoch and first sequence."""
    producer_id, epoch, sequence = producer
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=codec,
        is_transactional=0,
        producer_id=producer_id,
        producer_epoch=epoch,
        base_sequence=sequence,
        batch_size=1 << 30,
    )
    for number, record in enumerate(records):
        key, value = record if isinstance(record, tuple) else (None, record)
        builder.append(number, timestamp, key, value, [])
    return bytes(builder.build())


def split(buffer: bytes) -> list[DefaultRecordBatch]:
    """Return the whole batches in a buffer, their checksums checked."""
    batches: list[DefaultRecordBatch] = []
    while len(buffer) >= 12 and len(buffer) >= (size := 12 + int.from_bytes(buffer[8:12])):
        batch = DefaultRecordBatch(buffer[:size])
        assert batch.validate_crc()
        batches.append(batch)
        buffer = buffer[size:]
    return batches


def values(buffer: bytes) -> list[tuple[int, bytes | None]]:
    """Return offset and value of all records of the whole batches in a buffer."""
    return [(record.offset, record.value) for batch in split(buffer) for record in batch]


def pairs(batches: Iterable[bytes]) -> Sequence[tuple[int, bytes | None, bytes | None]]:
    """Return offset, key and value of all records of these batches."""
    return [(record.offset, record.key, record.value) for one in batches for batch in split(one) for record in batch]
