"""Partitions come and go, and no row is lost that should be kept."""

import asyncio
from contextlib import suppress
from functools import partial
from typing import Any
from uuid import UUID

import psycopg2.errors
import pytest
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.dialects.postgresql.psycopg2 import PGDialect_psycopg2

from jabba.database import partitions, queries
from jabba.database.connection import Database
from jabba.database.schema import tasks
from jabba.database.search_sql import compile_search
from jabba.database.weeks import MILLISECONDS, Week
from jabba.jobs import ids
from jabba.jobs.lifecycle import TasksAborted, TaskSucceeded
from jabba.projection.retention import Upkeep
from jabba.projection.statements import MAKE_NEXT_DUE, WRITE_TASKS
from jabba.search import JOBS, TASKS, Collection, parse_search
from jabba.settings import Settings
from tests.support.clocks import HandClock
from tests.support.logged import logged
from tests.support.processes import eventually
from tests.support.projecting import NOW, facts, job_row, job_spec, project, slices_of, statuses, task_rows, version

DAY = 24 * 3600 * 1000


class Keeper:
    """The upkeep of one database by a clock of its own; keeps jobs for ten days."""

    def __init__(self, dsn: str, keep_days: int = 10) -> None:
        self.clock = HandClock(NOW / 1000)
        self._settings = Settings(database=SecretStr(dsn), keep_days=keep_days)

    async def look(self, after_days: int = 0) -> None:
        self.clock.seconds = (NOW + after_days * DAY) / 1000
        await Upkeep(self._settings, self.clock).look()


@pytest.fixture
def keeper(migrated: str) -> Keeper:
    return Keeper(migrated)


async def submit(database: Database, at: int = NOW, count: int = 2) -> UUID:
    """Project a submission of this moment."""
    job = ids.new_job_id(at / 1000)
    await project(database, facts(slices_of(job, job_spec(count)), at))
    return job


async def end(database: Database, job: UUID, at: int = NOW, count: int = 2) -> None:
    await project(database, facts([TaskSucceeded(job, index, version(index), 1) for index in range(count)], at))


async def ended_job(database: Database, at: int = NOW) -> UUID:
    job = await submit(database, at)
    await end(database, job, at)
    return job


async def places(database: Database, job: UUID) -> set[str]:
    """Return the partitions that have rows of a job."""
    named = "SELECT tableoid::regclass::text AS name FROM"
    both = text(f"{named} jobs WHERE id = :job UNION {named} tasks WHERE job_id = :job")
    return {row["name"] for row in await database.fetch(both, {"job": str(job)})}


def of_week(moment: int) -> set[str]:
    word = Week.at(moment).word
    return {f"jobs_{word}", f"tasks_{word}"}


OF_NO_WEEK = {"jobs_default", "tasks_default"}


async def test_rows_move_from_the_default_partitions_when_theirs_are_made(projection: Database, keeper: Keeper) -> None:
    early = await submit(projection)
    others = await submit(projection, NOW + 100 * DAY)
    before = (await job_row(projection, early), await task_rows(projection, early))
    assert await places(projection, early) == OF_NO_WEEK

    await keeper.look()

    assert await places(projection, early) == of_week(NOW)
    assert await places(projection, others) == OF_NO_WEEK
    assert (await job_row(projection, early), await task_rows(projection, early)) == before
    assert await places(projection, await submit(projection)) == of_week(NOW)
    await end(projection, early)
    assert (await job_row(projection, early))["status"] == "PROCESSED"


async def test_a_row_that_moves_is_never_missed(projection: Database, migrated: str) -> None:
    """Not even by one who reads while the partition is put in place: it has the old ones in mind, and the new rows."""
    job = await submit(projection)
    async with Database(migrated) as database:
        while not await partitions.made_weeks(database):
            async with database.transaction() as holder:
                await holder.execute(text("LOCK TABLE jobs_default IN ACCESS SHARE MODE"))
                making = asyncio.create_task(_make(migrated, Week.of(job)))
                await eventually(partial(_are_waiting, database, 1, making), what="partition that waits for its place")
                reading = asyncio.create_task(queries.get_job(projection, job))
                await eventually(partial(_are_waiting, database, 2, making), what="reader that waits")
            await making
            assert await reading is not None


async def _make(dsn: str, week: Week) -> None:
    async with Database(dsn) as database:
        with suppress(psycopg2.errors.LockNotAvailable):
            await partitions.make(database, week)


