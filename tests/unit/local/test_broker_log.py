"""The log of a partition of the embedded broker: it keeps, finds and recognises what it should."""

import itertools
import os

import pytest
from aiokafka.errors import (
    CorruptRecordException,
    DuplicateSequenceNumber,
    InvalidProducerEpoch,
    InvalidRequestError,
    KafkaStorageError,
    MessageSizeTooLargeError,
    OffsetOutOfRangeError,
    OutOfOrderSequenceNumber,
    UnsupportedForMessageFormatError,
)
from hypothesis import given, settings
from hypothesis import strategies as some

from jabba.local.broker.log import NO_TIMESTAMP
from tests.support.batches import batch_of, split, values
from tests.support.clocks import HandClock
from tests.support.disks import file_size_limit
from tests.support.partitions import Partition, read_all

FAR = 1 << 40
DAY = 24 * 3600


def test_records_get_offsets_in_the_order_of_their_arrival(partition: Partition) -> None:
    log = partition.open()

    assert log.append(batch_of(b"a", b"b")) == (0, NO_TIMESTAMP)
    assert log.append(batch_of(b"c")) == (2, NO_TIMESTAMP)

    assert (log.start_offset, log.end_offset) == (0, 3)
    assert read_all(log) == [(0, b"a"), (1, b"b"), (2, b"c")]


def test_batches_stay_as_they_were_sent_but_for_their_place(partition: Partition) -> None:
    log = partition.open()
    sent = batch_of((b"k", b"v" * 1000), timestamp=77, producer=(4, 0, 0), codec=1)
    log.append(batch_of(b"first"))

    log.append(sent)

    kept = log.read(1, FAR, at_least_one=False)
    assert int.from_bytes(kept[:8]) == 1
    assert kept[16:] == sent[16:]


def test_the_log_stamps_batches_with_the_time_of_their_arrival(partition: Partition, clock: HandClock) -> None:
    log = partition.open(message_timestamp_type="LogAppendTime")

    assert log.append(batch_of(b"a", timestamp=5)) == (0, clock.milliseconds)

    (batch,) = split(log.read(0, FAR, at_least_one=False))
    assert batch.timestamp_type == 1
    assert [record.timestamp for record in batch] == [clock.milliseconds]


def test_reading_begins_with_the_batch_that_holds_the_offset(partition: Partition) -> None:
    log = partition.open()
    for number in range(3):
        log.append(batch_of(b"%d.0" % number, b"%d.1" % number))

    assert values(log.read(3, FAR, at_least_one=False))[0] == (2, b"1.0")
    assert log.read(6, FAR, at_least_one=True) == b""
    for beyond in (-1, 7):
        with pytest.raises(OffsetOutOfRangeError):
            log.read(beyond, FAR, at_least_one=True)


def test_a_read_is_limited_but_never_cuts_its_first_batch(partition: Partition) -> None:
    log = partition.open()
    batch = batch_of(b"x" * 100)
    for _ in range(3):
        log.append(batch)

    assert len(log.read(0, 2 * len(batch), at_least_one=False)) == 2 * len(batch)
    assert len(log.read(0, len(batch) + 5, at_least_one=False)) == len(batch) + 5
    assert log.read(0, 10, at_least_one=False) == b""
    assert len(log.read(0, 10, at_least_one=True)) == len(batch)


@settings(max_examples=40, deadline=None)
@given(
    sizes=some.lists(some.tuples(some.integers(1, 4), some.integers(0, 3000)), min_size=1, max_size=60),
    segment=some.sampled_from([1, 5000, 1 << 20]),
)
def test_every_record_is_found_by_its_offset_now_and_after_opening_again(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[tuple[int, int]], segment: int
) -> None:
    partition = Partition(tmp_path_factory.mktemp("log"), HandClock())
    log = partition.open(segment_bytes=str(segment))
    counter = itertools.count()
    expected: list[bytes] = []
    for count, size in sizes:
        records = [b"%d:" % next(counter) + b"x" * size for _ in range(count)]
        expected += records
        log.append(batch_of(*records))

    for one in (log, partition.open(segment_bytes=str(segment))):
        assert read_all(one) == list(enumerate(expected))
        for offset, value in enumerate(expected):
            assert (offset, value) in values(one.read(offset, 1, at_least_one=True))
        one.close()


