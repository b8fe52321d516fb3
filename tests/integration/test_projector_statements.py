"""The projection's statements bear whatever comes: any value, many tasks at once, several projectors at a time."""

import asyncio
import re
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.dialects.postgresql.psycopg2 import PGDialect_psycopg2

from jabba.database.connection import Database
from jabba.jobs.lifecycle import Strategy, TaskFailed, TasksAborted, TaskSucceeded
from jabba.projection.fold import Fact
from jabba.projection.statements import MAKE_NEXT_DUE
from tests.support.projecting import (
    NOW,
    facts,
    job_row,
    job_spec,
    moment,
    new_job,
    next_offsets,
    project,
    slices_of,
    statuses,
    task_rows,
    version,
)

CONCURRENT = Strategy.CONCURRENT


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