async def _are_waiting(database: Database, count: int, making: "asyncio.Task[None]") -> bool:
    """Return whether so many wait for tables, or it is no use, for the partition was not made in time."""
    waiting = text("SELECT count(DISTINCT pid) AS waiting FROM pg_locks WHERE NOT granted AND locktype = 'relation'")
    return making.done() or bool((await database.fetch(waiting))[0]["waiting"] >= count)


async def test_partitions_reach_from_what_the_log_holds_to_some_weeks_ahead(
    projection: Database, keeper: Keeper
) -> None:
    await keeper.look()
    made = await partitions.made_weeks(projection)

    assert made[0].end > NOW - 8 * DAY >= made[0].start
    assert made[-1].end > NOW + 21 * DAY >= made[-1].start
    assert [week.next for week in made[:-1]] == made[1:]
    await keeper.look()
    assert await partitions.made_weeks(projection) == made


async def test_several_projectors_may_look_at_once_while_another_writes(projection: Database, migrated: str) -> None:
    async def write() -> list[UUID]:
        return [await ended_job(projection) for _ in range(30)]

    writing = asyncio.create_task(write())
    await asyncio.gather(*(Keeper(migrated).look() for _ in range(4)))
    written = await writing
    await Keeper(migrated).look()

    assert Week.at(NOW) in await partitions.made_weeks(projection)
    for job in written:
        assert await places(projection, job) == of_week(NOW)
        assert (await job_row(projection, job))["status"] == "PROCESSED"


async def test_a_week_is_dropped_once_it_is_older_than_it_is_kept(projection: Database, keeper: Keeper) -> None:
    old, young = await ended_job(projection), await ended_job(projection, NOW + 8 * DAY)
    for day in (0, 8, 10):
        await keeper.look(day)
        assert await queries.get_job(projection, old) is not None

    await keeper.look(17)

    assert await queries.get_job(projection, old) is None
    assert await task_rows(projection, old) == []
    assert await places(projection, young) == of_week(NOW + 8 * DAY)
    assert Week.at(NOW) not in await partitions.made_weeks(projection)


async def test_a_job_that_has_not_ended_is_kept_and_the_others_are_deleted(
    projection: Database, keeper: Keeper
) -> None:
    await keeper.look()
    ended = [await ended_job(projection) for _ in range(3)]
    waiting = await submit(projection)

    await keeper.look(30)

    assert [await queries.get_job(projection, job) for job in ended] == [None] * 3
    assert await statuses(projection, waiting) == ["PENDING", "NEW"]
    (count,) = await projection.fetch(text("SELECT count(*) FROM tasks"))
    assert count == {"count": 2}

    await end(projection, waiting, NOW + 30 * DAY)
    await keeper.look(30)
    assert await queries.get_job(projection, waiting) is None
    assert Week.at(NOW) not in await partitions.made_weeks(projection)


async def test_many_ended_jobs_beside_one_that_waits_are_deleted(
    projection: Database, keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partitions, "_DELETED_JOBS", 2)
    await keeper.look()
    waiting = await submit(projection)
    for _ in range(7):
        await ended_job(projection)

    await keeper.look(30)

    assert [job.id for job in await queries.search_jobs(projection, parse_search({}, JOBS))] == [waiting]


async def test_what_is_in_no_week_is_deleted_when_it_has_expired(projection: Database, keeper: Keeper) -> None:
    old, waiting, young = await ended_job(projection), await submit(projection), await ended_job(projection, NOW + DAY)

    await keeper.look(30)
    assert [await queries.get_job(projection, job) for job in (old, young)] == [None, None]
    assert await places(projection, waiting) == OF_NO_WEEK


async def test_what_is_told_of_a_dropped_job_does_not_stay(projection: Database, keeper: Keeper) -> None:
    job = await ended_job(projection)
    await keeper.look()
    await keeper.look(17)
    assert await places(projection, job) == set()

    for _ in range(2):
        late = [TasksAborted(job, 0, version(9), 2)]
        await project(projection, facts(late, NOW + 17 * DAY))
        await keeper.look(17)
        assert await places(projection, job) == OF_NO_WEEK
        assert await queries.get_job(projection, job) is None
    await keeper.look(28)

    assert await places(projection, job) == set()


async def test_without_a_limit_nothing_is_dropped(projection: Database, migrated: str) -> None:
    keeper = Keeper(migrated, keep_days=0)
    await keeper.look()
    inside, outside = await ended_job(projection), await ended_job(projection, NOW - 50 * DAY)

    await keeper.look(5000)

    assert await places(projection, inside) == of_week(NOW)
    assert await places(projection, outside) == OF_NO_WEEK