def test_an_opened_log_goes_on_where_it_ended(partition: Partition) -> None:
    log = partition.open()
    log.append(batch_of(b"a", b"b"))
    log.close()

    again = partition.open()

    assert again.append(batch_of(b"c")).offset == 2
    assert read_all(again) == [(0, b"a"), (1, b"b"), (2, b"c")]


@pytest.mark.parametrize("cut", [1, 20, 61, 80])
def test_what_the_broker_died_over_is_cut_off(partition: Partition, cut: int) -> None:
    log = partition.open()
    log.append(batch_of(b"kept"))
    size = log.active.size
    log.append(batch_of(b"x" * 100))
    log.close()
    os.truncate(log.active.path, size + cut)

    again = partition.open()

    assert (again.end_offset, again.active.path.stat().st_size) == (1, size)
    again.append(batch_of(b"next"))
    assert read_all(partition.open()) == [(0, b"kept"), (1, b"next")]


@pytest.mark.parametrize("garbage", [bytes(200), os.urandom(200)], ids=["zeros", "noise"])
def test_what_a_power_failure_left_behind_is_cut_off(partition: Partition, garbage: bytes) -> None:
    log = partition.open()
    log.append(batch_of(b"kept"))
    log.append(batch_of(b"x" * 100))
    log.close()
    content = log.active.path.read_bytes()
    log.active.path.write_bytes(content[:-50] + garbage)

    assert read_all(partition.open()) == [(0, b"kept")]


def test_a_batch_that_the_disk_does_not_take_leaves_nothing_behind(partition: Partition) -> None:
    log = partition.open()
    log.append(batch_of(b"kept"))
    with file_size_limit(log.active.size + 50), pytest.raises(KafkaStorageError):
        log.append(batch_of(b"x" * 100))

    assert log.append(batch_of(b"next")).offset == 1
    assert read_all(partition.open()) == read_all(log) == [(0, b"kept"), (1, b"next")]


def test_broken_batches_are_refused(partition: Partition) -> None:
    log = partition.open()
    good = batch_of(b"x" * 100)
    for broken in (b"", good[:40], good[:-1], good[:-1] + b"y", good + good, good + b"x"):
        with pytest.raises(CorruptRecordException):
            log.append(broken)
    with pytest.raises(UnsupportedForMessageFormatError):
        log.append(good[:16] + b"\x01" + good[17:])
    with pytest.raises(MessageSizeTooLargeError):
        log.append(batch_of(b"x" * (1 << 20)))
    assert log.end_offset == 0


def test_batches_of_transactions_are_refused(partition: Partition) -> None:
    from aiokafka.record.default_records import DefaultRecordBatchBuilder  # noqa: PLC0415 — needed here alone

    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=0,
        is_transactional=1,
        producer_id=1,
        producer_epoch=0,
        base_sequence=0,
        batch_size=1000,
    )
    builder.append(0, 1000, None, b"x", [])

    with pytest.raises(InvalidRequestError):
        partition.open().append(bytes(builder.build()))


def test_a_compacted_topic_needs_keys(partition: Partition) -> None:
    log = partition.open(cleanup_policy="compact")
    log.append(batch_of((b"k", b"v")))

    with pytest.raises(CorruptRecordException):
        log.append(batch_of((b"k", b"v"), b"no key"))


