"""What an operator asks PostgreSQL at a look: one function each, one sentence each, each of them bounded.

No question looks at more than ``MOST`` rows, however many there are; where that is not enough PostgreSQL estimates, and
the answer says so.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Double, bindparam, func, select

from jabba.database.connection import Database, Row
from jabba.database.schema import jobs
from jabba.jobs.lifecycle import JobStatus
from jabba.jobs.pages import Count

MOST = 20_000
"""So many jobs at most are looked at."""

_MINUTE = 60.0
_HOUR = 3600.0
_TYPES_TOLD = 50


@dataclass(frozen=True, slots=True)
class Oldest:
    """The job that has been unfinished for longest."""

    id: UUID
    type: str
    inserted_at: datetime


@dataclass(frozen=True, slots=True)
class Window:
    """The jobs that ended within the last ``seconds``, and their tasks; how many of them had no success."""

    seconds: float
    jobs: int
    failed_jobs: int
    tasks: int
    unsuccessful_tasks: int


@dataclass(frozen=True, slots=True)
class Recent:
    """What ended lately, in windows; and how many jobs of the longer one have failed, by type, most of all first."""

    minute: Window
    hour: Window
    failures: dict[str, int]


async def unfinished(database: Database) -> dict[JobStatus, Count]:
    """Return how many jobs have not ended, by status: those of which a task has failed are FAILED already."""
    found = {row["status"]: row["count"] for row in await database.fetch(_UNFINISHED)}
    if sum(found.values()) <= MOST:
        return {
            status: Count(value=found.get(status, 0), exact=True) for status in (JobStatus.PENDING, JobStatus.FAILED)
        }
    failed = found.get(JobStatus.FAILED, 0) / sum(found.values())
    about = max(MOST, await database.estimate(_ALL_UNFINISHED))
    return {
        JobStatus.PENDING: Count(value=round(about * (1 - failed)), exact=False),
        JobStatus.FAILED: Count(value=round(about * failed), exact=False),
    }


async def by_status(database: Database, open_ones: Mapping[JobStatus, Count]) -> dict[JobStatus, Count]:
    """Return how many jobs there are of each status, given how many of them have not ended."""
    found = {row["status"]: row["count"] for row in await database.fetch(_BY_STATUS)}
    if sum(found.values()) <= MOST:
        return {status: Count(value=found.get(status, 0), exact=True) for status in JobStatus}
    about = {status: await database.estimate(alike) for status, alike in _ENDED_BY_STATUS.items()}
    return {JobStatus.PENDING: open_ones[JobStatus.PENDING]} | {
        status: Count(value=value, exact=False) for status, value in about.items()
    }


async def oldest_unfinished(database: Database) -> Oldest | None:
    """Return the job that has been unfinished for longest."""
    found = await database.fetch(_OLDEST)
    return Oldest(found[0]["id"], found[0]["type"], found[0]["inserted_at"]) if found else None


async def recently_ended(database: Database, now: float) -> Recent:
    """Return what ended in the last minute and hour, or in as much of them as the last ``MOST`` jobs fill."""
    rows = await database.fetch(_RECENTLY_ENDED, {"minute": now - _MINUTE, "hour": now - _HOUR})
    reach = now - min(row["since"] for row in rows) if sum(row["jobs"] for row in rows) >= MOST else _HOUR
    failed: Counter[str] = Counter()
    for row in rows:
        failed[row["type"]] += row["failed_jobs"]
    return Recent(
        _window(min(_MINUTE, reach), [row for row in rows if row["within_minute"]]),
        _window(min(_HOUR, reach), rows),
        {kind: count for kind, count in failed.most_common(_TYPES_TOLD) if count},
    )


def _window(seconds: float, rows: Iterable[Row]) -> Window:
    sums: Counter[str] = Counter()
    for row in rows:
        sums.update({name: int(row[name]) for name in _SUMMED})
    return Window(seconds, *(sums[name] for name in _SUMMED))


_SHOWN = jobs.c.meta.is_not(None)

# In the order of an index, whatever the planner believes of how many there are.
_UNFINISHED_IN_ORDER = (
    select(jobs.c.id, jobs.c.type, jobs.c.status, jobs.c.inserted_at)
    .where(jobs.c.ended_at.is_(None), _SHOWN)
    .order_by(jobs.c.ended_at, jobs.c.inserted_at)
)

_ALL_UNFINISHED = select(jobs.c.id).where(jobs.c.ended_at.is_(None))

_FIRST_UNFINISHED = _UNFINISHED_IN_ORDER.limit(MOST + 1).subquery()
_UNFINISHED = select(_FIRST_UNFINISHED.c.status, func.count().label("count")).group_by(_FIRST_UNFINISHED.c.status)

_OLDEST = _UNFINISHED_IN_ORDER.limit(1)

_FIRST = select(jobs.c.status).where(_SHOWN).limit(MOST + 1).subquery()
_ENDED_BY_STATUS = {
    status: select(jobs.c.id).where(jobs.c.status == status) for status in JobStatus if status is not JobStatus.PENDING
}
_BY_STATUS = select(_FIRST.c.status, func.count().label("count")).group_by(_FIRST.c.status)

_LAST_ENDED = (
    select(jobs)
    .where(jobs.c.ended_at > func.to_timestamp(bindparam("hour", type_=Double)), _SHOWN)
    .order_by(jobs.c.ended_at.desc())
    .limit(MOST)
    .subquery()
)
_WITHIN_MINUTE = _LAST_ENDED.c.ended_at > func.to_timestamp(bindparam("minute", type_=Double))
_SUMMED = ("jobs", "failed_jobs", "tasks", "unsuccessful_tasks")
_RECENTLY_ENDED = select(
    func.coalesce(_LAST_ENDED.c.type, "").label("type"),
    _WITHIN_MINUTE.label("within_minute"),
    func.extract("epoch", func.min(_LAST_ENDED.c.ended_at)).cast(Double).label("since"),
    func.count().label("jobs"),
    func.count().filter(_LAST_ENDED.c.status == JobStatus.FAILED).label("failed_jobs"),
    func.sum(_LAST_ENDED.c.ended).label("tasks"),
    func.sum(_LAST_ENDED.c.unsuccessful).label("unsuccessful_tasks"),
).group_by("type", "within_minute")
