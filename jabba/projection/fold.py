"""From messages to rows, without a database: a batch of slices and events becomes the rows that they amount to.

A slice and the outcomes of its tasks that meet in one batch make one row per task, so they are written once.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from jabba.jobs import ids
from jabba.jobs.lifecycle import (
    FINAL,
    TASK_TRANSITIONS,
    CallReport,
    Event,
    JobClosed,
    Strategy,
    TaskAttempted,
    TasksAborted,
    TaskStatus,
    Version,
    precursors,
)
from jabba.jobs.models import TaskSpec
from jabba.messages.slices import Slice

MAX_INDEX = 10_000_000
"""An event about a task beyond this is none of ours: no job has so many."""

MAX_ABORTED = 1_000_000
"""Tasks that one event may abort; each becomes a row."""

MAX_SKEW_SECONDS = 2 * ids.MAX_SKEW_SECONDS
"""How far the time in a new job's id may be from its message's: whoever checked it first has a clock of its own."""

Content = Slice | Event | JobClosed
"""What messages of the two topics tell."""

ATTEMPT_FIELDS = (
    "attempt",
    "outcome",
    "error",
    "began",
    "ended",
    "next_at",
    "worker",
    "address",
    "status_code",
    "waits",
)

_NO_VERSION = Version(0, 0, -1)


class ImpossibleFact(ValueError):
    """A slice or event that no part of Jabba sends, though it has the form of one."""


@dataclass(frozen=True, slots=True)
class Fact:
    """A slice or an event, and the moment of its message in milliseconds since the epoch."""

    content: Content
    at: int


@dataclass(slots=True)
class JobRow:
    """What a batch tells of a job; without ``head`` only that it exists."""

    id: UUID
    inserted_at: int
    run: int = 0
    head: Slice | None = None
    name: str | None = None
    meta: Any = None
    closed_at: int | None = None
    reason: str | None = None

    def add(self, slice_: Slice) -> None:
        """Learn from a slice; name and meta come with the first one of a job.

        Raises:
            ImpossibleFact: it belongs to another submission than the slices before it.
        """
        self.head = self.head or slice_
        self.check_digest(slice_.digest)
        self.run = max(self.run, slice_.run)
        if slice_.k == 0 and self.meta is None:
            self.name, self.meta = slice_.name, slice_.meta

    def check_digest(self, digest: str | None) -> None:
        """Refuse what belongs to another submission under the same id: their tasks would mix.

        Raises:
            ImpossibleFact: the digest is not the one of the slices.
        """
        if self.head is not None and self.head.digest != digest:
            raise ImpossibleFact(f"another submission has the id {self.id}")

    def close(self, closed: JobClosed, at: int) -> None:
        """Learn that the job was closed; the first time counts."""
        if self.closed_at is None or at < self.closed_at:
            self.closed_at, self.reason = at, closed.reason

    def values(self) -> list[Any]:
        """Return the row in the order of ``writes.JOB_COLUMNS``."""
        told: list[Any] = [None] * 6
        if self.head is not None:
            told = [self.head.n_slices, self.head.total, self.head.strategy, self.head.type, self.head.digest]
            told.append(_options(self.head, _JOB_OPTIONS))
        return [self.id, self.inserted_at, self.run, *told, self.name, self.meta, self.closed_at, self.reason]


@dataclass(slots=True)
class TaskRow:
    """What a batch tells of a task: its specification, its last event, or both."""

    id: UUID
    job_id: UUID
    position: int
    inserted_at: int
    strategy: Strategy | None = None
    spec: TaskSpec | None = None
    event: Event | None = None
    event_at: int = 0
    attempts: dict[str, Any] | None = None

    def add_spec(self, spec: TaskSpec, strategy: Strategy) -> None:
        """Learn what the task is."""
        if self.spec is None:
            self.spec, self.strategy = spec, strategy

    def add_event(self, event: Event, at: int) -> None:
        """Learn what happened, unless it is known already or may not follow what is; an attempt is kept in any case."""
        if isinstance(event, TaskAttempted):
            self._keep_attempt(event, attempt_as_json(event))
        elif (call := getattr(event, "call", None)) is not None:
            self._keep_attempt(event, last_attempt_as_json(event, call))
        if self.event is None or _follows(event, self.event):
            self.event, self.event_at = event, at

    def _keep_attempt(self, event: Event, attempt: dict[str, Any]) -> None:
        self.attempts = (self.attempts or {}) | {f"{event.version.run}.{attempt['attempt']}": attempt}

    def values(self) -> list[Any]:
        """Return the row in the order of ``writes.TASK_COLUMNS``."""
        return [
            self.id,
            self.job_id,
            self.position,
            self.inserted_at,
            *self._specified(),
            *self._happened(),
            self.attempts,
        ]

    def _specified(self) -> list[Any]:
        if self.spec is None:
            return [None] * 5
        priority = 0 if self.strategy is Strategy.CONCURRENT else self.position + 1
        return [priority, self.spec.name, self.spec.callback, self.spec.meta, _options(self.spec, _TASK_OPTIONS)]

    def _happened(self) -> list[Any]:
        event = self.event
        if event is None:
            return [self._first_status(), self.inserted_at, None, 1, None, None, None, *_NO_VERSION]
        status = TASK_TRANSITIONS[type(event)].target
        ended_at = self.event_at if status in FINAL else None
        attempt, result = getattr(event, "attempt", 1), getattr(event, "result", None)
        began, worker = getattr(event, "began", None), getattr(event, "worker", None)
        began_at = None if began is None else round(began * 1000)
        return [status, self.event_at, ended_at, attempt, result, began_at, worker, *event.version]

    def _first_status(self) -> TaskStatus:
        starts = self.strategy is Strategy.CONCURRENT or self.position == 0
        return TaskStatus.PENDING if starts else TaskStatus.NEW


_JOB_OPTIONS = ("retry", "deadline")
_TASK_OPTIONS = ("retry", "timeout", "expires")


def _options(spec: Slice | TaskSpec, names: tuple[str, ...]) -> dict[str, Any] | None:
    """Return what was submitted beside the columns, None without any: most jobs and tasks have none."""
    given = {name: value for name in names if (value := getattr(spec, name)) is not None}
    if "retry" in given:
        given["retry"] = given["retry"].model_dump(exclude_none=True)
    return given or None


def attempt_as_json(event: TaskAttempted) -> dict[str, Any]:
    """Return an attempt as a task's row keeps it; times are seconds since the epoch."""
    told = {name: getattr(event, name) for name in ATTEMPT_FIELDS}
    return {name: value for name, value in told.items() if value is not None}


