"""The jobs of the load: what each asks for, and what must come of it."""

import random
import time
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from jabba.jobs import ids
from jabba.jobs.lifecycle import JobStatus, Strategy, TaskStatus
from jabba.messages.slices import MAX_TASKS, partition_key
from jabba.messages.topics import partition_of

MODULE = "tests.fault.steps"

_ENDINGS = {"ok": TaskStatus.PROCESSED, "error": TaskStatus.FAILED, "raise": TaskStatus.RESCUED}
_FAILING = 0.15
_SLOW_STEPS_FROM = 0.1
"""A slow step takes from this share of the longest one to all of it."""


@dataclass(frozen=True, slots=True)
class Step:
    """One task: the function that runs, how long it takes and how it ends."""

    function: str = "step"
    seconds: float = 0.0
    ending: str = "ok"


@dataclass(frozen=True, slots=True)
class Plan:
    """One job."""

    id: UUID
    kind: str
    strategy: Strategy
    steps: tuple[Step, ...]

    @property
    def document(self) -> dict[str, Any]:
        """The submission."""
        tasks = [
            ["local", MODULE, step.function, [index, step.seconds, step.ending]]
            for index, step in enumerate(self.steps)
        ]
        return {"id": str(self.id), "type": self.kind, "strategy": self.strategy, "tasks": tasks}

    def statuses(self) -> list[TaskStatus]:
        """Return the status in which each task must end."""
        planned = [_ENDINGS[step.ending] for step in self.steps]
        failed = self._first_failed()
        if self.strategy is Strategy.CONCURRENT or failed is None:
            return planned
        return planned[: failed + 1] + [TaskStatus.ABORTED] * (len(planned) - failed - 1)

    @property
    def status(self) -> JobStatus:
        """The status in which the job must end."""
        return JobStatus.PROCESSED if self._first_failed() is None else JobStatus.FAILED

    def partition(self, index: int, partitions: int) -> int:
        """Return the partition in which a task runs; all slices of a plan are cut by their number of tasks."""
        return partition_of(partition_key(self.strategy, self.id, 0, index // MAX_TASKS), partitions)

    def _first_failed(self) -> int | None:
        return next((index for index, step in enumerate(self.steps) if step.ending != "ok"), None)


class Planner:
    """Draws plans from one random source; their ids alone depend on the time."""

    def __init__(self, rng: random.Random, longest_step: float = 2.0) -> None:
        self._rng = rng
        self._longest = longest_step

    def single(self) -> Plan:
        """Plan a job of one task."""
        return self._plan("single", Strategy.SEQUENTIAL, 1)

    def steps(self) -> Plan:
        """Plan a sequential job of twenty steps, some of them slow."""
        return self._plan("steps", Strategy.SEQUENTIAL, 20, slow=0.05)

    def slices(self) -> Plan:
        """Plan a sequential job of three slices."""
        return self._plan("slices", Strategy.SEQUENTIAL, 250)

    def fan(self) -> Plan:
        """Plan a concurrent job of three slices, some of its tasks slow."""
        return self._plan("fan", Strategy.CONCURRENT, 250, slow=0.02)

    def _plan(self, kind: str, strategy: Strategy, count: int, slow: float = 0.0) -> Plan:
        steps = [self._step(slow) for _ in range(count)]
        if self._rng.random() < _FAILING:
            failing = self._rng.randrange(count)
            steps[failing] = Step(ending=self._rng.choice(("error", "raise")))
        return Plan(ids.new_job_id(time.time()), kind, strategy, tuple(steps))

    def _step(self, slow: float) -> Step:
        function = self._rng.choice(("step", "step", "threaded"))
        return Step(
            function, self._longest * self._rng.uniform(_SLOW_STEPS_FROM, 1.0) if self._rng.random() < slow else 0.0
        )
