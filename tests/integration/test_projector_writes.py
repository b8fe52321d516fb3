"""What the projection's transaction leaves in PostgreSQL, whatever order its messages come in."""

import asyncio
import itertools
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Integer, Text, bindparam, cast, null, select, text
from sqlalchemy.dialects.postgresql.psycopg2 import PGDialect_psycopg2

from jabba.lifecycle import (
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
from jabba.persistence.database import Database
from jabba.persistence.projection import Fact, ImpossibleFact
from jabba.persistence.writes import MAKE_NEXT_DUE, status_rule
from tests.support.projecting import (
    NOW,
    facts,
    job_row,
    job_spec,
    new_job,
    next_offsets,
    project,
    slices_of,
    statuses,
    task_rows,
    version,
)

SEQUENTIAL, CONCURRENT = Strategy.SEQUENTIAL, Strategy.CONCURRENT


def moment(milliseconds: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)


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


@pytest.mark.parametrize(
    "value", ["ä😀\u2028", "a\\b\"c'd%s%(x)s{}[]", "\u0001\t\n", "", " ", "null", "'; DROP TABLE jobs; --"]
)
async def test_any_text_survives(projection: Database, value: str) -> None:
    job = new_job()
    meta = {"text": value, value or "empty": [value]}
    (slice_,) = slices_of(job, job_spec(1, meta=meta, name=value or None))
    await project(projection, facts([slice_, TaskSucceeded(job, 0, version(1), 1, meta)]))

    row, (task,) = await job_row(projection, job), await task_rows(projection, job)
    assert (row["meta"], row["name"], task["result"]) == (meta, value or None, meta)


async def test_any_number_and_null_survives(projection: Database) -> None:
    job = new_job()
    value: dict[str, Any] = {
        "big": 2**70,
        "small": -(2**63),
        "float": 0.1,
        "whole": 1.0,
        "tiny": 5e-324,
        "null": None,
        "list": [None, {}, []],
    }
    (slice_,) = slices_of(job, job_spec(1, meta=value))
    await project(projection, facts([slice_, TaskSucceeded(job, 0, version(1), 1, value)]))

    row, (task,) = await job_row(projection, job), await task_rows(projection, job)
    assert row["meta"] == task["result"] == value
    assert isinstance(row["meta"]["whole"], float)


async def test_projectors_that_write_one_job_at_a_time_count_together(migrated: str) -> None:
    """Slices and events of a few jobs, spread over four projectors at random and partly twice."""
    jobs = [new_job() for _ in range(5)]
    messages = []
    for job in jobs:
        messages += [facts([slice_]) for slice_ in slices_of(job, job_spec(300, strategy=CONCURRENT))]
        outcomes = [TaskSucceeded(job, index, version(index + 1)) for index in range(299)]
        messages += [facts(outcomes[start : start + 23], NOW + 1) for start in range(0, 299, 23)] * 2
        messages.append(facts([TaskFailed(job, 299, version(300), 1, {"no": 1})], NOW + 2))
    async with Database(migrated) as database:
        queues = [messages[start::4] for start in range(4)]
        await asyncio.gather(*(_project_all(database, queue) for queue in queues))

        for job in jobs:
            row = await job_row(database, job)
            assert (row["status"], row["ended"], row["unsuccessful"]) == ("FAILED", 300, 1)
            assert row["ended_at"] == moment(NOW + 2)
            found = await statuses(database, job)
            assert (found.count("PROCESSED"), found.count("FAILED")) == (299, 1)


async def _project_all(database: Database, messages: list[list[Fact]]) -> None:
    for start in range(0, len(messages), 2):
        await project(database, [fact for message in messages[start : start + 2] for fact in message])


async def test_a_job_of_100_000_tasks(projection: Database) -> None:
    job = new_job()
    spec = job_spec(100_000, strategy=CONCURRENT)
    slices = slices_of(job, spec)
    for start in range(0, len(slices), 50):
        await project(projection, facts(slices[start : start + 50]))
    for start in range(0, 100_000, 5000):
        outcomes = [
            TaskSucceeded(job, index, version(index + 1), 1, {"n": index}) for index in range(start, start + 5000)
        ]
        await project(projection, facts(outcomes, NOW + 60_000))

    row = await job_row(projection, job)
    assert (row["status"], row["ended"], row["total"]) == ("PROCESSED", 100_000, 100_000)


async def test_one_event_aborts_tens_of_thousands(projection: Database) -> None:
    job = new_job()
    await project(projection, facts([TaskFailed(job, 0, version(1)), TasksAborted(job, 1, version(2), 29_999)]))
    assert (await job_row(projection, job))["ended"] == 30_000

    await project(projection, facts(slices_of(job, job_spec(30_000))))

    row = await job_row(projection, job)
    assert (row["status"], row["ended"], row["unsuccessful"]) == ("FAILED", 30_000, 30_000)
    assert row["ended_at"] is not None


async def test_offsets_are_kept_with_the_rows_and_never_go_back(projection: Database) -> None:
    for offset in (5, 9, 7):
        await project(projection, [], offset)
    assert list((await next_offsets(projection)).values()) == [9]

    job = new_job()
    with pytest.raises(ValueError, match="no job has so many"):
        await project(projection, facts([TasksAborted(job, 0, version(1), 10**9)]), 20)
    assert list((await next_offsets(projection)).values()) == [9]


async def test_the_next_step_is_found_by_its_job_whatever_the_planner_believes(projection: Database) -> None:
    """With a backlog of NEW tasks that its statistics do not know, it would otherwise read all of them each time."""
    finished = """
        INSERT INTO tasks (id, job_id, inserted_at, updated_at, position, status)
        SELECT gen_random_uuid(), gen_random_uuid(), now(), now(), 0, 'PROCESSED' FROM generate_series(1, 20000)
    """
    await projection.fetch(text(finished))
    await projection.fetch(text("ANALYZE"))
    statement = str(MAKE_NEXT_DUE.compile(dialect=PGDialect_psycopg2()))  # type: ignore[no-untyped-call]
    wanted = sorted(str(new_job()) for _ in range(20))
    values = {"jobs": "{" + ",".join(wanted) + "}", "first_job": wanted[0], "last_job": wanted[-1]}
    bound = statement % {name: f"'{value}'" for name, value in values.items()}

    plan = await projection.fetch(text("EXPLAIN " + bound.replace(":", r"\:")))

    told = "\n".join(row["QUERY PLAN"] for row in plan)
    assert re.search(r"Index Scan using tasks_\w+_pkey", told)
    assert "status_inserted_at" not in told
