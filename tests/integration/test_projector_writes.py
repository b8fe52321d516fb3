"""What the projection's transaction leaves in PostgreSQL, whatever order its messages come in."""

import itertools

import pytest
from sqlalchemy import Integer, Text, bindparam, cast, null, select, text

from jabba.database.connection import Database
from jabba.jobs.lifecycle import (
    JobClosed,
    JobStatus,
    Strategy,
    TaskFailed,
    TaskRescued,
    TasksAborted,
    TaskStarted,
    TaskSucceeded,
    job_status,
)
from jabba.projection.fold import ImpossibleFact
from jabba.projection.statements import status_rule
from tests.support.projecting import (
    NOW,
    facts,
    job_row,
    job_spec,
    moment,
    new_job,
    project,
    slices_of,
    statuses,
    task_rows,
    version,
)

CONCURRENT = Strategy.CONCURRENT


async def test_a_slice_makes_the_job_and_its_tasks(projection: Database) -> None:
    job = new_job()

    await project(projection, facts(slices_of(job, job_spec(3, name="three steps"))))

    row = await job_row(projection, job)
    assert (row["name"], row["type"], row["strategy"], row["meta"]) == (
        "three steps",
        "test",
        "SEQUENTIALLY",
        {"request_id": "r-1"},
    )
    assert (row["status"], row["total"], row["ended"], row["ended_at"]) == ("PENDING", 3, 0, None)
    assert row["inserted_at"] == row["updated_at"] == moment(NOW)
    tasks = await task_rows(projection, job)
    assert [(task["priority"], task["status"], task["name"]) for task in tasks] == [
        (1, "PENDING", "step 0"),
        (2, "NEW", "step 1"),
        (3, "NEW", "step 2"),
    ]
    assert tasks[2]["callback"] == {"service": "local", "module": "tests", "function": "step", "args": [2]}


async def test_concurrent_tasks_are_pending_from_the_start_with_priority_0(projection: Database) -> None:
    job = new_job()

    await project(projection, facts(slices_of(job, job_spec(3, strategy=CONCURRENT))))

    assert [(row["status"], row["priority"]) for row in await task_rows(projection, job)] == [("PENDING", 0)] * 3


async def test_each_outcome_makes_the_next_step_pending_until_the_job_is_processed(projection: Database) -> None:
    job = new_job()
    await project(projection, facts(slices_of(job, job_spec(3))))
    seen = []

    for index in range(3):
        outcome = TaskSucceeded(job, index, version(index), 1, {"n": index})
        await project(projection, facts([outcome], NOW + 10 + index))
        seen.append((await statuses(projection, job), (await job_row(projection, job))["status"]))

    assert seen == [
        (["PROCESSED", "PENDING", "NEW"], "PENDING"),
        (["PROCESSED", "PROCESSED", "PENDING"], "PENDING"),
        (["PROCESSED"] * 3, "PROCESSED"),
    ]
    row = await job_row(projection, job)
    assert row["ended_at"] == row["updated_at"] == moment(NOW + 12)
    first, second, third = await task_rows(projection, job)
    assert (first["result"], first["attempt"], first["ended_at"]) == ({"n": 0}, 1, moment(NOW + 10))
    assert second["inserted_at"] == moment(NOW)
    assert third["updated_at"] == moment(NOW + 12)


async def test_a_failed_step_fails_the_job_and_aborts_the_rest(projection: Database) -> None:
    job = new_job()
    await project(projection, facts(slices_of(job, job_spec(4))))

    await project(
        projection, facts([TaskSucceeded(job, 0, version(1)), TaskRescued(job, 1, version(2), 1, {"error": "x"})])
    )
    assert (await job_row(projection, job))["status"] == "FAILED"
    assert (await job_row(projection, job))["ended_at"] is None
    assert await statuses(projection, job) == ["PROCESSED", "RESCUED", "NEW", "NEW"]

    await project(projection, facts([TasksAborted(job, 2, version(3), 2)], NOW + 5))
    row = await job_row(projection, job)
    assert (row["status"], row["ended"], row["unsuccessful"], row["ended_at"]) == ("FAILED", 4, 3, moment(NOW + 5))
    assert await statuses(projection, job) == ["PROCESSED", "RESCUED", "ABORTED", "ABORTED"]


async def test_a_concurrent_job_fails_at_once_and_ends_with_its_last_task(projection: Database) -> None:
    job = new_job()
    await project(projection, facts(slices_of(job, job_spec(3, strategy=CONCURRENT))))

    await project(projection, facts([TaskFailed(job, 1, version(1), 1, {"reason": "no"})]))
    row = await job_row(projection, job)
    assert (row["status"], row["ended_at"]) == ("FAILED", None)

    rest = [TaskSucceeded(job, 0, version(2)), TaskSucceeded(job, 2, version(3))]
    await project(projection, facts(rest, NOW + 7))
    row = await job_row(projection, job)
    assert (row["status"], row["ended_at"], row["unsuccessful"]) == ("FAILED", moment(NOW + 7), 1)
    assert await statuses(projection, job) == ["PROCESSED", "FAILED", "PROCESSED"]