async def test_a_lock_that_somebody_holds_is_not_waited_for(
    projection: Database, keeper: Keeper, caplog: pytest.LogCaptureFixture
) -> None:
    await keeper.look()
    job = await ended_job(projection)
    async with projection.transaction() as reader:
        await reader.execute(text("SELECT count(*) FROM jobs"))
        await keeper.look(17)
        assert 'duty="drop expired jobs"' in logged(caplog)
        assert "lock timeout" in logged(caplog)
        assert await queries.get_job(projection, job) is not None

    await keeper.look(17)
    assert await queries.get_job(projection, job) is None


async def test_a_user_who_owns_no_tables_projects_into_the_default_ones(
    projection: Database, migrated: str, caplog: pytest.LogCaptureFixture
) -> None:
    role = f"writer_{ids.new_job_id(0).hex}"
    await projection.fetch(text(f"CREATE ROLE {role} LOGIN PASSWORD 'w'"))
    await projection.fetch(text(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}"))
    try:
        _, _, place = migrated.partition("@")
        dsn = f"postgresql://{role}:w@{place}"
        await Keeper(dsn).look()
        assert 'duty="create partitions"' in logged(caplog)
        async with Database(dsn) as writer:
            assert await places(writer, await ended_job(writer)) == OF_NO_WEEK
    finally:
        await projection.fetch(text(f"DROP OWNED BY {role}"))
        await projection.fetch(text(f"DROP ROLE {role}"))


async def test_the_planner_knows_how_much_there_is_in_all_partitions(projection: Database, keeper: Keeper) -> None:
    known = text("SELECT reltuples FROM pg_class WHERE oid = 'tasks'::regclass")
    await keeper.look()
    await submit(projection, count=2000)

    async def counted() -> bool:
        await keeper.look()
        return bool((await projection.fetch(known))[0]["reltuples"] == 2000)

    await eventually(counted, 60, "count of rows")


async def planned_for(database: Database, statement: Any, given: dict[str, str], moment: int) -> bool:
    """Return whether a statement is planned for the partitions of this week and of no other."""
    compiled = statement.compile(dialect=PGDialect_psycopg2())  # type: ignore[no-untyped-call]
    literals = {**compiled.params, **given}
    lists = {name: f"{{{','.join(value)}}}" for name, value in literals.items() if isinstance(value, list)}
    values = {name: f"'{value}'" for name, value in {**literals, **lists}.items()}
    plan = await database.fetch(text("EXPLAIN " + (str(compiled) % values).replace(":", r"\:")))
    told = "\n".join(row["QUERY PLAN"] for row in plan)
    others = ("default", *(Week.at(moment + weeks * MILLISECONDS).word for weeks in (-1, 1)))
    return Week.at(moment).word in told and not any(word in told for word in others)


async def test_a_batch_is_planned_for_the_week_of_its_jobs(projection: Database, keeper: Keeper) -> None:
    await keeper.look()
    wanted = sorted(str(ids.new_job_id(NOW / 1000)) for _ in range(3))
    span = {"first_job": wanted[0], "last_job": wanted[-1]}

    assert await planned_for(projection, WRITE_TASKS, {"tasks": "[]", "offsets": "[]", **span}, NOW)
    assert await planned_for(projection, MAKE_NEXT_DUE, {"jobs": f"{{{','.join(wanted)}}}", **span}, NOW)


@pytest.mark.parametrize("rule", ["equal", "in"])
async def test_a_task_is_looked_for_in_the_week_of_its_id(projection: Database, keeper: Keeper, rule: str) -> None:
    await keeper.look()
    job = await submit(projection)
    task = ids.task_id(job, 1)
    search = parse_search({"filter": [["id", rule, str(task) if rule == "equal" else [str(task)]]]}, TASKS)

    assert [found.id for found in await queries.search_tasks(projection, search)] == [task]
    assert await planned_for(projection, compile_search(search, tasks, [tasks.c.id]).limit(None).offset(None), {}, NOW)


@pytest.mark.parametrize("collection, search", [(JOBS, queries.search_jobs), (TASKS, queries.search_tasks)])
async def test_ids_are_looked_for_and_left_out_in_all_weeks(
    projection: Database, keeper: Keeper, collection: Collection, search: Any
) -> None:
    await keeper.look()
    for days in (0, 7, 14, 100):
        await submit(projection, NOW + days * DAY)
    everything = [one.id for one in await search(projection, parse_search({}, collection))]
    some = everything[1::3]

    for rule, expected in (("in", set(some)), ("equal_one_of", set(some)), ("not_in", set(everything) - set(some))):
        found = await search(projection, parse_search({"filter": [["id", rule, list(map(str, some))]]}, collection))
        assert {one.id for one in found} == expected
