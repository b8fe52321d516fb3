"""The one transition table: every pair of status and event, and what follows from it."""

from typing import get_args
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jabba.jobs.lifecycle import (
    FINAL,
    TASK_TRANSITIONS,
    UNSUCCESSFUL,
    Event,
    ForbiddenTransition,
    JobStatus,
    Outcome,
    TaskAttempted,
    TaskDue,
    TaskFailed,
    TaskRescued,
    TasksAborted,
    TaskStarted,
    TaskState,
    TaskStatus,
    TaskSucceeded,
    Version,
    apply,
    job_status,
    precursors,
)

S = TaskStatus
ALLOWED: dict[tuple[TaskStatus, type[Event]], TaskStatus] = {
    (S.NEW, TaskDue): S.PENDING,
    (S.NEW, TasksAborted): S.ABORTED,
    (S.PENDING, TasksAborted): S.ABORTED,
    **{(alive, TaskStarted): S.CONSUMED for alive in (S.PENDING, S.CONSUMED)},
    **{(alive, TaskAttempted): S.PENDING for alive in (S.PENDING, S.CONSUMED)},
    **{(alive, TaskSucceeded): S.PROCESSED for alive in (S.PENDING, S.CONSUMED)},
    **{(alive, TaskFailed): S.FAILED for alive in (S.PENDING, S.CONSUMED)},
    **{(alive, TaskRescued): S.RESCUED for alive in (S.PENDING, S.CONSUMED)},
}
EVENTS = list(TASK_TRANSITIONS)


def event(kind: type[Event]) -> Event:
    return kind(uuid4(), 0, Version(0, 1, 1))


@pytest.mark.parametrize("status", list(TaskStatus))
@pytest.mark.parametrize("kind", EVENTS)
def test_every_pair_of_status_and_event(status: TaskStatus, kind: type[Event]) -> None:
    expected = ALLOWED.get((status, kind))
    if expected is None:
        with pytest.raises(ForbiddenTransition, match=f"{kind.__name__} cannot follow {status}"):
            apply(TaskState(status), event(kind))
    else:
        assert apply(TaskState(status), event(kind)).status is expected


def test_the_state_carries_attempt_and_result_of_the_event() -> None:
    failed = TaskFailed(uuid4(), 3, Version(0, 1, 2), attempt=4, result={"why": "because"})
    assert apply(TaskState(S.CONSUMED), failed) == TaskState(S.FAILED, 4, {"why": "because"})
    assert apply(TaskState(S.PENDING, 2), TasksAborted(uuid4(), 3, Version(0, 1, 2), 5)).attempt == 2


@given(st.lists(st.sampled_from(EVENTS)))
def test_whatever_comes_a_final_status_is_never_left(kinds: list[type[Event]]) -> None:
    state = TaskState()
    for kind in kinds:
        before = state
        try:
            state = apply(state, event(kind))
        except ForbiddenTransition:
            assert state is before
        else:
            assert before.status not in FINAL
            assert state.status is TASK_TRANSITIONS[kind].target


@given(st.lists(st.sampled_from(EVENTS)))
def test_whatever_path_leads_to_an_event_its_statuses_are_precursors(kinds: list[type[Event]]) -> None:
    """The projection may have missed any prefix of the path: each status on it must admit what comes later."""
    state, seen = TaskState(), [S.NEW]
    for kind in kinds:
        try:
            state = apply(state, event(kind))
        except ForbiddenTransition:
            continue
        for status in seen:
            assert status in precursors(kind) or status is state.status
        seen.append(state.status)


def test_no_event_overtakes_a_final_status() -> None:
    assert not any(precursors(kind) & FINAL for kind in EVENTS)


def test_outcomes_are_the_events_that_end_a_task() -> None:
    assert set(get_args(Outcome)) == {kind for kind in EVENTS if TASK_TRANSITIONS[kind].target in FINAL}


def test_an_unsuccessful_task_is_final() -> None:
    assert FINAL - {S.PROCESSED} == UNSUCCESSFUL


@pytest.mark.parametrize(
    "total, ended, unsuccessful, status",
    [
        (None, 0, 0, JobStatus.PENDING),
        (None, 5, 0, JobStatus.PENDING),
        (3, 2, 0, JobStatus.PENDING),
        (3, 3, 0, JobStatus.PROCESSED),
        (3, 1, 1, JobStatus.FAILED),
        (None, 1, 1, JobStatus.FAILED),
        (3, 3, 2, JobStatus.FAILED),
    ],
)
def test_the_status_of_a_job_follows_from_counts(
    total: int | None, ended: int, unsuccessful: int, status: JobStatus
) -> None:
    assert job_status(total, ended, unsuccessful) is status


def test_versions_are_ordered_by_run_then_epoch_then_number() -> None:
    ordered = [Version(0, 1, 9), Version(0, 2, 1), Version(0, 2, 2), Version(1, 0, 0)]
    shuffled = [ordered[2], ordered[0], ordered[3], ordered[1]]
    assert sorted(shuffled) == ordered
