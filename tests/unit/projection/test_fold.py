"""A batch of slices and events becomes one row per job and task."""

import pytest

from jabba.jobs import ids
from jabba.jobs.lifecycle import JobClosed, Strategy, TaskFailed, TasksAborted, TaskStarted, TaskSucceeded
from jabba.projection.fold import MAX_SKEW_SECONDS, Fact, ImpossibleFact, fold
from jabba.projection.statements import JOB_COLUMNS, TASK_COLUMNS
from tests.support.projecting import NOW, facts, job_spec, new_job, slices_of, version


def test_a_slice_and_its_outcomes_make_one_row_per_task() -> None:
    job = new_job()
    outcomes = [TaskSucceeded(job, index, version(index), 1, {"n": index}) for index in range(3)]

    batch = fold(facts(slices_of(job, job_spec(3))) + facts(outcomes, NOW + 5))

    assert list(batch.jobs) == [job]
    assert set(batch.tasks) == {ids.task_id(job, index) for index in range(3)}
    row = batch.tasks[ids.task_id(job, 1)]
    assert (row.spec, row.event, row.inserted_at, row.event_at) == (job_spec(3).tasks[1], outcomes[1], NOW, NOW + 5)


def test_rows_have_a_value_for_every_column_and_are_sorted_by_id() -> None:
    jobs = [new_job() for _ in range(4)]
    batch = fold(
        [fact for job in jobs for fact in facts([*slices_of(job, job_spec(2)), TaskStarted(job, 5, version(1))])]
    )

    assert {len(row) for row in batch.job_values()} == {len(JOB_COLUMNS)}
    assert {len(row) for row in batch.task_values()} == {len(TASK_COLUMNS)}
    assert [row[0] for row in batch.job_values()] == sorted(jobs)
    assert [row[0] for row in batch.task_values()] == sorted(batch.tasks)


def test_the_highest_version_is_kept_wherever_it_stands() -> None:
    job = new_job()
    started, ended = TaskStarted(job, 0, version(1)), TaskSucceeded(job, 0, version(2), 1, {"ok": 1})

    for order in ([started, ended], [ended, started], [ended, started, ended]):
        (row,) = fold(facts(order)).tasks.values()
        assert row.event is ended


def test_a_repeated_event_keeps_the_time_of_its_first_message() -> None:
    job = new_job()
    event = TaskSucceeded(job, 0, version(1))

    (row,) = fold([Fact(event, NOW + 3), Fact(event, NOW + 9)]).tasks.values()

    assert row.event_at == NOW + 3


def test_what_ended_is_not_left_for_a_higher_version() -> None:
    job = new_job()
    ended = TaskSucceeded(job, 0, version(2, epoch=1))

    (row,) = fold(
        facts([ended, TaskStarted(job, 0, version(1, epoch=2)), TaskFailed(job, 0, version(9, epoch=2))])
    ).tasks.values()

    assert row.event is ended


def test_an_aborted_range_is_one_row_per_task() -> None:
    job = new_job()

    batch = fold(facts([TasksAborted(job, 3, version(1), 4)]))

    assert sorted(row.position for row in batch.tasks.values()) == [3, 4, 5, 6]


def test_a_closed_job_has_the_reason_and_the_time_of_the_first_closing() -> None:
    job = new_job()
    early, late = (JobClosed(job, version(0), reason) for reason in ("early", "late"))

    row = fold([Fact(late, NOW + 2), Fact(early, NOW + 1), Fact(late, NOW + 3)]).jobs[job]

    assert (row.reason, row.closed_at, row.meta) == ("early", NOW + 1, None)


def test_name_and_meta_come_with_the_first_slice_only() -> None:
    job = new_job()
    first, second = slices_of(job, job_spec(150, strategy=Strategy.CONCURRENT, name="n"))

    assert fold(facts([second])).jobs[job].meta is None
    for order in ([first, second], [second, first]):
        row = fold(facts(order)).jobs[job]
        assert (row.name, row.meta) == ("n", {"request_id": "r-1"})


def test_only_sequential_jobs_of_several_tasks_may_be_behind_their_slices() -> None:
    several, single, concurrent = new_job(), new_job(), new_job()
    batch = fold(
        facts(slices_of(several, job_spec(2)))
        + facts(slices_of(single, job_spec(1)))
        + facts(slices_of(concurrent, job_spec(2, strategy=Strategy.CONCURRENT)))
    )

    assert batch.stepped == {several}


def test_slices_of_another_submission_under_the_same_id_are_refused() -> None:
    job = new_job()
    (first,), (second,) = slices_of(job, job_spec(2)), slices_of(job, job_spec(3))

    with pytest.raises(ImpossibleFact, match=f"another submission has the id {job}"):
        fold(facts([first, second]))


def test_the_id_of_a_new_job_is_of_the_time_of_its_message() -> None:
    job = new_job()
    (slice_,) = slices_of(job, job_spec(1))
    far = int(MAX_SKEW_SECONDS * 1000) + 1

    fold(facts([slice_], NOW + far - 1000))
    for at in (NOW - far, NOW + far):
        with pytest.raises(ImpossibleFact, match="no UUIDv7 of its time"):
            fold(facts([slice_], at))
    fold(facts([slice_.model_copy(update={"run": 1})], NOW + far))
    relayed = slice_.model_copy(update={"relayed": True})
    fold(facts([relayed], NOW + 100 * far))
    with pytest.raises(ImpossibleFact, match="no UUIDv7 of its time"):
        fold(facts([relayed], NOW - far))
    foreign = slice_.model_copy(update={"job": ids.task_id(job, 0)})
    with pytest.raises(ImpossibleFact, match="no UUIDv7"):
        fold(facts([foreign]))


@pytest.mark.parametrize("change", [{"total": 2}, {"first": 1}, {"k": 1}])
def test_a_slice_that_goes_beyond_its_job_is_refused(change: dict[str, int]) -> None:
    (slice_,) = slices_of(new_job(), job_spec(3))

    with pytest.raises(ImpossibleFact, match="beyond its job"):
        fold(facts([slice_.model_copy(update=change)]))


@pytest.mark.parametrize("index, count", [(0, 10**9), (10**9, 1), (0, 1_000_001)])
def test_an_event_about_more_tasks_than_any_job_has_is_refused(index: int, count: int) -> None:
    with pytest.raises(ImpossibleFact, match="no job has so many"):
        fold(facts([TasksAborted(new_job(), index, version(1), count)]))