def last_attempt_as_json(event: Event, call: CallReport) -> dict[str, Any]:
    """Return the last attempt of a task in that form; the task itself says when it ended, and its error."""
    told = {name: getattr(event, name, None) for name in ("attempt", "began", "worker")} | call._asdict()
    return {name: value for name, value in told.items() if value is not None}


@dataclass(slots=True)
class Batch:
    """Rows to write, each once.

    ``submitted`` holds by the id of its key who submitted a job, and when; ``stepped`` the sequential jobs in which the
    turn of a task may have come before its slice did.
    """

    jobs: dict[UUID, JobRow] = field(default_factory=dict)
    submitted: dict[UUID, tuple[str, int]] = field(default_factory=dict)
    tasks: dict[UUID, TaskRow] = field(default_factory=dict)
    stepped: set[UUID] = field(default_factory=set)

    def job_values(self) -> list[list[Any]]:
        """Return the rows of jobs by id, the order in which all writers lock them."""
        return [self.jobs[job].values() for job in sorted(self.jobs)]

    def audit_values(self) -> list[list[Any]]:
        """Return the submissions in the order of ``auditing.SUBMISSION_COLUMNS``; each has the id of its job."""
        return [[job, at, key, job] for job, (key, at) in sorted(self.submitted.items())]

    def task_values(self) -> list[list[Any]]:
        """Return the rows of tasks by id."""
        return [self.tasks[task].values() for task in sorted(self.tasks)]

    def add(self, fact: Fact) -> None:
        """Take in one fact.

        Raises:
            ImpossibleFact: no part of Jabba would have sent it.
        """
        if isinstance(fact.content, Slice):
            _check_slice(fact.content, fact.at)
            self._add_slice(fact.content, fact.at)
        elif isinstance(fact.content, JobClosed):
            self._job(fact.content.job, fact.at).close(fact.content, fact.at)
        else:
            _check_event(fact.content)
            self._add_event(fact.content, fact.at)

    def _add_slice(self, slice_: Slice, at: int) -> None:
        self._job(slice_.job, at).add(slice_)
        if slice_.by is not None and slice_.run == 0:
            self.submitted.setdefault(slice_.job, (slice_.by, at))
        if slice_.strategy is Strategy.SEQUENTIAL and slice_.total > 1:
            self.stepped.add(slice_.job)
        for index, spec in enumerate(slice_.tasks, slice_.first):
            self._task(slice_.job, index, at).add_spec(spec, slice_.strategy)

    def _add_event(self, event: Event, at: int) -> None:
        self._job(event.job, at)
        count = event.count if isinstance(event, TasksAborted) else 1
        for index in range(event.index, event.index + count):
            self._task(event.job, index, at).add_event(event, at)

    def _job(self, job: UUID, at: int) -> JobRow:
        row = self.jobs.get(job)
        if row is None:
            row = self.jobs[job] = JobRow(job, at)
        row.inserted_at = min(row.inserted_at, at)
        return row

    def _task(self, job: UUID, index: int, at: int) -> TaskRow:
        task = ids.task_id(job, index)
        row = self.tasks.get(task)
        if row is None:
            row = self.tasks[task] = TaskRow(task, job, index, at)
        row.inserted_at = min(row.inserted_at, at)
        return row


def fold(facts: Iterable[Fact]) -> Batch:
    """Return the rows that facts amount to, in the order of the log.

    Raises:
        ImpossibleFact: one of them was sent by no part of Jabba.
    """
    batch = Batch()
    for fact in facts:
        batch.add(fact)
    return batch


def _follows(event: Event, known: Event) -> bool:
    return event.version > known.version and TASK_TRANSITIONS[type(known)].target in precursors(type(event))


def _check_slice(slice_: Slice, at: int) -> None:
    if slice_.first + len(slice_.tasks) > slice_.total or slice_.k >= slice_.n_slices:
        raise ImpossibleFact(f"slice {slice_.k} of job {slice_.job} goes beyond its job")
    age = at / 1000 - ids.job_seconds(slice_.job)
    of_its_time = age >= -MAX_SKEW_SECONDS and (slice_.relayed or age <= MAX_SKEW_SECONDS)
    if slice_.run == 0 and (slice_.job.version != 7 or not of_its_time):  # noqa: PLR2004 — UUIDv7
        raise ImpossibleFact(f"the id of job {slice_.job} is no UUIDv7 of its time")


def _check_event(event: Event) -> None:
    count = event.count if isinstance(event, TasksAborted) else 1
    if event.index + count > MAX_INDEX or count > MAX_ABORTED:
        raise ImpossibleFact(f"{event.kind} of {count} tasks from {event.index} on: no job has so many")
