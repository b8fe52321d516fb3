"""How a batch is written: the statements of its transaction, in their order.

Doing it again changes nothing, and a slice and an event of one task may come in either order.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Text,
    Uuid,
    and_,
    bindparam,
    case,
    cast,
    func,
    literal_column,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB, Insert, insert
from sqlalchemy.sql.selectable import CTE

from jabba.database import audit
from jabba.database.bulk_rows import encoded, incoming_rows
from jabba.database.connection import Row, Transaction
from jabba.database.schema import jobs, projection_offsets, tasks
from jabba.errors import JabbaError
from jabba.jobs.lifecycle import FINAL, TASK_TRANSITIONS, UNSUCCESSFUL, JobStatus, Strategy, TaskStatus, precursors
from jabba.projection.fold import Batch

Offsets = Mapping[tuple[str, int], int]
"""Per topic and partition the offset of the message that comes next."""

JOB_COLUMNS = (
    *(jobs.c.id, jobs.c.inserted_at, jobs.c.run),
    *(jobs.c.n_slices, jobs.c.total, jobs.c.strategy, jobs.c.type, jobs.c.digest, jobs.c.options),
    *(jobs.c.name, jobs.c.meta),
    *(jobs.c.closed_at, jobs.c.reason),
)
TASK_COLUMNS = (
    *(tasks.c.id, tasks.c.job_id, tasks.c.position, tasks.c.inserted_at),
    *(tasks.c.priority, tasks.c.name, tasks.c.callback, tasks.c.meta, tasks.c.options),
    *(tasks.c.status, tasks.c.updated_at, tasks.c.ended_at, tasks.c.attempt, tasks.c.result),
    *(tasks.c.began_at, tasks.c.worker, tasks.c.run, tasks.c.epoch, tasks.c.seq, tasks.c.attempts),
)
SLICE_COLUMNS = ("n_slices", "total", "strategy", "type", "digest", "options", "name", "meta")
SPEC_COLUMNS = ("priority", "name", "callback", "meta", "options")
EVENT_COLUMNS = ("status", "updated_at", "ended_at", "attempt", "result", "began_at", "worker", "run", "epoch", "seq")

NO_OFFSETS: Offsets = {}

Execute = Callable[[Any, Mapping[str, Any]], Awaitable[list[Row]]]
"""Executes a statement, in a transaction or by itself, and answers its rows."""

_NOTHING: ColumnElement[Any] = literal_column("'{}'::jsonb", JSONB)


class WentBack(JabbaError):
    """PostgreSQL does not have what was written to it: it is a replica that had lagged, or was restored."""

    def __init__(self, topic: str, partition: int, needed: int, reached: int) -> None:
        super().__init__(f"{topic}[{partition}] was projected to {needed}, and is to {reached} now")


async def write(transaction: Transaction, batch: Batch, offsets: Offsets, needed: Offsets = NO_OFFSETS) -> None:
    """Write a batch and the offsets behind it, onto all that was written to ``needed``.

    Raises:
        ImpossibleFact: slices of the batch belong to another submission than those under the same id before.
        WentBack: what was written before is not there.
    """
    for known in await transaction.execute(LOCK_JOBS, {"jobs": encoded(batch.job_values())}):
        batch.jobs[known["id"]].check_digest(known["digest"])
    if needed:
        # Behind the first statement: who holds this table and waits for the others would keep a rebuild from swapping.
        await look_back(transaction.execute, needed)
    span = _span(batch.jobs)
    rows = {"tasks": encoded(batch.task_values()), "offsets": _encoded_offsets(offsets)}
    counted = await transaction.execute(WRITE_TASKS, rows | span)
    if batch.submitted:
        await transaction.execute(audit.ADD_SUBMISSIONS, {"submissions": encoded(batch.audit_values())})
    stepped = batch.stepped | {row["id"] for row in counted if row["goes_on"]}
    if stepped:
        await transaction.execute(MAKE_NEXT_DUE, {"jobs": "{" + ",".join(sorted(map(str, stepped))) + "}"} | span)


async def look_back(execute: Execute, needed: Offsets) -> None:
    """Make sure that all is there that was written; raises WentBack."""
    for row in await execute(BEHIND, {"needed": _encoded_offsets(needed)}):
        raise WentBack(row["topic"], row["partition"], row["needed"], row["reached"])


def _encoded_offsets(offsets: Offsets) -> str:
    return encoded([[topic, partition, offset] for (topic, partition), offset in sorted(offsets.items())])


def _span(batch: Iterable[UUID]) -> dict[str, str]:
    known = sorted(batch) or [UUID(int=0)]
    return {"first_job": str(known[0]), "last_job": str(known[-1])}


def _in_span(job: ColumnElement[Any]) -> ColumnElement[bool]:
    """Say between which ids the batch is: PostgreSQL then plans for the partition of its week, not for all."""
    first, last = (cast(bindparam(name, type_=Text), Uuid) for name in ("first_job", "last_job"))
    return job.between(first, last)


def _word(status: str) -> ColumnElement[str]:
    return literal_column(f"'{status}'", Text)


def _is_one_of(column: ColumnElement[Any], statuses: Iterable[str]) -> ColumnElement[bool]:
    return column.in_([_word(status) for status in sorted(statuses)])


def status_rule(
    known: ColumnElement[Any],
    total: ColumnElement[Any],
    ended: ColumnElement[Any],
    unsuccessful: ColumnElement[Any],
    closed_at: ColumnElement[Any],
) -> ColumnElement[Any]:
    """Say ``lifecycle.job_status`` in SQL; a cancelled job stays cancelled, and one that was closed has failed."""
    return case(
        (known == _word(JobStatus.CANCELLED), known),
        (or_(unsuccessful > 0, closed_at.is_not(None)), _word(JobStatus.FAILED)),
        (ended >= total, _word(JobStatus.PROCESSED)),
        else_=_word(JobStatus.PENDING),
    )


def _ended_at(
    closed_at: ColumnElement[Any], total: ColumnElement[Any], ended: ColumnElement[Any], last: ColumnElement[Any]
) -> ColumnElement[Any]:
    """Return when a job ended: when it was closed, else with its last task. The same in whatever order that is read."""
    return func.coalesce(closed_at, case((ended >= total, last)))


def _shown_as_it_is(closed_at: ColumnElement[Any], total: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return the meta of a job that was closed before its first slice came; null for any other."""
    return case((and_(closed_at.is_not(None), total.is_not(None)), _NOTHING))