async def test_a_long_step_is_shown_as_consumed(projection: Database) -> None:
    job = new_job()
    await project(projection, facts(slices_of(job, job_spec(1))))

    await project(projection, facts([TaskStarted(job, 0, version(1))], NOW + 3))
    (task,) = await task_rows(projection, job)
    assert (task["status"], task["updated_at"], task["ended_at"]) == ("CONSUMED", moment(NOW + 3), None)

    await project(projection, facts([TaskSucceeded(job, 0, version(2))], NOW + 4))
    assert await statuses(projection, job) == ["PROCESSED"]


async def test_events_that_come_before_their_slice_make_a_stub_that_it_fills_in(projection: Database) -> None:
    job = new_job()
    outcomes = [TaskSucceeded(job, 0, version(1), 1, {"n": 0}), TaskFailed(job, 1, version(2), 1, {"no": True})]
    await project(projection, facts([*outcomes, TasksAborted(job, 2, version(3), 1)], NOW + 9))
    stub = await job_row(projection, job)
    assert (stub["type"], stub["meta"], stub["ended"], stub["status"]) == (None, None, 3, "FAILED")
    assert all(task["callback"] is None for task in await task_rows(projection, job))

    await project(projection, facts(slices_of(job, job_spec(3))))

    row = await job_row(projection, job)
    assert (row["type"], row["total"], row["status"], row["ended"]) == ("test", 3, "FAILED", 3)
    assert (row["inserted_at"], row["ended_at"], row["updated_at"]) == (moment(NOW), moment(NOW + 9), moment(NOW + 9))
    tasks = await task_rows(projection, job)
    assert [task["status"] for task in tasks] == ["PROCESSED", "FAILED", "ABORTED"]
    assert [task["callback"]["args"] for task in tasks] == [[0], [1], [2]]
    assert [task["priority"] for task in tasks] == [1, 2, 3]
    assert {task["inserted_at"] for task in tasks} == {moment(NOW)}


async def test_a_job_that_its_second_slice_told_of_is_completed_by_its_first(projection: Database) -> None:
    job = new_job()
    first, second = slices_of(job, job_spec(150, strategy=CONCURRENT))

    await project(
        projection, facts([second, *[TaskSucceeded(job, index, version(index)) for index in range(100, 150)]])
    )
    row = await job_row(projection, job)
    assert (row["total"], row["type"], row["meta"], row["ended"]) == (150, "test", None, 50)

    await project(projection, facts([TaskSucceeded(job, index, version(index)) for index in range(100)], NOW + 1))
    row = await job_row(projection, job)
    assert (row["status"], row["ended_at"], row["meta"]) == ("PROCESSED", moment(NOW + 1), None)

    await project(projection, facts([first]))
    row = await job_row(projection, job)
    assert (row["status"], row["ended_at"], row["meta"]) == ("PROCESSED", moment(NOW + 1), {"request_id": "r-1"})


async def test_a_slice_that_comes_after_its_predecessors_outcomes_has_its_turn(projection: Database) -> None:
    job = new_job()
    first, second = slices_of(job, job_spec(150))
    await project(projection, facts([first]))
    await project(projection, facts([TaskSucceeded(job, index, version(index)) for index in range(100)], NOW + 4))
    assert set(await statuses(projection, job)) == {"PROCESSED"}

    await project(projection, facts([second], NOW + 1))

    tasks = await task_rows(projection, job)
    assert [task["status"] for task in tasks[100:]] == ["PENDING"] + ["NEW"] * 49
    assert tasks[100]["updated_at"] == moment(NOW + 4)
    assert tasks[101]["updated_at"] == moment(NOW + 1)


async def test_repeated_messages_change_nothing(projection: Database) -> None:
    job = new_job()
    batch = facts(slices_of(job, job_spec(3))) + facts(
        [TaskSucceeded(job, 0, version(1)), TaskFailed(job, 1, version(2)), TasksAborted(job, 2, version(3), 1)],
        NOW + 1,
    )
    await project(projection, batch)
    before = await job_row(projection, job), await task_rows(projection, job)

    await project(projection, batch)
    for fact in reversed(batch):
        await project(projection, [fact])

    assert (await job_row(projection, job), await task_rows(projection, job)) == before
    assert before[0]["ended"] == 3


