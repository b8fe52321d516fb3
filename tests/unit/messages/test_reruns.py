from uuid import UUID

from jabba.jobs.ids import new_job_id
from jabba.jobs.lifecycle import Strategy
from jabba.jobs.models import JobSpec, Limits
from jabba.messages.slices import EncodedSlice, Rerun, Slice, cut, decode_message, encode_message, partition_key

JOB: UUID = new_job_id(1_700_000_000)


def job_of(count: int, strategy: str = "sequential") -> JobSpec:
    tasks = [["local", "shop", "ship", [number]] for number in range(count)]
    document = {"type": "shipping", "tasks": tasks, "strategy": strategy, "meta": {"order": 7}, "name": "a name"}
    return JobSpec.parse(document, Limits())


def decoded(slices: list[EncodedSlice]) -> list[Slice]:
    return decode_message(encode_message([one.text for one in slices]))


def test_a_first_submission_knows_no_earlier_run() -> None:
    (only,) = decoded(cut(job_of(3), JOB, Limits()))

    assert (only.run, only.done, only.failed) == (0, [], False)


def test_a_rerun_differs_from_the_first_submission_in_what_is_known_alone() -> None:
    first = decoded(cut(job_of(250), JOB, Limits()))
    known = {"run": 3, "digest": "as before"}

    again = decoded(cut(job_of(250), JOB, Limits(), Rerun(3, "as before")))

    assert again == [one.model_copy(update=known) for one in first]


def test_each_slice_holds_those_of_its_own_tasks_that_have_ended() -> None:
    ended = frozenset({0, 1, 99, 100, 249})

    again = decoded(cut(job_of(250), JOB, Limits(), Rerun(1, "d", ended)))

    assert [one.done for one in again] == [[0, 1, 99], [100], [249]]


def test_a_failure_shows_in_its_slice_and_all_later_ones() -> None:
    again = decoded(cut(job_of(250), JOB, Limits(), Rerun(1, "d", frozenset(range(151)), failed_at=150)))

    assert [one.failed for one in again] == [False, True, True]


def test_a_failure_of_the_first_task_counts() -> None:
    (only,) = decoded(cut(job_of(2), JOB, Limits(), Rerun(1, "d", frozenset({0}), failed_at=0)))

    assert only.failed


def test_every_slice_goes_where_its_own_key_says() -> None:
    for strategy in ("sequential", "concurrent"):
        again = cut(job_of(250, strategy), JOB, Limits(), Rerun(2, "d"))

        assert [one.key for one in again] == [one.key for one in decoded(again)]
        assert [one.key for one in again] == [
            partition_key(Strategy(f"{strategy.upper()}LY"), JOB, 2, k) for k in range(3)
        ]
