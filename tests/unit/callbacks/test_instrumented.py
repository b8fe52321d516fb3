import asyncio
from uuid import UUID

import pytest

from jabba.callbacks import results
from jabba.callbacks.instrumented import MeasuredRunner
from jabba.callbacks.places import Held
from jabba.callbacks.registry import TaskContext
from jabba.callbacks.results import Answer
from jabba.callbacks.transport import Postponed, Reply, Unanswered
from jabba.jobs.models import Callback

CONTEXT = TaskContext(UUID(int=1), UUID(int=2), 1)
CALLBACK = Callback(service="local", module="m", function="f", args=[])


class Scripted:
    """Answers one after the other, each after a second of ``now``."""

    def __init__(self, *given: Reply) -> None:
        self.given = list(given)
        self.now = 0.0

    async def run(self, _callback: Callback, _context: TaskContext) -> Reply:
        self.now += 1.0
        if not self.given:
            raise asyncio.CancelledError
        return self.given.pop(0)


async def test_outcomes_are_counted_and_timed() -> None:
    scripted = Scripted(
        results.succeeded({}),
        results.failed("no"),
        results.raised(ValueError()),
        Unanswered("away"),
        Postponed("busy"),
    )
    runner = MeasuredRunner(scripted, lambda: scripted.now)
    assert [await runner.run(CALLBACK, CONTEXT) for _ in range(3)] == [
        results.succeeded({}),
        results.failed("no"),
        results.raised(ValueError()),
    ]
    assert [await runner.run(CALLBACK, CONTEXT) for _ in range(2)] == [Unanswered("away"), Postponed("busy")]
    with pytest.raises(asyncio.CancelledError):
        await runner.run(CALLBACK, CONTEXT)
    counted = {"succeeded": 1, "failed": 1, "rescued": 1, "cancelled": 1, "unanswered": 1, "postponed": 1}
    assert runner.outcomes == counted
    assert runner.seconds.total == 6.0


async def test_what_runs_is_known() -> None:
    seen: list[Held] = []

    class Looking:
        async def run(self, _callback: Callback, _context: TaskContext) -> Answer:
            seen.extend(runner.running)
            return results.succeeded({})

    runner = MeasuredRunner(Looking(), lambda: 7.0)
    await runner.run(CALLBACK, CONTEXT)
    assert seen == [Held("m.f", CONTEXT.job_id, 7.0)]
    assert not runner.running