def test_a_batch_sent_twice_is_kept_once_and_answered_alike(partition: Partition, clock: HandClock) -> None:
    log = partition.open(message_timestamp_type="LogAppendTime")
    first = log.append(batch_of(b"a", b"b", producer=(7, 0, 0)))
    clock.seconds += 1
    second = log.append(batch_of(b"c", producer=(7, 0, 2)))
    log.append(batch_of(b"another's", producer=(8, 0, 0)))
    log.close()

    for one in (log, partition.open(message_timestamp_type="LogAppendTime")):
        clock.seconds += 1
        assert one.append(batch_of(b"a", b"b", producer=(7, 0, 0))) == first
        assert one.append(batch_of(b"c", producer=(7, 0, 2))) == second
        assert one.end_offset == 4
    assert second == (2, first.timestamp + 1000)


def test_a_repeated_batch_has_no_time_where_producers_set_it(partition: Partition) -> None:
    log = partition.open()

    assert {log.append(batch_of(b"a", producer=(7, 0, 0))) for _ in range(2)} == {(0, NO_TIMESTAMP)}


def test_gaps_and_batches_of_long_ago_are_refused(partition: Partition) -> None:
    log = partition.open()
    for sequence in range(7):
        log.append(batch_of(b"x", producer=(7, 0, sequence)))

    with pytest.raises(OutOfOrderSequenceNumber):
        log.append(batch_of(b"x", producer=(7, 0, 8)))
    with pytest.raises(DuplicateSequenceNumber):
        log.append(batch_of(b"x", producer=(7, 0, 1)))
    assert log.append(batch_of(b"x", producer=(7, 0, 2))).offset == 2
    assert log.append(batch_of(b"x", producer=(7, 0, 7))).offset == 7


def test_a_newer_epoch_of_a_producer_fences_the_older(partition: Partition) -> None:
    log = partition.open()
    log.append(batch_of(b"x", producer=(7, 0, 0)))

    with pytest.raises(OutOfOrderSequenceNumber):
        log.append(batch_of(b"x", producer=(7, 1, 1)))
    log.append(batch_of(b"x", producer=(7, 1, 0)))
    with pytest.raises(InvalidProducerEpoch):
        log.append(batch_of(b"x", producer=(7, 0, 1)))


def test_sequence_numbers_begin_again_behind_the_largest(partition: Partition) -> None:
    log = partition.open()
    log.append(batch_of(b"x", b"y", producer=(7, 0, 2**31 - 2)))

    assert log.append(batch_of(b"z", producer=(7, 0, 0))).offset == 2
    log.append(batch_of(b"x", b"y", producer=(8, 0, 2**31 - 1)))
    assert log.append(batch_of(b"z", producer=(8, 0, 1))).offset == 5


def test_a_producer_that_is_not_known_may_begin_anywhere(partition: Partition, clock: HandClock) -> None:
    log = partition.open(message_timestamp_type="LogAppendTime")
    assert log.append(batch_of(b"x", producer=(7, 0, 40))).offset == 0
    clock.seconds += DAY + 1

    log.forget_idle_producers()

    assert log.append(batch_of(b"x", producer=(7, 0, 90))).offset == 1


def test_watchers_hear_of_every_append(partition: Partition) -> None:
    log = partition.open()
    heard: list[int] = []
    log.watchers.add(lambda: heard.append(log.end_offset))

    log.append(batch_of(b"a"))
    log.append(batch_of(b"b", b"c"))

    assert heard == [1, 3]


def test_the_first_record_since_a_time_is_found(partition: Partition) -> None:
    log = partition.open(segment_bytes="3000")
    for number in range(100):
        log.append(batch_of(b"x" * 50, b"y" * 50, timestamp=1000 + 10 * (number // 2)))

    assert log.find_since(0) == (0, 1000)
    assert log.find_since(1010) == (4, 1010)
    assert log.find_since(1011) == (8, 1020)
    assert log.find_since(1490) == (196, 1490)
    assert log.find_since(1491) is None


def test_times_that_go_back_do_not_hide_later_ones(partition: Partition) -> None:
    log = partition.open()
    for timestamp in (5000, 1000, 9000, 2000):
        log.append(batch_of(b"x" * 5000, timestamp=timestamp))

    assert log.find_since(2000) == (0, 5000)
    assert log.find_since(6000) == (2, 9000)
