"""Compaction in the embedded broker: of every key the last value stays, at its offset."""

import asyncio
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from jabba.local.broker import compaction, configs
from jabba.local.broker.log import PartitionLog
from tests.support.batches import Pair, batch_of, pairs, split
from tests.support.clocks import HandClock

HOUR = 3600
CONFIG = {
    "cleanup.policy": "compact",
    "segment.ms": "1",
    "message.timestamp.type": "LogAppendTime",
    "delete.retention.ms": str(HOUR * 1000),
}


class Changelog:
    """A compacted partition whose segments are closed when a test says so."""

    def __init__(self, directory: Path) -> None:
        self.clock = HandClock()
        self.directory = directory
        self.log = self.open()

    def open(self) -> PartitionLog:
        return PartitionLog(self.directory, configs.parse(CONFIG), self.clock)

    def write(self, *records: Pair, codec: int = 0, producer: tuple[int, int, int] = (-1, -1, -1)) -> None:
        self.log.append(batch_of(*records, codec=codec, producer=producer))

    def close_segment(self) -> None:
        self.clock.seconds += 1
        self.log.roll_if_old()

    async def compact(self) -> None:
        self.close_segment()
        await compaction.compact(self.log, self.clock.milliseconds)

    def content(self, log: PartitionLog | None = None) -> list[tuple[int, bytes | None, bytes | None]]:
        """Read from the start to the end, as a consumer does."""
        log = log or self.log
        found: list[tuple[int, bytes | None, bytes | None]] = []
        offset = log.start_offset
        while offset < log.end_offset:
            batches = log.read(offset, 100, at_least_one=True)
            found += [record for record in pairs([batches]) if record[0] >= offset]
            offset = split(batches)[-1].next_offset
        return found


@pytest.fixture
def changelog(tmp_path: Path) -> Changelog:
    return Changelog(tmp_path / "changelog-0")


async def test_the_last_value_of_every_key_stays_at_its_offset(changelog: Changelog) -> None:
    changelog.write((b"a", b"1"), (b"b", b"1"), (b"a", b"2"))
    changelog.write((b"c", b"1"))
    changelog.write((b"c", b"2"), (b"b", b"2"))
    changelog.write((b"last", b"1"))

    await changelog.compact()

    kept = [(2, b"a", b"2"), (4, b"c", b"2"), (5, b"b", b"2"), (6, b"last", b"1")]
    assert changelog.content() == kept
    assert changelog.content(changelog.open()) == kept
    assert (changelog.log.start_offset, changelog.log.end_offset) == (0, 7)


async def test_what_is_being_written_to_is_not_compacted(changelog: Changelog) -> None:
    changelog.write((b"a", b"1"))
    changelog.write((b"a", b"2"))
    changelog.close_segment()
    changelog.write((b"a", b"3"))
    changelog.write((b"a", b"4"))

    await compaction.compact(changelog.log, changelog.clock.milliseconds)

    assert [offset for offset, _, _ in changelog.content()] == [1, 2, 3]


async def test_a_deleted_key_is_shown_for_a_while(changelog: Changelog) -> None:
    changelog.write((b"a", b"1"))
    changelog.write((b"a", None))
    changelog.write((b"last", b"1"))

    await changelog.compact()
    assert changelog.content() == [(1, b"a", None), (2, b"last", b"1")]
    changelog.clock.seconds += HOUR
    changelog.write((b"last", b"2"))
    await changelog.compact()

    assert changelog.content() == [(3, b"last", b"2")]


async def test_a_reader_gets_to_the_end_whatever_is_deleted(changelog: Changelog) -> None:
    for _ in range(3):
        changelog.write((b"a", None))
    changelog.clock.seconds += 2 * HOUR

    await changelog.compact()

    assert changelog.content() == [(2, b"a", None)]
    assert changelog.content(changelog.open()) == [(2, b"a", None)]


async def test_partly_kept_batches_stay_what_they_were(changelog: Changelog) -> None:
    written = changelog.clock.milliseconds
    changelog.write(*((b"%d" % (number % 7), b"x" * 100) for number in range(50)), codec=1, producer=(9, 0, 100))
    changelog.write((b"0", b"new"))
    changelog.close_segment()

    await changelog.compact()

    first, _ = split(changelog.log.read(0, 1 << 20, at_least_one=True))
    assert (first.base_offset, first.next_offset, first.compression_type) == (0, 50, 1)
    assert (first.producer_id, first.producer_epoch, first.base_sequence) == (9, 0, 100)
    assert [(record.offset, record.timestamp, record.timestamp_type) for record in first] == [
        (offset, written, 1) for offset in (43, 44, 45, 46, 47, 48)
    ]


