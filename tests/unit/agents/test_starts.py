import logging

import pytest
from aiokafka.structs import OffsetAndMetadata
from faust.types import TP

from agents.starts import Found, is_another_log, start_of
from jabba.engine.offsets import Start
from jabba.kafka.committed_offsets import CommittedOffset, decode_offset, marked
from tests.support.logged import logged

PLACE = TP("tasks", 2)


def test_what_is_committed_is_read_back() -> None:
    assert decode_offset(marked(5, 1_700_000_000_000)) == CommittedOffset(5, 1_700_000_000_000)
    assert decode_offset(marked(5, 0)) == decode_offset(OffsetAndMetadata(5, "of somebody else")) == CommittedOffset(5)
    assert decode_offset(None) is None
    assert decode_offset(OffsetAndMetadata(-1, "")) is None


@pytest.mark.parametrize("found", [Found(0, 10), Found(0, 10, 10), Found(7, 12, 11), Found(11, 20, 15)])
def test_a_log_that_goes_on_is_the_same(found: Found) -> None:
    assert not is_another_log(CommittedOffset(10, 77), found)


@pytest.mark.parametrize("found", [Found(0, 9), Found(0, 12, 3)])
def test_one_that_ends_before_or_has_later_messages_before_is_another(found: Found) -> None:
    assert is_another_log(CommittedOffset(10, 77), found)


def test_the_same_log_is_read_from_the_committed_offset(caplog: pytest.LogCaptureFixture) -> None:
    assert start_of(PLACE, CommittedOffset(10, 77), Found(3, 12, 11)) == Start(10, 12, 77)
    assert caplog.text == ""


@pytest.mark.parametrize(
    "known, found, offset",
    [
        (CommittedOffset(100, 77), Found(0, 3, 0), 0),
        (CommittedOffset(100, 77), Found(0, 93, 90), 90),
        (CommittedOffset(100, 77), Found(0, 90), 90),
        (CommittedOffset(2, 77), Found(0, 3, 0), 0),
        (CommittedOffset(100), Found(4, 90), 4),
    ],
    ids=["made anew", "cut", "cut and silent since", "made anew and longer", "without a time"],
)
def test_another_log_is_read_from_what_is_later(
    known: CommittedOffset, found: Found, offset: int, caplog: pytest.LogCaptureFixture
) -> None:
    assert start_of(PLACE, known, found) == Start(offset, found.end, known.latest)
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert f"topic=tasks partition=2 committed={known.offset} end={found.end} offset={offset}" in logged(caplog)


def test_a_partition_without_an_offset_is_read_from_its_beginning(caplog: pytest.LogCaptureFixture) -> None:
    assert start_of(PLACE, None, Found(3, 12)) == Start(3, 12)
    assert "no committed offset, reading from the beginning topic=tasks partition=2 offset=3" in logged(caplog)


def test_what_retention_took_is_told_as_lost(caplog: pytest.LogCaptureFixture) -> None:
    assert start_of(PLACE, CommittedOffset(10, 77), Found(13, 20, 15)) == Start(13, 20, 77)
    assert "deleted before they were read topic=tasks partition=2 lost_from=10 offset=13" in logged(caplog)