async def test_the_highest_version_wins_and_a_final_status_is_never_left(projection: Database) -> None:
    job = new_job()
    await project(projection, facts(slices_of(job, job_spec(2, strategy=CONCURRENT))))

    await project(projection, facts([TaskStarted(job, 0, version(1, epoch=2), 1)]))
    await project(projection, facts([TaskSucceeded(job, 0, version(9, epoch=1), 1, {"from": "a zombie"})]))
    assert (await statuses(projection, job))[0] == "CONSUMED"

    await project(projection, facts([TaskSucceeded(job, 0, version(2, epoch=2), 1, {"from": "the owner"})]))
    await project(
        projection, facts([TaskStarted(job, 0, version(1, epoch=3)), TaskFailed(job, 0, version(2, epoch=3))])
    )

    first, second = await task_rows(projection, job)
    assert (first["status"], first["result"], first["epoch"], first["seq"]) == (
        "PROCESSED",
        {"from": "the owner"},
        2,
        2,
    )
    assert second["status"] == "PENDING"
    assert (await job_row(projection, job))["ended"] == 1


async def test_the_first_submission_under_an_id_is_the_job(projection: Database) -> None:
    job = new_job()
    (slice_,), (other,) = slices_of(job, job_spec(2)), slices_of(job, job_spec(3, name="another"))
    await project(projection, facts([TaskSucceeded(job, 0, version(1))]))
    await project(projection, facts([slice_]))
    before = await job_row(projection, job), await task_rows(projection, job)

    with pytest.raises(ImpossibleFact, match="another submission"):
        await project(projection, facts([other]))
    await project(projection, facts([slice_]))

    assert (await job_row(projection, job), await task_rows(projection, job)) == before
    assert len(before[1]) == 2


async def test_a_resubmission_keeps_what_has_ended(projection: Database) -> None:
    job = new_job()
    (slice_,) = slices_of(job, job_spec(3))
    await project(projection, facts([slice_, TaskSucceeded(job, 0, version(1), 1, {"n": 0})]))

    again = slice_.model_copy(update={"run": 1, "done": [0]})
    await project(projection, facts([again], NOW + 1_000_000))

    assert (await job_row(projection, job))["run"] == 1
    assert await statuses(projection, job) == ["PROCESSED", "PENDING", "NEW"]
    await project(
        projection, facts([TaskSucceeded(job, 1, version(1, run=1)), TaskSucceeded(job, 2, version(2, run=1))])
    )
    row = await job_row(projection, job)
    assert (row["status"], row["ended"]) == ("PROCESSED", 3)
    assert (await task_rows(projection, job))[0]["result"] == {"n": 0}


async def test_a_job_that_is_closed_has_failed_and_ended(projection: Database) -> None:
    job = new_job()
    first, _missing = slices_of(job, job_spec(150))
    closed = JobClosed(job, version(0), "incomplete_submission")
    read = [
        facts([first]),
        facts([TaskSucceeded(job, 0, version(1))], NOW + 1),
        facts([closed], NOW + 9),
        facts([closed], NOW + 12),
        facts([TasksAborted(job, 1, version(2), 99)], NOW + 10),
    ]
    for order in itertools.permutations(read):
        await projection.fetch(text("TRUNCATE jobs, tasks"))
        for batch in order:
            await project(projection, batch)

        row = await job_row(projection, job)
        assert (row["status"], row["reason"], row["ended"]) == ("FAILED", "incomplete_submission", 100)
        assert row["inserted_at"] == moment(NOW)
        assert row["ended_at"] in (moment(NOW + 9), moment(NOW + 12))
        assert row["updated_at"] >= moment(NOW + 10)


async def test_a_cancelled_job_stays_cancelled(projection: Database) -> None:
    job = new_job()
    await project(projection, facts(slices_of(job, job_spec(1))))
    await projection.fetch(text("UPDATE jobs SET status = 'CANCELLED' WHERE id = :id"), {"id": str(job)})

    await project(projection, facts([TaskSucceeded(job, 0, version(1))]))

    assert (await job_row(projection, job))["status"] == "CANCELLED"


async def test_the_status_rule_in_sql_is_the_one_of_the_lifecycle(projection: Database) -> None:
    known, total, ended, unsuccessful = (
        cast(bindparam(name), Text if name == "known" else Integer)
        for name in ("known", "total", "ended", "unsuccessful")
    )
    statement = select(status_rule(known, total, ended, unsuccessful, null()).label("status"))
    for total_, ended_, unsuccessful_ in itertools.product((None, 1, 2), (0, 1, 2), (0, 1, 2)):
        for status in JobStatus:
            given = {"known": status.value, "total": total_, "ended": ended_, "unsuccessful": unsuccessful_}
            (row,) = await projection.fetch(statement, given)
            rule = job_status(total_, ended_, unsuccessful_)
            assert row["status"] == (status if status is JobStatus.CANCELLED else rule), given
