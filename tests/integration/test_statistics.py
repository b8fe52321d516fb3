"""What an operator is told of the jobs, against rows of every sort; and that no question reads a large table."""

import re
from uuid import UUID

import pytest
from sqlalchemy import SelectBase, text
from sqlalchemy.dialects.postgresql.psycopg2 import PGDialect_psycopg2

from jabba.database import statistics
from jabba.database.connection import Database
from jabba.database.statistics import Window
from jabba.jobs import ids
from jabba.jobs.lifecycle import JobStatus, TaskFailed, TaskStarted, TaskSucceeded
from jabba.jobs.pages import Count
from tests.support.projecting import NOW, facts, job_spec, new_job, project, slices_of, version

SECOND = 1000


def exactly(value: int) -> Count:
    return Count(value=value, exact=True)


async def make_job(database: Database, at: int, kind: str, ended: dict[int, bool], tasks: int = 1) -> UUID:
    """Submit a concurrent job, and end some of its tasks a second later, with success or without."""
    job = ids.new_job_id(at / 1000)
    await project(database, facts(slices_of(job, job_spec(tasks, type=kind, strategy="concurrent")), at))
    events = [(TaskSucceeded if good else TaskFailed)(job, n, version(1)) for n, good in ended.items()]
    if events:
        await project(database, facts(events, at + SECOND))
    return job


@pytest.fixture
async def jobs(projection: Database) -> dict[str, UUID]:
    made = {
        "long ago": await make_job(projection, NOW - 7200 * SECOND, "order", {0: False}),
        "waits": await make_job(projection, NOW - 3000 * SECOND, "order", {}),
        "an hour": await make_job(projection, NOW - 2000 * SECOND, "order", {0: False, 1: False}, 2),
        "half": await make_job(projection, NOW - 100 * SECOND, "audit", {0: False}, 2),
        "minute": await make_job(projection, NOW - 30 * SECOND, "audit", {0: True, 1: True, 2: True}, 3),
        "failed": await make_job(projection, NOW - 20 * SECOND, "audit", {0: False, 1: True}, 2),
    }
    await project(projection, facts([TaskStarted(new_job(), 0, version(1))], NOW - 9000 * SECOND))
    return made


async def test_jobs_are_counted_by_status_and_stubs_are_not(projection: Database, jobs: dict[str, UUID]) -> None:
    unfinished = await statistics.unfinished(projection)
    assert unfinished == {JobStatus.PENDING: exactly(1), JobStatus.FAILED: exactly(1)}
    assert await statistics.by_status(projection, unfinished) == {
        JobStatus.PENDING: exactly(1),
        JobStatus.PROCESSED: exactly(1),
        JobStatus.FAILED: exactly(4),
        JobStatus.CANCELLED: exactly(0),
    }
    oldest = await statistics.oldest_unfinished(projection)
    assert oldest is not None
    assert (oldest.id, oldest.type) == (jobs["waits"], "order")


async def test_what_ended_lately_is_told_in_windows(projection: Database, jobs: dict[str, UUID]) -> None:
    recent = await statistics.recently_ended(projection, NOW / 1000)
    assert recent.minute == Window(60.0, 2, 1, 5, 1)
    assert recent.hour == Window(3600.0, 3, 2, 7, 3)
    assert recent.failures == {"order": 1, "audit": 1}


async def test_nothing_is_told_of_nothing(projection: Database) -> None:
    unfinished = await statistics.unfinished(projection)
    assert list((await statistics.by_status(projection, unfinished)).values()) == [exactly(0)] * len(JobStatus)
    assert await statistics.oldest_unfinished(projection) is None
    assert (await statistics.recently_ended(projection, NOW / 1000)).hour == Window(3600.0, 0, 0, 0, 0)


MANY = text("""
    INSERT INTO jobs (id, inserted_at, updated_at, ended_at, status, type, total, ended, meta)
    SELECT gen_random_uuid(), moment, moment, CASE WHEN n % 2 = 0 THEN moment END,
        CASE WHEN n % 2 = 0 THEN 'PROCESSED' ELSE 'PENDING' END, 'load', 1, (n + 1) % 2, '{}'
    FROM (SELECT n, to_timestamp(CAST(:now AS float8) - n * 0.01) AS moment FROM generate_series(1, :many) n) made
""")


@pytest.fixture
async def many(projection: Database) -> int:
    """Half of them ended, fifty a second."""
    many = 5 * statistics.MOST
    await projection.fetch(MANY, {"now": NOW / 1000, "many": many})
    await projection.fetch(text("ANALYZE jobs"))
    return many


async def test_many_are_estimated_and_the_window_is_as_long_as_what_is_looked_at(
    projection: Database, many: int
) -> None:
    unfinished = await statistics.unfinished(projection)
    found = unfinished | await statistics.by_status(projection, unfinished)
    for status in (JobStatus.PENDING, JobStatus.PROCESSED):
        assert not found[status].exact
        assert found[status].value == pytest.approx(many / 2, rel=0.1)
    recent = await statistics.recently_ended(projection, NOW / 1000)
    assert recent.minute == Window(60.0, 2999, 0, 2999, 0)
    assert recent.hour.jobs == statistics.MOST
    assert recent.hour.seconds == pytest.approx(statistics.MOST / 50, abs=0.1)


async def test_no_question_reads_more_rows_than_it_may(projection: Database, many: int) -> None:
    """Also right after a burst of which PostgreSQL's statistics know nothing yet."""
    await projection.fetch(text("UPDATE jobs SET ended_at = inserted_at, status = 'PROCESSED' WHERE ended_at IS NULL"))
    for question, parameters in (
        (statistics._UNFINISHED, {}),
        (statistics._OLDEST, {}),
        (statistics._RECENTLY_ENDED, {"minute": NOW / 1000 - 60, "hour": NOW / 1000 - 3600}),
    ):
        plan = await explained(projection, question, parameters)
        assert "ended_at_inserted_at_idx" in plan, plan
        assert "Seq Scan" not in plan, plan


async def explained(database: Database, question: SelectBase, parameters: dict[str, float]) -> str:
    compiled = question.compile(dialect=PGDialect_psycopg2())  # type: ignore[no-untyped-call]
    plan = text("EXPLAIN " + re.sub(r"%\((\w+)\)s", r":\1", compiled.string))
    rows = await database.fetch(plan, compiled.construct_params(parameters))
    return "\n".join(row["QUERY PLAN"] for row in rows)