def _progressed_at() -> ColumnElement[Any]:
    """Return when a known job was last brought further; null before its first outcome."""
    return case((or_(jobs.c.ended > 0, jobs.c.closed_at.is_not(None)), jobs.c.updated_at))


def _lock_jobs() -> Any:
    incoming = incoming_rows("jobs", JOB_COLUMNS)
    statement = _inserted_jobs(incoming)
    new = statement.excluded
    told = {name: func.coalesce(jobs.c[name], new[name]) for name in SLICE_COLUMNS}
    first = func.least(jobs.c.inserted_at, new.inserted_at)
    closed_at = func.least(jobs.c.closed_at, new.closed_at)
    # What stands in for a meta that has not come gives way to it, in whatever order they are read.
    told_meta = func.nullif(new.meta, _NOTHING)
    told["meta"] = func.coalesce(told_meta, jobs.c.meta, new.meta, _shown_as_it_is(closed_at, told["total"]))
    updated_at = func.coalesce(func.greatest(_progressed_at(), closed_at), first)
    changed: dict[str, Any] = {
        **told,
        "run": func.greatest(jobs.c.run, new.run),
        "inserted_at": first,
        "updated_at": updated_at,
        "closed_at": closed_at,
        "reason": func.coalesce(jobs.c.reason, new.reason),
        "status": status_rule(jobs.c.status, told["total"], jobs.c.ended, jobs.c.unsuccessful, closed_at),
        "ended_at": _ended_at(closed_at, told["total"], jobs.c.ended, updated_at),
    }
    news = or_(
        and_(new.meta.is_not(None), jobs.c.meta.is_distinct_from(new.meta)),
        and_(jobs.c.total.is_(None), new.total.is_not(None)),
        and_(jobs.c.closed_at.is_(None), new.closed_at.is_not(None)),
        jobs.c.digest != new.digest,
        new.run > jobs.c.run,
        new.inserted_at < jobs.c.inserted_at,
    )
    upsert = statement.on_conflict_do_update(index_elements=[jobs.c.id], set_=changed, where=news)
    return upsert.returning(jobs.c.id, jobs.c.digest)


