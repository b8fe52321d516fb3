"""The partitions of jobs and tasks: made for coming weeks, emptied and dropped when they have expired.

A partition is ``jobs_20261123`` with its ``tasks_20261123``, named by its Monday. What is in no week that has one is in
``jobs_default`` and ``tasks_default``. Whatever needs a lock waits a moment for it and gives up: everyone else would
wait behind it.
"""

import logging
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    CTE,
    MetaData,
    Select,
    Table,
    Text,
    TextClause,
    bindparam,
    delete,
    func,
    literal,
    or_,
    select,
    text,
)

from jabba.database.connection import Database, Transaction
from jabba.database.schema import jobs, tasks
from jabba.database.weeks import Week

logger = logging.getLogger(__name__)

DEFAULT = "default"
"""The word of the partitions of what is in no week that has one."""

_LOCK = 4_771_902_204
"""Any number of our own: one projector at a time changes partitions."""

_KEYS = {"jobs": "id", "tasks": "job_id"}
_DELETED_JOBS = 100


async def made_weeks(database: Database) -> list[Week]:
    """Return the weeks that have partitions, oldest first."""
    found = (Week.named(row["name"].removeprefix("jobs_")) for row in await database.fetch(_PARTITIONS))
    return sorted(week for week in found if week is not None)


async def make(database: Database, week: Week) -> None:
    """Make a week's partitions, and move into them what is in the default ones; nobody sees it half done.

    Raises:
        psycopg2.Error: somebody holds a lock for too long.
        Unavailable: this user may not do it.
    """
    async with database.transaction() as transaction:
        if not await _take_turn(transaction) or await _is_there(transaction, week):
            return
        await _keep_writers_out(transaction)
        for statement in (*_making("jobs", week), *_making("tasks", week)):
            await transaction.execute(statement)
        await _keep_everyone_out(transaction)
        for table in _KEYS:
            await transaction.execute(_attaching(table, week))
    logger.info("partitions of the week of %s are made", week.word)


async def drop(database: Database, week: Week) -> bool:
    """Drop a week's partitions, unless somebody else is about to; answer False if some of its jobs have not ended.

    Raises:
        psycopg2.Error: somebody holds a lock for too long.
        Unavailable: this user may not do it.
    """
    async with database.transaction() as transaction:
        if not await _take_turn(transaction) or not await _is_there(transaction, week):
            return True
        open_jobs = _open_jobs(_part(jobs, week.word))
        if await transaction.execute(open_jobs):
            return False
        await _keep_writers_out(transaction)
        if await transaction.execute(open_jobs):
            return False
        await transaction.execute(text(f"DROP TABLE jobs_{week.word}, tasks_{week.word}"))
    logger.info("partitions of the week of %s are dropped", week.word)
    return True


async def delete_ended(database: Database, word: str, before: datetime, behind: UUID) -> UUID | None:
    """Delete the next jobs behind an id that have ended, and stubs, if they came before a moment.

    Answers the id of the last one, None when there was none.
    """
    job, task = _part(jobs, word), _part(tasks, word)
    gone = _deleted_jobs(job)
    their_tasks = delete(task).where(task.c.job_id.in_(select(gone.c.id))).returning(task.c.job_id).cte("their_tasks")
    statement = select(gone.c.id).order_by(gone.c.id.desc()).limit(1).add_cte(their_tasks)
    found = await database.fetch(statement, {"before": before, "behind": str(behind), "limit": _DELETED_JOBS})
    return found[0]["id"] if found else None


async def analyse_grown(database: Database) -> None:
    """Count rows again for the planner when there are many more than it knows: for a whole table nothing else does."""
    for table in _KEYS:
        (size,) = await database.fetch(_SIZE, {"table": table})
        if size["now"] > size["known"] * 1.2 + 1000:
            await database.fetch(text(f"ANALYZE {table}"))


def _deleted_jobs(job: Table) -> CTE:
    expired = (
        select(job.c.id)
        .where(job.c.id > bindparam("behind", type_=Text), job.c.inserted_at < bindparam("before"))
        .where(or_(job.c.ended_at.is_not(None), job.c.meta.is_(None)))
        .order_by(job.c.id)
        .limit(bindparam("limit"))
        .with_for_update(skip_locked=True)
    )
    return delete(job).where(job.c.id.in_(expired)).returning(job.c.id).cte("gone")


def _part(table: Table, word: str) -> Table:
    return table.to_metadata(MetaData(), name=f"{table.name}_{word}")


def _open_jobs(job: Table) -> Select[Any]:
    return select(literal(1)).where(job.c.ended_at.is_(None), job.c.meta.is_not(None)).limit(1)


async def _take_turn(transaction: Transaction) -> bool:
    """Return whether no other projector changes partitions; until the commit, none will."""
    await transaction.execute(_PATIENCE)
    return bool((await transaction.execute(_TURN))[0]["ours"])


async def _keep_writers_out(transaction: Transaction) -> None:
    """Let the writers that are at it end, and the next ones wait for the commit: each has chosen its partitions by now.

    One that came later would write to a partition that no longer is the right one, and fail. Readers are not hindered.
    """
    await transaction.execute(_NO_WRITERS)


async def _keep_everyone_out(transaction: Transaction) -> None:
    """Let the readers that are at it end, too, for the moment in which a partition is put in its place.

    One that has chosen its partitions before, and looks into them later, would find a row that has moved in none.
    """
    await transaction.execute(_NOBODY)


async def _is_there(transaction: Transaction, week: Week) -> bool:
    return bool((await transaction.execute(_IS_THERE, {"table": f"jobs_{week.word}"}))[0]["is_there"])


def _making(table: str, week: Week) -> Iterator[TextClause]:
    part, key = f"{table}_{week.word}", _KEYS[table]
    first, last = week.first_id, week.last_id
    yield text(f"CREATE TABLE {part} (LIKE {table} INCLUDING ALL)")
    yield text(
        f"WITH moved AS (DELETE FROM {table}_default WHERE {key} BETWEEN '{first}' AND '{last}' RETURNING *)"  # noqa: S608
        f" INSERT INTO {part} SELECT * FROM moved"
    )


def _attaching(table: str, week: Week) -> TextClause:
    bounds = f"FROM ('{week.first_id}') TO ('{week.next.first_id}')"
    return text(f"ALTER TABLE {table} ATTACH PARTITION {table}_{week.word} FOR VALUES {bounds}")


# Less than the second after which PostgreSQL looks for deadlocks: whoever met one with us never has to give way.
_PATIENCE = text("SET LOCAL lock_timeout = '500ms'")

_TURN = text(f"SELECT pg_try_advisory_xact_lock({_LOCK}) AS ours")

_NO_WRITERS = text("LOCK TABLE ONLY jobs, ONLY tasks IN SHARE ROW EXCLUSIVE MODE")

_NOBODY = text("LOCK TABLE ONLY jobs, ONLY tasks IN ACCESS EXCLUSIVE MODE")

_PARTITIONS = text("""
    SELECT relname AS name FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
    WHERE inhparent = 'jobs'::regclass
""")

_IS_THERE = select(func.to_regclass(bindparam("table", type_=Text)).is_not(None).label("is_there"))

_SIZE = text("""
    SELECT greatest(max(parent.reltuples), 0) AS known, coalesce(sum(pg_stat_get_live_tuples(inhrelid)), 0) AS now
    FROM pg_class AS parent LEFT JOIN pg_inherits ON inhparent = parent.oid
    WHERE parent.oid = CAST(:table AS regclass)
""")
