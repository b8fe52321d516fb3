"""Entries come out job by job, however many parts they were written in."""

import random
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jabba.errors import NotReady
from jabba.projection.verify.external_sort import Entry, Ledger
from tests.support.disks import file_size_limit


def entry(job: int, offset: int, text: bytes) -> Entry:
    return Entry(UUID(int=job).bytes, offset % 2 == 0, offset % 3, offset, 1_790_000_000_000 + offset, text)


@given(
    told=st.lists(st.tuples(st.integers(0, 2**128 - 1) | st.integers(0, 3), st.binary(max_size=50)), max_size=60),
    part_bytes=st.integers(1, 3000),
)
def test_jobs_come_in_the_order_of_their_ids_and_entries_in_that_of_the_log(
    told: list[tuple[int, bytes]], part_bytes: int
) -> None:
    entries = [entry(job, offset, text) for offset, (job, text) in enumerate(told)]
    with Ledger(part_bytes) as ledger:
        for one in entries:
            ledger.add(one)
        found = list(ledger.by_job())

    assert [job.int for job, _ in found] == sorted({job for job, _ in told})
    for job, of_job in found:
        assert of_job == [one for one in entries if one.job == job.bytes]


@pytest.mark.parametrize("part_bytes", [1000, 1_000_000])
def test_a_full_disk_is_told_in_words_and_nothing_stays_behind(part_bytes: int) -> None:
    """Whether it fills up while the log is read or when that is over."""

    def use(ledger: Ledger) -> None:
        for number in range(300):
            ledger.add(entry(number, number, b"x" * 1000))
        list(ledger.by_job())

    with Ledger(part_bytes) as ledger, file_size_limit(20_000), pytest.raises(NotReady, match="TMPDIR"):
        use(ledger)


def test_it_may_be_read_again_and_added_to() -> None:
    random.seed(1)
    with Ledger(400) as ledger:
        for number in range(300):
            ledger.add(entry(random.randrange(20), number, b"x" * 100))
        first = list(ledger.by_job())
        ledger.add(entry(7, 300, b"last"))

        assert [job for job, _ in first] == [job for job, _ in ledger.by_job()]
        assert dict(ledger.by_job())[UUID(int=7)] == [*dict(first)[UUID(int=7)], entry(7, 300, b"last")]
