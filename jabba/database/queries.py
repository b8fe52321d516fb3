"""Every question that PostgreSQL is asked: one function each, one sentence each. None of them shows a stub."""

import logging
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar
from uuid import UUID

from sqlalchemy import ARRAY, ColumnElement, Double, Table, Text, Uuid, and_, bindparam, cast, delete, func, select

from jabba.auth.roles import EVERY_TYPE, TypeScope
from jabba.database.connection import Database, Overdue, Row
from jabba.database.schema import jobs, projection_offsets, tasks
from jabba.database.search_sql import KEY, compile_matches, compile_search
from jabba.errors import TooExpensive
from jabba.jobs import ids
from jabba.jobs.lifecycle import FINAL, UNSUCCESSFUL, Strategy, TaskStatus
from jabba.jobs.models import Attempt, Job, JobSpec, Progress, Task, TaskDetails, TaskSpec
from jabba.jobs.pages import Count, Page
from jabba.search import Search, write_token

logger = logging.getLogger(__name__)

_JOB: list[ColumnElement[Any]] = [jobs.c[name] for name in Job.model_fields]
_TASK: list[ColumnElement[Any]] = [tasks.c[name] for name in Task.model_fields]
_SHOWN_JOB = jobs.c.meta.is_not(None)
_SHOWN_TASK = tasks.c.callback.is_not(None)
_PAGE = 100
_COUNTED = 10_000
"""So many items of a search are counted; of more the planner has an estimate."""

Model = TypeVar("Model", Job, Task)


@dataclass(frozen=True, slots=True)
class _Searched(Generic[Model]):
    """A table that is searched, what is answered of it, and what of it is shown at all."""

    table: Table
    model: type[Model]
    columns: list[ColumnElement[Any]]
    shown: ColumnElement[bool]


_JOBS = _Searched(jobs, Job, _JOB, _SHOWN_JOB)
_TASKS = _Searched(tasks, Task, _TASK, _SHOWN_TASK)


@dataclass(frozen=True, slots=True)
class Unfinished:
    """What is needed to submit a job again.

    ``run`` counts its submissions so far from 0, ``digest`` is the one of the first, ``ended`` holds the indices of the
    tasks that are over, and ``failed_at`` the first one that was unsuccessful.
    """

    id: UUID
    spec: JobSpec
    run: int
    digest: str
    ended: frozenset[int]
    failed_at: int | None


@dataclass(frozen=True, slots=True)
class Known:
    """A job, and the digest by which a repeat of its submission is recognised."""

    digest: str
    job: Job


@dataclass(frozen=True, slots=True)
class Incomplete:
    """A job of which slices are missing."""

    id: UUID
    run: int
    n_slices: int
    strategy: Strategy
    type: str


async def get_job(database: Database, job: UUID) -> Job | None:
    """Return a job, or None when there is none."""
    found = await database.fetch(_GET_JOB, {"id": str(job)})
    return Job(**found[0]) if found else None


async def get_progress(database: Database, job: UUID, types: TypeScope = EVERY_TYPE) -> Progress | None:
    """Return how far a job of these types has come, or None when there is none."""
    found = await database.fetch(_GET_PROGRESS, {"id": str(job)})
    return Progress(**found[0]) if found and types.allows(found[0].pop("type")) else None


async def search_jobs(database: Database, search: Search) -> Page[Job]:
    """Return the page of jobs that a search asks for.

    Raises:
        TooExpensive: PostgreSQL does not come to an end within the time limit of a query.
        Unavailable: it does not answer.
    """
    return await _page(database, search, _JOBS)


async def search_tasks(database: Database, search: Search) -> Page[Task]:
    """Return the page of tasks that a search asks for; it raises what ``search_jobs`` does."""
    return await _page(database, search, _TASKS)


async def get_task(database: Database, task: UUID, types: TypeScope) -> TaskDetails | None:
    """Return a task with the history of its attempts, of a job whose type is within ``types``; None without one."""
    for row in await database.fetch(_GET_TASK, {"id": str(task)}):
        if types.allows(row["type"]):
            return _task_details(row)
    return None


