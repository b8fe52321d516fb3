"""What must hold after every round, whatever was killed, frozen or restarted during it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any
from uuid import UUID

from jabba.database.connection import Row
from jabba.jobs.lifecycle import FINAL, UNSUCCESSFUL, Strategy, TaskStatus
from tests.fault.executions import Execution
from tests.fault.load import Accepted
from tests.fault.plans import Plan
from tests.fault.projection import Projection, Task

RECORDING_SECONDS = 1.0
"""How long a busy broker may take to acknowledge a record: until then a step that has ended is still in flight."""


@dataclass(frozen=True, slots=True)
class Disruption:
    """Something that a process may not survive with all its memory: a kill, or a pause longer than its session.

    ``pid`` is None when it met all workers. Times are seconds of the monotonic clock.
    """

    begin: float
    end: float
    pid: int | None = None

    def met(self, execution: Execution) -> bool:
        """Return whether the execution was in flight: begun, and its record perhaps not acknowledged."""
        if self.pid not in (None, execution.pid) or execution.started > self.end:
            return False
        return execution.ended is None or execution.ended >= self.begin - RECORDING_SECONDS


@dataclass(frozen=True)
class Evidence:
    """All that is known about a round.

    ``executions`` are those of its jobs and of any older ones, ``outcomes`` what the events topic said.
    """

    accepted: Mapping[UUID, Accepted]
    executions: Sequence[Execution]
    projection: Projection
    outcomes: Mapping[Task, list[tuple[str, Any]]]
    disruptions: Sequence[Disruption]


@dataclass
class Verdict:
    """What was found; ``problems`` says it in words."""

    jobs: int = 0
    executed: int = 0
    in_flight: int = 0
    repeated_in_flight: int = 0
    repeated_otherwise: int = 0
    lost: int = 0
    disordered: int = 0
    wrong: int = 0
    problems: list[str] = field(default_factory=list)

    def add(self, kind: str, problem: str) -> None:
        """Count a problem."""
        setattr(self, kind, getattr(self, kind) + 1)
        self.problems.append(f"{kind}: {problem}")


def judge(evidence: Evidence) -> Verdict:
    """Compare what ran and what is told with what was asked for."""
    verdict = Verdict(jobs=len(evidence.accepted), executed=len(evidence.executions))
    verdict.in_flight = sum(any(one.met(e) for one in evidence.disruptions) for e in evidence.executions)
    by_job: dict[UUID, list[Execution]] = {}
    for execution in evidence.executions:
        by_job.setdefault(UUID(execution.job), []).append(execution)
    for job, executions in by_job.items():
        if job not in evidence.accepted:
            verdict.add("repeated_otherwise", f"job {job} has ended before, and {executions} ran")
    for job, accepted in evidence.accepted.items():
        _judge_job(_Job(accepted.plan, by_job.get(job, []), evidence), verdict)
    return verdict


class _Job:
    """One job with all that is known about it."""

    def __init__(self, plan: Plan, executions: list[Execution], evidence: Evidence) -> None:
        self.plan = plan
        self.row = evidence.projection.jobs.get(plan.id)
        self.rows = evidence.projection.tasks.get(plan.id, [])
        self.outcomes = evidence.outcomes
        self.disruptions = evidence.disruptions
        self.runs: dict[int, list[Execution]] = {}
        for execution in sorted(executions, key=lambda one: one.started):
            self.runs.setdefault(execution.index, []).append(execution)
        self.recorded = dict(self._recorded())

    def _recorded(self) -> Iterator[tuple[int, Execution]]:
        for index, row in enumerate(self.rows):
            name = _named_execution(row["result"])
            for execution in self.runs.get(index, []):
                if execution.id == name:
                    yield index, execution


def _named_execution(result: Any) -> str | None:
    """Return the execution that a result comes from: each names its own."""
    if not isinstance(result, dict):
        return None
    if "execution" in result:
        return str(result["execution"])
    return str(result.get("error", "")).removeprefix("Broken: ")


def _judge_job(job: _Job, verdict: Verdict) -> None:
    plan, row = job.plan, job.row
    if row is None or row["ended_at"] is None or len(job.rows) != len(plan.steps):
        verdict.add("lost", f"{plan.kind} {plan.id}: {row and row['status']}, {len(job.rows)} tasks")
        return
    for problem in (*_wrong_row(plan, row), *_wrong_tasks(job)):
        verdict.add("wrong", f"{plan.kind} {plan.id}: {problem}")
    for execution in _unrecorded(job):
        if any(one.met(execution) for one in job.disruptions):
            verdict.repeated_in_flight += 1
        else:
            verdict.add("repeated_otherwise", f"{plan.kind} {plan.id}: {execution} is not the one on record")
    if plan.strategy is Strategy.SEQUENTIAL:
        for problem in _disorder(job):
            verdict.add("disordered", f"{plan.kind} {plan.id}: {problem}")


def _wrong_row(plan: Plan, row: Row) -> Iterator[str]:
    statuses = plan.statuses()
    unsuccessful = sum(status in UNSUCCESSFUL for status in statuses)
    expected = (str(plan.status), len(statuses), len(statuses), unsuccessful)
    found = (row["status"], row["total"], row["ended"], row["unsuccessful"])
    if found != expected:
        yield f"status, total, ended and unsuccessful are {found}, not {expected}"


def _wrong_tasks(job: _Job) -> Iterator[str]:
    for index, (row, expected) in enumerate(zip(job.rows, job.plan.statuses(), strict=True)):
        if (row["position"], row["status"], row["attempt"]) != (index, str(expected), 1):
            yield f"task {index} is at {row['position']}, {row['status']}, attempt {row['attempt']}, not {expected}"
        told = job.outcomes.get((job.plan.id, index), [])
        if told != [(row["status"], row["result"])]:
            yield f"task {index} is {row['status']} with {row['result']}, and the events said {told}"
        if expected is TaskStatus.ABORTED:
            if index in job.runs:
                yield f"task {index} is aborted, and ran: {job.runs[index]}"
        elif expected in FINAL and (index not in job.recorded or job.recorded[index].ended is None):
            yield f"task {index} has the result {row['result']} of no execution that came to an end"


def _unrecorded(job: _Job) -> Iterator[Execution]:
    """Return the executions whose outcome is not the one that counts."""
    for index, executions in job.runs.items():
        yield from (execution for execution in executions if execution is not job.recorded.get(index))


def _disorder(job: _Job) -> Iterator[str]:
    """A step starts after the one before it has ended and is recorded; from then on, that one never starts again."""
    for before, after in pairwise(range(len(job.plan.steps))):
        if after not in job.runs:
            continue
        started = job.runs[after][0].started
        recorded = job.recorded.get(before)
        if recorded is None or recorded.ended is None or recorded.ended > started:
            yield f"step {after} started at {started}, before {recorded} had ended"
        if (again := job.runs[before][-1].started) > started:
            yield f"step {before} started again at {again}, after its successor had at {started}"
