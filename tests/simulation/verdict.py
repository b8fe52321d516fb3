"""What must hold once everything has come to rest."""

from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING
from uuid import UUID

from jabba.callbacks.results import Answer
from jabba.jobs import ids
from jabba.jobs.lifecycle import (
    FINAL,
    UNSUCCESSFUL,
    Event,
    ForbiddenTransition,
    JobClosed,
    JobStatus,
    Strategy,
    TaskStarted,
    TaskState,
    TaskStatus,
    Version,
    apply,
    job_status,
)
from jabba.messages.topics import decode_events
from tests.simulation.closer import REASON
from tests.simulation.jobs import SubmittedJob
from tests.simulation.rules import TOPICS, Rules, TaskKey, content_of, genuine_slices, tasks_of
from tests.simulation.world import SETTINGS

CRASH_LOOP = "crash_loop"

if TYPE_CHECKING:
    from tests.simulation.loop import Process
    from tests.simulation.simulation import Simulation


def judge(simulation: "Simulation") -> None:
    """Check the log and the projection of a run that has come to rest."""
    rules = simulation.rules
    found = slices_of(simulation)
    log = _Log(simulation)
    for job in simulation.callers.jobs:
        if job.accepted and len(found[job.id]) < len(job.slices):
            rules.violate(f"{job.id} was accepted, but not all of its slices are in the log")
        if found[job.id]:
            for problem in _job_problems(simulation, job, found[job.id], log):
                rules.violate(problem)


def slices_of(simulation: "Simulation") -> dict[UUID, set[int]]:
    """Return which slices of each job are in the log."""
    found: dict[UUID, set[int]] = defaultdict(set)
    for partition in simulation.kafka.all_of(TOPICS.tasks):
        for message in partition:
            for slice_ in genuine_slices(message.value):
                found[slice_.job].add(slice_.k)
    return found


class _Log:
    """What was said of each task, by version, and which jobs were closed."""

    def __init__(self, simulation: "Simulation") -> None:
        self.histories: dict[TaskKey, dict[Version, Event]] = defaultdict(dict)
        self.closed: set[UUID] = set()
        for partition in simulation.kafka.all_of(TOPICS.events):
            for event in (event for message in partition for event in decode_events(message.value or b"")):
                if isinstance(event, JobClosed):
                    self.closed.add(event.job)
                else:
                    self._add(simulation.rules, event)

    def told(self, job: UUID, index: int) -> Iterator[Event]:
        """Return what was said of a task, by version, without repetitions by later owners."""
        known: tuple[object, ...] = ()
        for _, event in sorted(self.histories[job, index].items()):
            if isinstance(event, TaskStarted) or content_of(event) != known:
                yield event
            known = content_of(event)

    def _add(self, rules: Rules, event: Event) -> None:
        for task in tasks_of(event):
            if self.histories[task].setdefault(event.version, event) != event:
                rules.violate(f"{event} and {self.histories[task][event.version]} have the same version")


def _job_problems(simulation: "Simulation", job: SubmittedJob, found: set[int], log: _Log) -> Iterator[str]:
    closed = job.id in log.closed
    if len(found) < len(job.slices) and not closed:
        yield f"{job.id} has only the slices {found}, but was not closed"
    states: dict[int, TaskState] = {}
    for slice_ in (job.slices[k] for k in sorted(found)):
        for index in range(slice_.first, slice_.first + len(slice_.tasks)):
            before = states.get(index - 1)
            due = (
                job.strategy is Strategy.CONCURRENT or index == 0 or (before and before.status is TaskStatus.PROCESSED)
            )
            states[index] = TaskState(TaskStatus.PENDING if due else TaskStatus.NEW)
            try:
                for event in log.told(job.id, index):
                    states[index] = apply(states[index], event)
            except ForbiddenTransition as error:
                yield f"the history of task {index} of {job.id} is no path: {error}"
    yield from _status_problems(job, states, closed=closed)
    yield from _result_problems(simulation.rules, job, states)
    yield from _projection_problems(simulation, job, states, closed=closed)


def _status_problems(job: SubmittedJob, states: dict[int, TaskState], *, closed: bool) -> Iterator[str]:
    failed = False
    for index, state in states.items():
        aborted = state.status is TaskStatus.ABORTED
        if state.status not in FINAL:
            yield f"task {index} of {job.id} has not ended: {state.status}"
        elif job.strategy is Strategy.SEQUENTIAL and failed and not aborted:
            yield f"task {index} of {job.id} is {state.status}, but a step before it failed"
        elif aborted and not closed and not (failed and job.strategy is Strategy.SEQUENTIAL):
            yield f"task {index} of {job.id} is ABORTED, but nothing failed before"
        failed = failed or state.status in UNSUCCESSFUL


def _result_problems(rules: Rules, job: SubmittedJob, states: dict[int, TaskState]) -> Iterator[str]:
    for index, state in states.items():
        answers = [one.answer for one in rules.executions[job.id, index] if one.answer is not None]
        if state.status is TaskStatus.ABORTED and answers:
            yield f"task {index} of {job.id} is ABORTED, but it ran"
        if CRASH_LOOP in str(state.result):
            for problem in _crash_problems(rules, rules.tried_alone[job.id, index]):
                yield f"task {index} of {job.id} ended in {CRASH_LOOP}, but {problem}"
        elif state.status in FINAL - {TaskStatus.ABORTED} and not any(_tells(state, answer) for answer in answers):
            yield f"task {index} of {job.id} has the result {state.result}, which none of its runs answered"


def _crash_problems(rules: Rules, tried: "list[Process]") -> Iterator[str]:
    """Chance may end the workers of a step that is none's fault: right, if it did so while each ran that step alone."""
    if len(tried) < SETTINGS.crash_limit:
        yield f"only {len(tried)} workers ran it alone"
    for process in tried[: SETTINGS.crash_limit]:
        if not process.crashed and not rules.standings[process].given_up:
            yield f"{process} did not crash"


def _tells(state: TaskState, answer: Answer) -> bool:
    too_large = "text" in answer.result and state.status is TaskStatus.FAILED and "the limit is" in str(state.result)
    return too_large or state.result == answer.result


def _projection_problems(
    simulation: "Simulation", job: SubmittedJob, states: dict[int, TaskState], *, closed: bool
) -> Iterator[str]:
    database = simulation.projector.database
    row = database.jobs.get(job.id)
    if row is None:
        yield f"{job.id} is not in the database"
        return
    ended = sum(state.status in FINAL for state in states.values())
    unsuccessful = sum(state.status in UNSUCCESSFUL for state in states.values())
    status = JobStatus.FAILED if closed else job_status(job.total, ended, unsuccessful)
    expected = (status, ended, unsuccessful, True, REASON if closed else None)
    shown = (row["status"], row["ended"], row["unsuccessful"], row["ended_at"] is not None, row["reason"])
    if shown != expected:
        yield f"{job.id} is {shown} in the database, and {expected} in the log"
    for index, state in states.items():
        task = database.tasks.get(ids.task_id(job.id, index), {})
        known = (task.get("status"), task.get("result"), task.get("callback") is not None)
        if known != (state.status, state.result, True):
            yield f"task {index} of {job.id} is {known} in the database, and {state} in the log"
