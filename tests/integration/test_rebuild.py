"""The projection is made anew beside the live one, and takes its place while everything goes on."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from aiohttp import ClientSession
from sqlalchemy import text

from jabba.clock import SystemClock
from jabba.database.connection import Database, Row
from jabba.errors import NotReady
from jabba.projection.projector import Projector
from jabba.projection.rebuild.rebuild import Rebuild, Rebuilt
from jabba.settings import Settings
from tests.support.disks import file_size_limit
from tests.support.http import get, post, serving
from tests.support.processes import eventually, jabba_process
from tests.support.projecting import job_row, statuses
from tests.support.sending import Sender, running, succeeded, working
from tests.support.verifying import (
    Load,
    forget_log,
    plant_differences,
    plant_strangers,
    project_all,
    send_load,
    verified,
)

JOBS = 20


@pytest.fixture
async def load(installed: Settings, sender: Sender) -> Load:
    """Jobs of every kind, projected."""
    load = await send_load(sender)
    await project_all(installed)
    return load


async def rebuilt(settings: Settings, *, swap: bool = True, keep: bool = False) -> Rebuilt:
    async with Rebuild(settings, SystemClock(), lambda *_: None) as rebuild:
        return await rebuild.run(lambda _: None, swap=swap, keep=keep)


async def schemas(database: Database) -> list[str]:
    """Return the schemas that rebuilds have made."""
    found = await database.fetch(text("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'jabba%' ORDER BY nspname"))
    return [row["nspname"] for row in found]


async def test_whatever_was_changed_is_as_the_log_says_and_what_is_no_projection_is_left_alone(
    installed: Settings, load: Load, projection: Database
) -> None:
    for statement in (
        "CREATE TABLE others AS SELECT 17 AS number",
        "GRANT SELECT ON jobs, tasks TO pg_read_all_stats",
        "INSERT INTO projection_offsets VALUES ('else-tasks', 3, 44)",
    ):
        await projection.fetch(text(statement))
    before = await definitions(projection)
    await plant_differences(projection, load)
    phantom, _orphan = await plant_strangers(projection, load)
    assert (await verified(installed))[0].differences == 20

    rehearsed = await rebuilt(installed, swap=False)
    assert (rehearsed.swapped, rehearsed.kept, rehearsed.dropped) == (False, 0, [phantom])
    assert (rehearsed.report.jobs, rehearsed.report.differences) == (9, 0)
    assert (await verified(installed))[0].differences == 20
    assert await schemas(projection) == []

    done = await rebuilt(installed)
    assert (done.swapped, done.schema) == (True, None)
    report, found = await verified(installed)
    assert found == []
    assert (report.jobs, report.tasks) == (9, 653)
    assert await schemas(projection) == []
    assert await definitions(projection) == before
    assert await projection.fetch(text("SELECT number FROM others")) == [{"number": 17}]
    others = text("SELECT next_offset FROM projection_offsets WHERE topic = 'else-tasks'")
    assert await projection.fetch(others) == [{"next_offset": 44}]


async def definitions(database: Database) -> list[Row]:
    """Return everything there is in the schema, and who may do what with it."""
    return await database.fetch(
        text("""
            SELECT relname, relkind, CAST(relacl AS text) AS rights, CASE WHEN relkind IN ('i', 'I')
                THEN pg_get_indexdef(oid) ELSE pg_get_expr(relpartbound, oid) END AS definition
            FROM pg_class WHERE relnamespace = CAST('public' AS regnamespace) ORDER BY relname
        """)
    )


async def test_the_replaced_tables_can_be_kept(installed: Settings, load: Load, projection: Database) -> None:
    await projection.fetch(text("UPDATE jobs SET name = 'before' WHERE id = :job"), {"job": str(load.failed)})

    done = await rebuilt(installed, keep=True)

    assert await schemas(projection) == [done.schema]
    kept = text(f"SELECT name FROM {done.schema}.jobs WHERE id = :job")  # noqa: S608 — a name of ours
    assert await projection.fetch(kept, {"job": str(load.failed)}) == [{"name": "before"}]
    assert (await job_row(projection, load.failed))["name"] is None
    again = await rebuilt(installed)
    assert again.swapped
    assert await schemas(projection) == [done.schema]


async def test_jobs_older_than_the_log_are_kept_and_go_on(
    installed: Settings, sender: Sender, load: Load, projection: Database
) -> None:
    """Also those whose events came before and after they were copied."""
    await forget_log(installed)
    await sender.events(succeeded(load.waiting, [0]))
    await project_all(installed)
    await sender.events(succeeded(load.waiting, [1]))
    for _ in range(JOBS):
        await sender.job(1)

    done = await rebuilt(installed)

    assert (done.swapped, done.kept >= 9, done.dropped) == (True, True, [])
    assert await statuses(projection, load.waiting) == ["PROCESSED", "PROCESSED", "PENDING"]
    row = await job_row(projection, load.waiting)
    assert (row["ended"], row["total"], row["meta"]) == (2, 3, {"request_id": "r-1"})
    assert await statuses(projection, load.failed) == ["PROCESSED", "FAILED", "ABORTED", "ABORTED", "ABORTED"]
    await sender.events(succeeded(load.waiting, [2]))
    await project_all(installed)
    assert (await job_row(projection, load.waiting))["status"] == "PROCESSED"
    report, found = await verified(installed)
    assert (report.jobs, found) == (JOBS + 1, [])


@asynccontextmanager
async def reading(http: ClientSession, job: UUID) -> AsyncIterator[list[tuple[int, Any]]]:
    """Ask everything that joins tables, on and on; return the answers."""
    answers: list[tuple[int, Any]] = []
    enough = asyncio.Event()
    of_tasks = {"filter": [["job", None, [["id", "equal", str(job)]]]]}
    of_jobs = {"filter": [["id", "equal", str(job)], ["tasks", None, [["status", "equal", "PROCESSED"]]]]}

    async def ask() -> None:
        while not enough.is_set():
            status, data = await get(http, f"/v1/jobs/{job}")
            answers.append((status, [data]))
            answers.append(await post(http, "/v1/jobs/search", of_jobs))
            status, data = await post(http, "/v1/tasks/search", of_tasks)
            answers.append((status, data[:1]))

    tasks = [asyncio.create_task(ask()) for _ in range(4)]
    try:
        yield answers
    finally:
        enough.set()
        await asyncio.gather(*tasks)


async def test_submissions_projection_and_reads_go_on_through_the_swap(
    installed: Settings, sender: Sender, load: Load, projection: Database, unused_tcp_port: int
) -> None:
    settings = installed.model_copy(update={"web_port": unused_tcp_port})
    async with serving(settings) as http, running(Projector(installed)), working(sender) as jobs:
        async with reading(http, load.processed) as answers:
            for _ in range(2):
                assert (await rebuilt(installed)).swapped
                await _go_on(jobs, answers)
        assert {status for status, _ in answers} == {200}
        assert {len(data) for _, data in answers} == {1}
    await project_all(installed)

    report, found = await verified(installed)
    assert found == []
    assert report.jobs >= 9 + len(jobs)
    for job in jobs:
        assert (await job_row(projection, job))["ended"] == 12


async def _go_on(jobs: list[UUID], answers: list[Any]) -> None:
    """Wait until more was submitted and answered."""
    before, asked = len(jobs), len(answers)

    async def ask() -> bool:
        return len(jobs) > before + 5 and len(answers) > asked + 12

    await eventually(ask, what="work and reads that go on")


async def test_one_that_is_killed_changes_nothing_and_one_at_a_time_is_at_work(
    installed: Settings, load: Load, projection: Database, tmp_path: Path
) -> None:
    environment = installed.as_environ()
    first, second, third = (
        jabba_process("rebuild", "--yes", environment=environment, log=tmp_path / str(number)) for number in range(3)
    )
    await projection.fetch(text("UPDATE jobs SET name = 'live' WHERE id = :job"), {"job": str(load.failed)})
    async with reading_for_long(installed):
        with first, second:
            first.start()
            await eventually(lambda: _waits(projection), 60, "swap that waits")
            assert second.start().wait_for_exit() == 3
            assert "another rebuild is at work" in second.output()
            first.kill()
    assert (await job_row(projection, load.failed))["name"] == "live"
    assert len(await schemas(projection)) == 1
    with third:
        assert third.start().wait_for_exit(60) == 0
    assert "the new projection is in its place" in third.output()
    assert await schemas(projection) == []
    assert (await verified(installed))[1] == []


@asynccontextmanager
async def reading_for_long(settings: Settings) -> AsyncIterator[None]:
    """Hold a swap up."""
    database = Database(settings.database.get_secret_value(), statement_seconds=300)
    async with database, database.transaction() as reader:
        await reader.execute(text("SELECT FROM jobs LIMIT 1"))
        yield


async def _waits(database: Database) -> bool:
    waiting = text("SELECT 1 FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'")
    return bool(await database.fetch(waiting))


async def test_when_the_disk_is_full_it_says_so_and_leaves_nothing_behind(
    installed: Settings, load: Load, projection: Database
) -> None:
    with file_size_limit(1000), pytest.raises(NotReady, match="TMPDIR"):
        await rebuilt(installed)
    assert await schemas(projection) == []
    assert (await verified(installed))[1] == []


async def test_rehearsal_from_the_command_line(installed: Settings, load: Load, tmp_path: Path) -> None:
    with jabba_process("rebuild", environment=installed.as_environ(), log=tmp_path / "log") as process:
        assert process.start().wait_for_exit(60) == 0
    assert "9 jobs with 653 tasks compared\nno difference\n" in process.output()
    assert "nothing was changed; --yes swaps" in process.output()