def _inserted_jobs(incoming: CTE) -> Insert:
    derived = {
        "updated_at": func.coalesce(incoming.c.closed_at, incoming.c.inserted_at),
        "ended_at": incoming.c.closed_at,
        "status": case((incoming.c.closed_at.is_(None), _word(JobStatus.PENDING)), else_=_word(JobStatus.FAILED)),
    }
    shown = func.coalesce(incoming.c.meta, _shown_as_it_is(incoming.c.closed_at, incoming.c.total))
    told = [shown if name == "meta" else column for name, column in incoming.c.items()]
    rows = select(*told, *derived.values()).order_by(incoming.c.id)
    return insert(jobs).from_select([*incoming.c.keys(), *derived], rows)


def _may_follow(new: ColumnElement[Any], known: ColumnElement[Any]) -> ColumnElement[bool]:
    """Say ``lifecycle.precursors`` in SQL: whether an event that leads to ``new`` may find the status ``known``."""
    targets: dict[frozenset[TaskStatus], set[TaskStatus]] = {}
    for event, transition in TASK_TRANSITIONS.items():
        targets.setdefault(precursors(event), set()).add(transition.target)
    return or_(*(and_(_is_one_of(new, ends), _is_one_of(known, found)) for found, ends in targets.items()))


def _upserted_tasks(incoming: CTE) -> CTE:
    names = [column.name for column in TASK_COLUMNS]
    statement = insert(tasks).from_select(names, select(*incoming.c).order_by(incoming.c.id))
    new = statement.excluded
    later = tuple_(new.run, new.epoch, new.seq) > tuple_(tasks.c.run, tasks.c.epoch, tasks.c.seq)
    wins = and_(later, _may_follow(new.status, tasks.c.status))
    changed: dict[str, Any] = {
        "inserted_at": func.least(tasks.c.inserted_at, new.inserted_at),
        **{name: func.coalesce(tasks.c[name], new[name]) for name in SPEC_COLUMNS},
        **{name: case((wins, new[name]), else_=tasks.c[name]) for name in EVENT_COLUMNS},
        # An attempt is history: it stays, whatever is read before or after it.
        "attempts": case(
            (new.attempts.is_not(None), func.coalesce(tasks.c.attempts, _NOTHING).op("||")(new.attempts)),
            else_=tasks.c.attempts,
        ),
    }
    specifies = and_(tasks.c.callback.is_(None), new.callback.is_not(None))
    attempted = and_(new.attempts.is_not(None), ~func.coalesce(tasks.c.attempts, _NOTHING).contains(new.attempts))
    news = or_(wins, specifies, attempted, new.inserted_at < tasks.c.inserted_at)
    upsert = statement.on_conflict_do_update(
        index_elements=[tasks.c.job_id, tasks.c.position], set_=changed, where=news
    )
    return upsert.returning(tasks.c.job_id, tasks.c.position, tasks.c.status, tasks.c.updated_at).cte("written")


