"""The log of a partition of the embedded broker forgets what it should, and closes its files."""

import os
from pathlib import Path

import pytest
from aiokafka.errors import OffsetOutOfRangeError

from tests.support.batches import batch_of
from tests.support.clocks import HandClock
from tests.support.partitions import Partition, read_all

FAR = 1 << 40
DAY = 24 * 3600


def test_what_is_too_old_is_deleted_and_offsets_go_on(partition: Partition, clock: HandClock) -> None:
    options = {"segment_bytes": "1", "message_timestamp_type": "LogAppendTime", "retention_ms": str(DAY * 1000)}
    log = partition.open(**options)
    for value in (b"old", b"young"):
        log.append(batch_of(value))
        clock.seconds += DAY / 2 + 1

    log.delete_expired()
    assert read_all(log) == [(1, b"young")]
    with pytest.raises(OffsetOutOfRangeError):
        log.read(0, FAR, at_least_one=True)
    clock.seconds += DAY
    log.delete_expired()

    assert len(partition.files) == 1
    for one in (log, partition.open(**options)):
        assert (one.start_offset, one.end_offset) == (2, 2)
    assert log.append(batch_of(b"new")).offset == 2


def test_what_is_too_much_is_deleted(partition: Partition) -> None:
    size = len(batch_of(b"x"))
    log = partition.open(segment_bytes="1", retention_ms="-1", retention_bytes=str(2 * size))
    for _ in range(5):
        log.append(batch_of(b"x"))

    log.delete_expired()

    assert (log.start_offset, log.end_offset) == (3, 5)
    assert sum(path.stat().st_size for path in partition.files) == 2 * size


def test_nothing_is_deleted_that_shall_be_kept_for_ever(partition: Partition, clock: HandClock) -> None:
    log = partition.open(segment_bytes="1", retention_ms="-1")
    log.append(batch_of(b"a"))
    log.append(batch_of(b"b"))
    clock.seconds += 10000 * DAY

    log.delete_expired()

    assert log.start_offset == 0


def test_a_segment_is_closed_when_it_is_old(partition: Partition, clock: HandClock) -> None:
    log = partition.open(segment_ms="60000", message_timestamp_type="LogAppendTime")
    log.append(batch_of(b"a"))
    clock.seconds += 59
    log.roll_if_old()
    assert len(partition.files) == 1

    clock.seconds += 1
    log.roll_if_old()
    log.roll_if_old()

    assert len(partition.files) == 2
    assert log.append(batch_of(b"b")).offset == 1


def test_files_are_handed_out_once_to_be_forced_to_the_disk(partition: Partition) -> None:
    log = partition.open(segment_bytes="1")
    assert log.unsynced() == []
    for value in (b"a", b"b", b"c"):
        log.append(batch_of(value))

    descriptors = log.unsynced()
    names = {Path(f"/proc/self/fd/{descriptor}").readlink() for descriptor in descriptors}
    for descriptor in descriptors:
        os.close(descriptor)

    assert names == set(partition.files)
    assert log.unsynced() == []
    log.append(batch_of(b"d"))
    log.close()
    assert read_all(log) == [(0, b"a"), (1, b"b"), (2, b"c"), (3, b"d")]