async def test_a_producer_is_still_recognised_after_its_batch_was_thinned_out(changelog: Changelog) -> None:
    changelog.write((b"a", b"1"), (b"b", b"1"), producer=(9, 0, 0))
    changelog.write((b"a", b"2"))
    await changelog.compact()

    log = changelog.open()

    assert log.append(batch_of((b"a", b"1"), (b"b", b"1"), producer=(9, 0, 0))).offset == 0
    assert log.append(batch_of((b"b", b"2"), producer=(9, 0, 2))).offset == 3


async def test_a_broker_that_died_between_renaming_and_deleting_is_tidied_up(changelog: Changelog) -> None:
    for value in (b"1", b"2", b"3"):
        changelog.write((b"a", value))
        changelog.close_segment()
    second = changelog.log.closed[1].path
    content = second.read_bytes()
    await changelog.compact()
    second.write_bytes(content)

    assert changelog.content(changelog.open()) == [(2, b"a", b"3")]
    assert not second.exists()


async def test_what_an_interrupted_compaction_wrote_is_of_no_consequence(changelog: Changelog) -> None:
    for number in range(50):
        changelog.write((b"a", b"%d" % number))
    changelog.close_segment()
    interrupted = asyncio.create_task(compaction.compact(changelog.log, changelog.clock.milliseconds))
    await asyncio.sleep(0)
    interrupted.cancel()
    await asyncio.gather(interrupted, return_exceptions=True)
    unfinished = changelog.log.closed[0].path.with_suffix(".compacting")
    unfinished.write_bytes(b"half a batch")

    assert len(changelog.content(changelog.open())) == 50
    await compaction.compact(changelog.log, changelog.clock.milliseconds)
    assert changelog.content() == [(49, b"a", b"49")]
    assert not unfinished.exists()


async def test_writing_goes_on_while_the_log_is_compacted(changelog: Changelog) -> None:
    for number in range(50):
        changelog.write((b"%d" % (number % 2), b"%d" % number))
    changelog.close_segment()
    compacting = asyncio.create_task(compaction.compact(changelog.log, changelog.clock.milliseconds))
    for number in range(50, 60):
        await asyncio.sleep(0)
        changelog.write((b"0", b"%d" % number))
        changelog.close_segment()
    await compacting

    assert [offset for offset, _, _ in changelog.content()] == [48, 49, *range(50, 60)]


def test_compaction_is_due_when_enough_has_been_written_since(changelog: Changelog) -> None:
    async def compact_if_due() -> bool:
        due = compaction.is_due(changelog.log)
        if due:
            await compaction.compact(changelog.log, changelog.clock.milliseconds)
        return due

    changelog.write(*((b"%d" % number, b"x" * 100) for number in range(100)))
    assert not compaction.is_due(changelog.log)
    changelog.close_segment()
    assert asyncio.run(compact_if_due())
    assert not asyncio.run(compact_if_due())
    changelog.write((b"a", b"little"))
    changelog.close_segment()
    assert not compaction.is_due(changelog.log)
    changelog.write(*((b"%d" % number, b"x" * 100) for number in range(100, 210)))
    changelog.close_segment()
    assert compaction.is_due(changelog.log)


def test_only_compacted_topics_are_compacted(tmp_path: Path) -> None:
    log = PartitionLog(tmp_path / "topic-0", configs.parse({"segment.bytes": "1"}), HandClock())
    for _ in range(3):
        log.append(batch_of((b"a", b"1")))

    assert not compaction.is_due(log)


KEYS = some.sampled_from([b"a", b"b", b"c", b"d"])
RECORDS = some.tuples(KEYS, some.none() | some.binary(max_size=20))


@settings(max_examples=60, deadline=None)
@given(rounds=some.lists(some.lists(some.lists(RECORDS, min_size=1, max_size=6), min_size=1, max_size=6), max_size=5))
def test_a_reader_learns_the_same_with_and_without_compaction(
    tmp_path_factory: pytest.TempPathFactory, rounds: list[list[list[Pair]]]
) -> None:
    changelog = Changelog(tmp_path_factory.mktemp("changelog"))
    expected: dict[bytes | None, bytes | None] = {}
    for batches in rounds:
        for batch in batches:
            changelog.write(*batch)
            expected.update(batch)
        asyncio.run(changelog.compact())
        changelog.clock.seconds += HOUR / 2

    for log in (changelog.log, changelog.open()):
        learnt = {key: value for _, key, value in changelog.content(log)}
        assert {key: value for key, value in learnt.items() if value is not None} == {
            key: value for key, value in expected.items() if value is not None
        }
        log.close()
