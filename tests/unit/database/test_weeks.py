"""Weeks, as the ids of jobs and tasks tell the time."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jabba.database.weeks import MILLISECONDS, Week, weeks_between
from jabba.jobs import ids

MONDAY = int(datetime(2026, 11, 23, tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize("moment", [MONDAY, MONDAY + 1, MONDAY + MILLISECONDS - 1])
def test_a_week_lasts_from_monday_to_monday(moment: int) -> None:
    week = Week.at(moment)
    assert (week.start, week.end, week.word) == (MONDAY, MONDAY + MILLISECONDS, "20261123")
    assert Week.at(moment - MILLISECONDS).word == "20261116"


def test_a_job_and_its_tasks_are_in_one_week() -> None:
    job = ids.new_job_id(MONDAY / 1000)
    assert {Week.of(one) for one in (job, ids.task_id(job, 0), ids.task_id(job, 99_999))} == {Week(MONDAY)}


@given(st.integers(0, 2**128 - 1))
def test_every_id_is_within_its_week_and_weeks_do_not_overlap(number: int) -> None:
    one = UUID(int=number)
    week = Week.of(one)
    assert week.first_id <= one <= week.last_id
    assert week.last_id.int == 2**128 - 1 or week.last_id.int + 1 == week.next.first_id.int


def test_words_of_weeks_are_read_again_and_others_are_none() -> None:
    assert Week.named(Week(MONDAY).word) == Week(MONDAY)
    for word in ("default", "20261124", "2026", "20261340", ""):
        assert Week.named(word) is None


def test_weeks_between_two_moments() -> None:
    words = [week.word for week in weeks_between(MONDAY - 1, MONDAY + MILLISECONDS)]
    assert words == ["20261116", "20261123", "20261130"]
