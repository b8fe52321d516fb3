import asyncio
from uuid import UUID

import pytest

from jabba.callbacks import results
from jabba.callbacks.instrumented import MeasuredRunner
from jabba.callbacks.places import Held
from jabba.callbacks.registry import TaskContext
from jabba.callbacks.results import Answer
from jabba.jobs.models import Callback

CONTEXT = TaskContext(UUID(int=1), UUID(int=2), 1)
CALLBACK = Callback(service="local", module="m", function="f", args=[])


class Scripted:
    """Answers one after the other, each after a second of ``now``."""

    def __init__(self, *given: Answer) -> None:
        self.given = list(given)
        self.now = 0.0

    async def run(self, _callback: Callback, _context: TaskContext) -> Answer:
        self.now += 1.0
        if not self.given:
            raise asyncio.CancelledError
        return self.given.pop(0)


async def test_outcomes_are_counted_and_timed() -> None:
    scripted = Scripted(results.succeeded({}), results.failed("no"), results.raised(ValueError()))
    runner = MeasuredRunner(scripted, lambda: scripted.now)
    assert [await runner.run(CALLBACK, CONTEXT) for _ in range(3)] == [
        results.succeeded({}),
        results.failed("no"),
        results.raised(ValueError()),
    ]
    with pytest.raises(asyncio.CancelledError):
        await runner.run(CALLBACK, CONTEXT)
    assert runner.outcomes == {"succeeded": 1, "failed": 1, "rescued": 1, "cancelled": 1}
    assert runner.seconds.total == 4.0


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
