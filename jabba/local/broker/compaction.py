"""Compaction: of every key in a log, only the last value stays."""

import asyncio
import os
from collections.abc import Iterator

from jabba.local.broker.batches import Header, Record, records, with_records
from jabba.local.broker.files import Buffer
from jabba.local.broker.log import PartitionLog
from jabba.local.broker.segment import Segment

_UNFINISHED = ".compacting"


def is_due(log: PartitionLog) -> bool:
    """Whether enough of a compacted topic's closed segments was written since the last compaction."""
    sizes = {segment: segment.size for segment in log.closed}
    dirty = sum(size for segment, size in sizes.items() if segment.base_offset >= log.dirty_from)
    return log.config.compacted and dirty > 0 and dirty >= log.config.dirty_ratio * sum(sizes.values())


async def compact(log: PartitionLog, now: int) -> None:
    """Rewrite the closed segments into one, with the offsets as they were.

    A deleted key (whose last record has no value) stays for the topic's ``delete.retention.ms`` before ``now``
    (milliseconds since the epoch), so that everyone who is reading learns of it. The last batch stays whatever it
    holds, so that who reads to the end gets there. Lets the event loop go on after every batch.
    """
    segments = log.closed
    last_offsets = await _last_offsets(segments)
    oldest_tombstone = now - log.config.tombstone_ms
    end = segments[-1].next_offset
    unfinished = segments[0].path.with_suffix(_UNFINISHED)
    with unfinished.open("wb") as file:
        for header, batch in _batches(segments):
            file.write(_compacted(batch, header, last_offsets, oldest_tombstone) if header.next_offset < end else batch)
            await asyncio.sleep(0)
        file.flush()
        await asyncio.to_thread(os.fsync, file.fileno())
    log.replace_closed(segments, unfinished)


async def _last_offsets(segments: list[Segment]) -> dict[bytes | None, int]:
    found: dict[bytes | None, int] = {}
    for _, batch in _batches(segments):
        found.update((record.key, record.offset) for record in records(batch))
        await asyncio.sleep(0)
    return found


def _batches(segments: list[Segment]) -> Iterator[tuple[Header, bytes]]:
    for segment in segments:
        yield from segment.batches()


def _compacted(batch: bytes, header: Header, last_offsets: dict[bytes | None, int], oldest_tombstone: int) -> Buffer:
    def stays(record: Record) -> bool:
        if record.offset != last_offsets[record.key]:
            return False
        return record.value is not None or record.timestamp > oldest_tombstone

    all_records = records(batch)
    kept = [record for record in all_records if stays(record)]
    if not kept:
        return b""
    return batch if len(kept) == len(all_records) else with_records(header, kept)
