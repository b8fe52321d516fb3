"""What the SQL of ``writes`` does to the rows, said once more in Python: without a database, and from the same rules.

The simulator projects with it, and ``jabba verify`` asks it what PostgreSQL should hold, so that neither shares a
mistake of the SQL. A property test holds the two together.
"""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from jabba.jobs import ids
from jabba.jobs.lifecycle import (
    FINAL,
    TASK_TRANSITIONS,
    UNSUCCESSFUL,
    JobStatus,
    Strategy,
    TaskStatus,
    job_status,
    precursors,
)
from jabba.projection.fold import Batch
from jabba.projection.statements import EVENT_COLUMNS, JOB_COLUMNS, SLICE_COLUMNS, SPEC_COLUMNS, TASK_COLUMNS

Row = dict[str, Any]
"""A row by column name; moments are milliseconds since the epoch."""


class Rows:
    """The rows of the projection; ``write`` is one transaction, statement by statement what ``writes.write`` does."""

    def __init__(self) -> None:
        self.jobs: dict[UUID, Row] = {}
        self.tasks: dict[UUID, Row] = {}

    def write(self, batch: Batch) -> None:
        """Write a batch.

        Raises:
            ImpossibleFact: its slices belong to another submission than those under the same id before.
        """
        for id_, told in batch.jobs.items():
            if id_ in self.jobs and self.jobs[id_]["digest"] is not None:
                told.check_digest(self.jobs[id_]["digest"])
        for values in batch.job_values():
            self._lock_job(_row(JOB_COLUMNS, values))
        ended = [self._write_task(_row(TASK_COLUMNS, values)) for values in batch.task_values()]
        changed = [row for row in ended if row is not None]
        for row in changed:
            self.count(self.jobs[row["job_id"]], row)
        for job in batch.stepped | {row["job_id"] for row in changed}:
            self._make_next_due(self.jobs[job])

    def count(self, job: Row, task: Row) -> None:
        """Count a task that was not final before this transaction and is now."""
        job["updated_at"] = _latest(_progressed_at(job), task["updated_at"])
        job["ended"] += 1
        job["unsuccessful"] += task["status"] in UNSUCCESSFUL
        _judge(job)

    def _lock_job(self, new: Row) -> None:
        job = self.jobs.setdefault(new["id"], new | {"ended": 0, "unsuccessful": 0, "closed_at": None})
        progressed_at = _progressed_at(job)
        for name in (*SLICE_COLUMNS, "reason"):
            job[name] = new[name] if job[name] is None else job[name]
        job["meta"] = job["meta"] if new["meta"] is None else new["meta"]
        job["run"] = max(job["run"], new["run"])
        job["inserted_at"] = min(job["inserted_at"], new["inserted_at"])
        job["closed_at"] = _earliest(job["closed_at"], new["closed_at"])
        job["updated_at"] = _latest(progressed_at, job["closed_at"]) or job["inserted_at"]
        if job["closed_at"] is not None and job["total"] is not None and job["meta"] is None:
            job["meta"] = {}
        _judge(job)

    def _write_task(self, new: Row) -> Row | None:
        """Insert or update a task; return its row if it has ended with this."""
        task = self.tasks.get(new["id"])
        if task is None:
            self.tasks[new["id"]] = new
            return new if new["status"] in FINAL else None
        was_final = task["status"] in FINAL
        task["inserted_at"] = min(task["inserted_at"], new["inserted_at"])
        for name in SPEC_COLUMNS:
            task[name] = new[name] if task[name] is None else task[name]
        if new["attempts"] is not None:
            task["attempts"] = (task["attempts"] or {}) | new["attempts"]
        if self.follows(new, task):
            task.update({name: new[name] for name in EVENT_COLUMNS})
        return task if task["status"] in FINAL and not was_final else None

    @staticmethod
    def follows(new: Row, known: Row) -> bool:
        """Return whether an event may change a task: it is younger, and the table of transitions has a path."""
        later = (new["run"], new["epoch"], new["seq"]) > (known["run"], known["epoch"], known["seq"])
        return later and any(
            known["status"] in precursors(event)
            for event, path in TASK_TRANSITIONS.items()
            if path.target is new["status"]
        )

    def _make_next_due(self, job: Row) -> None:
        if job["strategy"] is not Strategy.SEQUENTIAL or job["status"] is not JobStatus.PENDING:
            return
        task = self.tasks.get(ids.task_id(job["id"], job["ended"]))
        if task is not None and task["status"] is TaskStatus.NEW:
            task["status"] = TaskStatus.PENDING
            task["updated_at"] = max(task["updated_at"], job["updated_at"])


def _row(columns: Iterable[Any], values: list[Any]) -> Row:
    return {column.name: value for column, value in zip(columns, values, strict=True)}


def _judge(job: Row) -> None:
    """Derive the status and the end of a job."""
    status = job_status(job["total"], job["ended"], job["unsuccessful"])
    all_ended = job["total"] is not None and job["ended"] >= job["total"]
    job["status"] = status if job["closed_at"] is None else JobStatus.FAILED
    job["ended_at"] = job["closed_at"] or (job["updated_at"] if all_ended else None)


def _progressed_at(job: Row) -> int | None:
    """Return when the job was last brought further; None before its first outcome."""
    return job["updated_at"] if job["ended"] > 0 or job["closed_at"] is not None else None


def _earliest(*times: int | None) -> int | None:
    return min((time for time in times if time is not None), default=None)


def _latest(*times: int | None) -> int | None:
    return max((time for time in times if time is not None), default=None)