def _task_details(row: Row) -> TaskDetails:
    task = Task(**{name: row[name] for name in Task.model_fields})
    attempts = [_attempt(key, one) for key, one in (row["attempts"] or {}).items()]
    if task.began_at is not None or task.status in FINAL:
        last = Attempt(
            attempt=task.attempt,
            run=row["run"],
            started_at=task.began_at,
            ended_at=task.ended_at,
            outcome=_OUTCOMES.get(task.status),
            error=_sentence(task.result) if task.status in UNSUCCESSFUL else None,
            worker=task.worker,
        )
        same = next((n for n, one in enumerate(attempts) if (one.run, one.attempt) == (last.run, last.attempt)), None)
        if same is not None and attempts[same].error is None:
            attempts[same] = attempts[same].model_copy(update={"error": last.error, "ended_at": last.ended_at})
        elif same is None and task.status is not TaskStatus.ABORTED:
            attempts.append(last)
    return TaskDetails(**task.model_dump(), attempts=sorted(attempts, key=lambda one: (one.run, one.attempt)))


def _attempt(key: str, told: Mapping[str, Any]) -> Attempt:
    times = {"started_at": "began", "ended_at": "ended", "next_at": "next_at"}
    moments = {name: datetime.fromtimestamp(float(told[of]), UTC) for name, of in times.items() if of in told}
    others = {name: value for name, value in told.items() if name in Attempt.model_fields and name not in moments}
    return Attempt(**others, **moments, run=int(key.partition(".")[0]))


_OUTCOMES = {TaskStatus.PROCESSED: "ok", TaskStatus.FAILED: "error", TaskStatus.RESCUED: "raised"}


def _sentence(result: Any) -> str | None:
    error = result.get("error") if isinstance(result, dict) else None
    return error if isinstance(error, str) else None


async def projected_offsets(database: Database, topics: Iterable[str]) -> dict[tuple[str, int], int]:
    """Return per topic and partition the offset of the first message that is not projected yet."""
    found = await database.fetch(_OFFSETS, {"topics": list(topics)})
    return {(row["topic"], row["partition"]): row["next_offset"] for row in found}


async def is_projected(database: Database, topic: str, position: Mapping[int, int]) -> bool:
    """Return whether the messages at these offsets of the partitions of a topic, and all before, are projected."""
    reached = await projected_offsets(database, [topic])
    return all(reached.get((topic, partition), 0) > offset for partition, offset in position.items())


async def forget_offset(database: Database, topic: str, partition: int) -> None:
    """Forget how far a partition is projected, because its log begins anew."""
    await database.fetch(_FORGET_OFFSET, {"topic": topic, "partition": partition})


async def forget_offsets(database: Database) -> None:
    """Forget how far the log is projected, because another broker starts with an empty one."""
    await database.fetch(_FORGET_OFFSETS)


async def known_jobs(database: Database, ids: Iterable[UUID]) -> dict[UUID, Known]:
    """Return the jobs there are under some ids, each with the digest of its submission."""
    found = await database.fetch(_KNOWN_JOBS, {"ids": [str(job) for job in ids]})
    return {row["id"]: Known(row.pop("digest"), Job(**row)) for row in map(dict, found)}


async def incomplete_jobs(database: Database, before: float) -> list[Incomplete]:
    """Return jobs that cannot end, because slices are missing and none has come since ``before`` (epoch seconds)."""
    return [Incomplete(**row) for row in await database.fetch(_INCOMPLETE, {"before": before})]


async def unfinished_jobs(database: Database) -> AsyncIterator[Unfinished]:
    """Return the jobs that have not ended, oldest first, one at a time; those whose slices never all came are not."""
    last = UUID(int=0)
    while page := await database.fetch(_UNFINISHED, {"last": str(last), "limit": _PAGE}):
        for row in page:
            rows = await database.fetch(_ALL_TASKS, {"id": str(row["id"])})
            if len(rows) == row["total"]:
                yield _unfinished(row, rows)
            else:
                logger.warning(
                    "job %s has %d of its %d tasks: never submitted in full", row["id"], len(rows), row["total"]
                )
        last = page[-1]["id"]


