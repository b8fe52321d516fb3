from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jabba.errors import InvalidRequest
from jabba.jobs import ids

NOW = 1_795_000_000.123


def test_a_job_id_is_a_uuid7_of_its_moment() -> None:
    made = ids.new_job_id(NOW)
    assert (made.version, made.variant) == (7, "specified in RFC 4122")
    assert ids.job_seconds(made) == pytest.approx(NOW, abs=0.001)


def test_job_ids_of_one_moment_differ() -> None:
    assert len({ids.new_job_id(NOW) for _ in range(1000)}) == 1000


@pytest.mark.parametrize("skew", [-299, 0, 299])
def test_an_id_of_about_now_is_accepted(skew: float) -> None:
    ids.check_job_id(ids.new_job_id(NOW + skew), NOW)


@pytest.mark.parametrize("wrong", [uuid4(), ids.new_job_id(NOW - 301), ids.new_job_id(NOW + 301)])
def test_other_ids_are_refused(wrong: UUID) -> None:
    with pytest.raises(InvalidRequest) as refused:
        ids.check_job_id(wrong, NOW)
    assert refused.value.fields[0].field == "id"


@given(st.integers(0, 10_000_000), st.integers(0, 10_000_000))
def test_task_ids_are_derived_and_differ(one: int, other: int) -> None:
    job = ids.new_job_id(NOW)
    assert (ids.task_id(job, one) == ids.task_id(job, other)) == (one == other)


def test_a_task_id_shares_the_moment_of_its_job() -> None:
    job = ids.new_job_id(NOW)
    task = ids.task_id(job, 7)
    assert (task.version, task.int >> 80) == (8, job.int >> 80)


def test_a_task_id_never_changes() -> None:
    assert ids.task_id(UUID("01a209b3-0fbd-7764-ab25-cc8851dd49f4"), 41) == UUID("01a209b3-0fbd-85f7-840e-ffb80c74986d")
