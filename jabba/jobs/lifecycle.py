"""What may happen to a task and to a job: the one transition table and its events.

Three readers share it: the lanes call ``apply``; the projection's SQL takes the statuses an event may overtake from
``precursors``; the diagram in ``docs/architecture.md`` is compared with ``TASK_TRANSITIONS`` by a test.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, NamedTuple
from uuid import UUID

from jabba.errors import JabbaError


class TaskStatus(StrEnum):
    """Where a task stands; the last four are final."""

    NEW = "NEW"
    PENDING = "PENDING"
    CONSUMED = "CONSUMED"
    PROCESSED = "PROCESSED"
    FAILED = "FAILED"
    RESCUED = "RESCUED"
    ABORTED = "ABORTED"


class JobStatus(StrEnum):
    """Where a job stands; all but PENDING are final."""

    PENDING = "PENDING"
    PROCESSED = "PROCESSED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class Strategy(StrEnum):
    """How the tasks of a job run: step by step, or all at once."""

    SEQUENTIAL = "SEQUENTIALLY"
    CONCURRENT = "CONCURRENTLY"


FINAL = frozenset({TaskStatus.PROCESSED, TaskStatus.FAILED, TaskStatus.RESCUED, TaskStatus.ABORTED})
UNSUCCESSFUL = frozenset({TaskStatus.FAILED, TaskStatus.RESCUED, TaskStatus.ABORTED})


class Version(NamedTuple):
    """Orders all that is said of one task: the highest wins, everywhere.

    ``run`` counts the submissions of the job, ``epoch`` the owners of its partition, ``seq`` what one lane has said.
    """

    run: int
    epoch: int
    seq: int


@dataclass(frozen=True, slots=True)
class Event:
    """A fact about the task with number ``index`` (from 0) of a job; ``kind`` is its name on the wire.

    ``type`` is the job's, None in what was sent before events had it. Events of an attempt say when it ``began``, in
    seconds since the epoch, and on which ``worker``; None in what was sent before they did.
    """

    kind: ClassVar[str]
    job: UUID
    index: int
    version: Version
    type: str | None = field(default=None, kw_only=True)


@dataclass(frozen=True, slots=True)
class TaskDue(Event):
    """The turn of a task has come. Derived from the end of the task before it, never sent."""

    kind: ClassVar[str] = "task_due"


@dataclass(frozen=True, slots=True)
class TaskStarted(Event):
    """The callback of a task has been running for longer than a quarter of a second."""

    kind: ClassVar[str] = "task_started"
    attempt: int = 1
    began: float | None = field(default=None, kw_only=True)
    worker: str | None = field(default=None, kw_only=True)


@dataclass(frozen=True, slots=True)
class TaskAttempted(Event):
    """An attempt has ended without success, and there will be another one at ``next_at``.

    ``outcome`` is ``error``, ``raised``, ``infrastructure`` or ``timeout``, ``error`` a sentence for people. ``began``,
    ``ended`` and ``next_at`` are seconds since the epoch. ``worker`` names the process; ``address`` and ``status_code``
    are those of the service that was called, ``waits`` counts how often the attempt was postponed before it began.
    """

    kind: ClassVar[str] = "task_attempted"
    attempt: int = 1
    outcome: str = "infrastructure"
    error: str = ""
    began: float = 0.0
    ended: float = 0.0
    next_at: float = 0.0
    worker: str | None = None
    address: str | None = None
    status_code: int | None = None
    waits: int = 0


class CallReport(NamedTuple):
    """How the last attempt of a task ended, where its result does not say it all; fields as in TaskAttempted."""

    outcome: str
    address: str | None = None
    status_code: int | None = None
    waits: int = 0


@dataclass(frozen=True, slots=True)
class TaskSucceeded(Event):
    """The callback answered; ``result`` is a map."""

    kind: ClassVar[str] = "task_succeeded"
    attempt: int = 1
    result: Any = None
    began: float | None = field(default=None, kw_only=True)
    worker: str | None = field(default=None, kw_only=True)
    call: CallReport | None = field(default=None, kw_only=True)


@dataclass(frozen=True, slots=True)
class TaskFailed(Event):
    """The callback answered with an error, or could not be reached."""

    kind: ClassVar[str] = "task_failed"
    attempt: int = 1
    result: Any = None
    began: float | None = field(default=None, kw_only=True)
    worker: str | None = field(default=None, kw_only=True)
    call: CallReport | None = field(default=None, kw_only=True)


@dataclass(frozen=True, slots=True)
class TaskRescued(Event):
    """The callback raised; ``result`` is ``{"error": text}``."""

    kind: ClassVar[str] = "task_rescued"
    attempt: int = 1
    result: Any = None
    began: float | None = field(default=None, kw_only=True)
    worker: str | None = field(default=None, kw_only=True)
    call: CallReport | None = field(default=None, kw_only=True)


@dataclass(frozen=True, slots=True)
class TasksAborted(Event):
    """``count`` tasks from ``index`` on will never run."""

    kind: ClassVar[str] = "tasks_aborted"
    count: int = 1


@dataclass(frozen=True, slots=True)
class JobClosed:
    """A job was ended though not all of its tasks have come; it has failed for ``reason``."""

    kind: ClassVar[str] = "job_closed"
    job: UUID
    version: Version
    reason: str
    type: str | None = field(default=None, kw_only=True)


Outcome = TaskSucceeded | TaskFailed | TaskRescued | TasksAborted
"""An event that ends a task: recorded before it is sent."""


class Transition(NamedTuple):
    """The statuses an event may find, and the one it leaves."""

    sources: frozenset[TaskStatus]
    target: TaskStatus


_ALIVE = frozenset({TaskStatus.PENDING, TaskStatus.CONSUMED})

TASK_TRANSITIONS: dict[type[Event], Transition] = {
    TaskDue: Transition(frozenset({TaskStatus.NEW}), TaskStatus.PENDING),
    # A worker that takes over starts the step again: CONSUMED once more.
    TaskStarted: Transition(_ALIVE, TaskStatus.CONSUMED),
    # It waits for its next attempt.
    TaskAttempted: Transition(_ALIVE, TaskStatus.PENDING),
    TaskSucceeded: Transition(_ALIVE, TaskStatus.PROCESSED),
    TaskFailed: Transition(_ALIVE, TaskStatus.FAILED),
    TaskRescued: Transition(_ALIVE, TaskStatus.RESCUED),
    TasksAborted: Transition(frozenset({TaskStatus.NEW, TaskStatus.PENDING}), TaskStatus.ABORTED),
}

STATUS_AFTER = {event.kind: transition.target for event, transition in TASK_TRANSITIONS.items()}
"""By the name of an event, the status that it leaves."""


class ForbiddenTransition(JabbaError):
    """An event met a status that it may not leave."""


@dataclass(frozen=True, slots=True)
class TaskState:
    """What is known of one task: its status, the attempt that led there, and its result once it has ended."""

    status: TaskStatus = TaskStatus.NEW
    attempt: int = 1
    result: Any = None


def apply(state: TaskState, event: Event) -> TaskState:
    """Return the state after the event.

    Raises:
        ForbiddenTransition: the table has no such path.
    """
    transition = TASK_TRANSITIONS[type(event)]
    if state.status not in transition.sources:
        message = f"{type(event).__name__} cannot follow {state.status}"
        raise ForbiddenTransition(message)
    return TaskState(transition.target, getattr(event, "attempt", state.attempt), getattr(event, "result", None))


def precursors(event: type[Event]) -> frozenset[TaskStatus]:
    """Return every status from which a path leads to where ``event`` leads, over steps that were never sent.

    The projection moves rows out of these only: PENDING is derived and CONSUMED is written for long steps alone, so
    an event may overtake them, but a final status is never left.
    """
    return _PRECURSORS[event]


def _all_before(sources: frozenset[TaskStatus]) -> frozenset[TaskStatus]:
    found = set(sources)
    for _ in TASK_TRANSITIONS:
        found |= {status for t in TASK_TRANSITIONS.values() if t.target in found for status in t.sources}
    return frozenset(found)


_PRECURSORS = {event: _all_before(transition.sources) for event, transition in TASK_TRANSITIONS.items()}


def job_status(total: int | None, ended: int, unsuccessful: int) -> JobStatus:
    """Return the status that the counts of a job's tasks amount to; ``total`` is None until a slice told it.

    A job fails with its first unsuccessful task, even while others still run.
    """
    if unsuccessful:
        return JobStatus.FAILED
    return JobStatus.PROCESSED if total is not None and ended >= total else JobStatus.PENDING