async def _page(database: Database, search: Search, among: _Searched[Model]) -> Page[Model]:
    try:
        rows = await database.fetch(compile_search(search, among.table, among.columns).where(among.shown))
        total = await _count(database, search, among) if search.counted else None
    except Overdue as error:
        raise TooExpensive(f"the search takes too long, narrow it: {error}") from error
    shown = rows[: search.limit]
    following = _token(search, shown[-1]) if len(rows) > search.limit else None
    return Page((among.model(**row) for row in shown), next=following, total=total)


def _token(search: Search, row: Row) -> str:
    return write_token(search, [row[KEY.format(number)] for number, _ in enumerate(search.keys)])


async def _count(database: Database, search: Search, among: _Searched[Any]) -> Count:
    matches = compile_matches(search, among.table).where(among.shown)
    some = matches.limit(_COUNTED + 1).subquery()
    (counted,) = await database.fetch(select(func.count().label("counted")).select_from(some))
    if (value := counted["counted"]) <= _COUNTED:
        return Count(value=value, exact=True)
    return Count(value=max(value, await database.estimate(matches)), exact=False)


def _unfinished(job: Row, rows: list[Row]) -> Unfinished:
    specs = [
        TaskSpec(callback=row["callback"], name=row["name"], meta=row["meta"], **row["options"] or {}) for row in rows
    ]
    options = dict(job["options"] or {})
    if "deadline" in options:
        options["deadline"] -= ids.job_seconds(job["id"])
    given = {name: job[name] for name in ("id", "type", "strategy", "name", "meta")}
    spec = JobSpec(**given, tasks=specs, **options)
    ended = frozenset(row["position"] for row in rows if row["status"] in FINAL)
    failed_at = next((row["position"] for row in rows if row["status"] in UNSUCCESSFUL), None)
    return Unfinished(job["id"], spec, job["run"], job["digest"], ended, failed_at)


def _given(name: str) -> ColumnElement[Any]:
    return bindparam(name, type_=Text)


_GET_JOB = select(*_JOB).where(jobs.c.id == _given("id"), _SHOWN_JOB)

_GET_PROGRESS = select(jobs.c.type, jobs.c.total, jobs.c.ended, jobs.c.unsuccessful).where(
    jobs.c.id == _given("id"), _SHOWN_JOB
)

_GET_TASK = (
    select(*_TASK, tasks.c.attempts, tasks.c.run, jobs.c.type)
    .join_from(tasks, jobs, jobs.c.id == tasks.c.job_id)
    .where(tasks.c.id == _given("id"), _SHOWN_TASK, _SHOWN_JOB)
)

_OFFSETS = select(projection_offsets).where(projection_offsets.c.topic == func.any(bindparam("topics")))

_FORGET_OFFSET = delete(projection_offsets).where(
    projection_offsets.c.topic == _given("topic"), projection_offsets.c.partition == bindparam("partition")
)

_FORGET_OFFSETS = delete(projection_offsets)

_IDS = cast(bindparam("ids", type_=ARRAY(Text)), ARRAY(Uuid))

_KNOWN_JOBS = select(*_JOB, jobs.c.digest).where(jobs.c.id == func.any(_IDS), _SHOWN_JOB)

_ARRIVED = select(func.count()).where(tasks.c.job_id == jobs.c.id, _SHOWN_TASK).scalar_subquery()
_LAST_ARRIVED = select(func.max(tasks.c.inserted_at)).where(tasks.c.job_id == jobs.c.id).scalar_subquery()
_BEFORE = func.to_timestamp(bindparam("before", type_=Double))

_INCOMPLETE = (
    select(jobs.c.id, jobs.c.run, jobs.c.n_slices, jobs.c.strategy, jobs.c.type)
    .where(and_(jobs.c.ended_at.is_(None), jobs.c.n_slices > 1, jobs.c.inserted_at < _BEFORE))
    .where(and_(jobs.c.total > _ARRIVED, _LAST_ARRIVED < _BEFORE))
    .order_by(jobs.c.id)
    .limit(_PAGE)
)

_UNFINISHED = (
    select(jobs)
    .where(and_(jobs.c.ended_at.is_(None), _SHOWN_JOB, jobs.c.id > _given("last")))
    .order_by(jobs.c.id)
    .limit(bindparam("limit"))
)

_ALL_TASKS = select(tasks).where(tasks.c.job_id == _given("id"), _SHOWN_TASK).order_by(tasks.c.position)
