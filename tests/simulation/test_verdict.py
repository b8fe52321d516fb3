"""What the simulator takes for right is as exact as what it takes for wrong."""

from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import pytest

from jabba.jobs.lifecycle import Strategy, TaskState, TaskStatus
from tests.simulation.jobs import SubmittedJob, _slice
from tests.simulation.loop import Process, SimulatedLoop
from tests.simulation.rules import Rules
from tests.simulation.verdict import _result_problems
from tests.simulation.world import SETTINGS

JOB = UUID(int=1)
LOOPED = TaskState(TaskStatus.FAILED, result={"error": "crash_loop: it ended its worker 3 times"})


@pytest.fixture
def rules() -> Rules:
    rules = Rules()
    rules.kafka = cast("Any", SimpleNamespace(world=SimpleNamespace(now=0.0)))
    return rules


@pytest.fixture
def workers() -> list[Process]:
    loop = SimulatedLoop()
    workers = [Process(loop, f"worker-{n}") for n in range(SETTINGS.crash_limit)]
    loop.close()
    return workers


def problems(rules: Rules) -> list[str]:
    job = SubmittedJob(JOB, Strategy.SEQUENTIAL, [_slice(JOB, Strategy.SEQUENTIAL, 0, [range(1)], 0)], 0.0)
    return list(_result_problems(rules, job, {0: LOOPED}))


def test_as_many_crashes_as_the_limit_while_a_step_ran_alone_are_a_crash_loop(
    rules: Rules, workers: list[Process]
) -> None:
    for crashes, worker in enumerate(workers, 1):
        rules._note_crashes((JOB, 0), crashes, worker)
        worker.crash()
    assert problems(rules) == []


def test_a_worker_that_its_group_has_given_up_counts_as_dead(rules: Rules, workers: list[Process]) -> None:
    for crashes, worker in enumerate(workers, 1):
        rules._note_crashes((JOB, 0), crashes, worker)
        rules.given_up(worker)
    assert problems(rules) == []


def test_a_crash_of_a_worker_that_has_handed_the_step_over_does_not_count(rules: Rules, workers: list[Process]) -> None:
    first, *others = workers
    rules._note_crashes((JOB, 0), 1, first)
    rules._note_crashes((JOB, 0), 0, first)
    first.crash()
    for crashes, worker in enumerate(others, 1):
        rules._note_crashes((JOB, 0), crashes, worker)
        worker.crash()
    assert problems(rules) == [f"task 0 of {JOB} ended in crash_loop, but only 2 workers ran it alone"]


def test_a_worker_that_ended_in_peace_is_no_crash(rules: Rules, workers: list[Process]) -> None:
    for crashes, worker in enumerate(workers, 1):
        rules._note_crashes((JOB, 0), crashes, worker)
        worker.kill()
    workers[0].crashed = True
    assert problems(rules) == [
        f"task 0 of {JOB} ended in crash_loop, but {worker} did not crash" for worker in workers[1:]
    ]