def _ended(incoming: CTE) -> CTE:
    """Count per job what is final now and was not before this statement."""
    written = _upserted_tasks(incoming)
    before = tasks.alias("before")
    same = and_(before.c.job_id == written.c.job_id, before.c.position == written.c.position, _in_span(before.c.job_id))
    was_final = func.coalesce(_is_one_of(before.c.status, FINAL), literal_column("false"))
    return (
        select(
            written.c.job_id,
            func.count().label("ended"),
            func.count().filter(_is_one_of(written.c.status, UNSUCCESSFUL)).label("unsuccessful"),
            func.max(written.c.updated_at).label("at"),
        )
        .join_from(written, before, same, isouter=True)
        .where(_is_one_of(written.c.status, FINAL), ~was_final)
        .group_by(written.c.job_id)
        .cte("outcomes")
    )


def _moved_offsets() -> CTE:
    incoming = incoming_rows("offsets", projection_offsets.c)
    statement = insert(projection_offsets).from_select(list(incoming.c.keys()), select(*incoming.c))
    further = func.greatest(projection_offsets.c.next_offset, statement.excluded.next_offset)
    keys = [projection_offsets.c.topic, projection_offsets.c.partition]
    return (
        statement.on_conflict_do_update(index_elements=keys, set_={"next_offset": further})
        .returning(projection_offsets.c.next_offset)
        .cte("moved")
    )


def _behind() -> Any:
    needed = incoming_rows("needed", projection_offsets.c)
    offsets = projection_offsets.c
    here = and_(offsets.topic == needed.c.topic, offsets.partition == needed.c.partition)
    reached = func.coalesce(offsets.next_offset, 0)
    return (
        select(needed.c.topic, needed.c.partition, needed.c.next_offset.label("needed"), reached.label("reached"))
        .join_from(needed, projection_offsets, here, isouter=True)
        .where(reached < needed.c.next_offset)
    )


def _write_tasks() -> Any:
    outcomes = _ended(incoming_rows("tasks", TASK_COLUMNS))
    ended = jobs.c.ended + outcomes.c.ended
    unsuccessful = jobs.c.unsuccessful + outcomes.c.unsuccessful
    last = func.greatest(_progressed_at(), outcomes.c.at)
    changed = {
        "ended": ended,
        "unsuccessful": unsuccessful,
        "status": status_rule(jobs.c.status, jobs.c.total, ended, unsuccessful, jobs.c.closed_at),
        "updated_at": last,
        "ended_at": _ended_at(jobs.c.closed_at, jobs.c.total, ended, last),
    }
    goes_on = and_(jobs.c.strategy == _word(Strategy.SEQUENTIAL), jobs.c.status == _word(JobStatus.PENDING))
    return (
        update(jobs)
        .where(jobs.c.id == outcomes.c.job_id, _in_span(jobs.c.id))
        .values(changed)
        .returning(jobs.c.id, goes_on.label("goes_on"))
        .add_cte(_moved_offsets())
    )


LOCK_JOBS = _lock_jobs()
"""Insert the jobs, add what slices tell of the known ones, and lock all: until the commit, their tasks are ours.

Answers the rows that this changed, and those that have another digest.
"""

WRITE_TASKS = _write_tasks()
"""Insert or update the tasks, count in their jobs what that has ended, and move the offsets."""

BEHIND = _behind()
"""Return the partitions of which less is projected than that."""

MAKE_NEXT_DUE = (
    update(tasks)
    .where(
        jobs.c.id == func.any(cast(bindparam("jobs", type_=Text), ARRAY(Uuid))),
        jobs.c.status == _word(JobStatus.PENDING),
        _in_span(jobs.c.id),
        tasks.c.job_id == jobs.c.id,
        _in_span(tasks.c.job_id),
        tasks.c.position == jobs.c.ended,
        # Not =, for which PostgreSQL would take all NEW tasks from their index whenever it believes that they are few.
        tasks.c.status.is_not_distinct_from(_word(TaskStatus.NEW)),
    )
    .values(status=_word(TaskStatus.PENDING), updated_at=func.greatest(tasks.c.updated_at, jobs.c.updated_at))
)
"""Make the first open task of sequential jobs PENDING."""
