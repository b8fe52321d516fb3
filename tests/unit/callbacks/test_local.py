import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest

import jabba
from jabba.callbacks.local import LocalRunner
from jabba.callbacks.registry import DuplicateCallback, TaskContext
from jabba.callbacks.results import Answer
from jabba.jobs.lifecycle import TaskFailed, TaskRescued, TaskSucceeded
from jabba.jobs.models import Callback

CONTEXT = TaskContext(uuid4(), uuid4(), 2)


@pytest.fixture
def runner() -> Iterator[LocalRunner]:
    made = LocalRunner(2)
    yield made
    made.close()


async def run(runner: LocalRunner, function: Callable[..., Any], *args: Any) -> Answer:
    name = f"f{uuid4().hex}"
    jabba.callback(module="tests", name=name)(function)
    callback = Callback(service="local", module="tests", function=name, args=list(args))
    return await runner.run(callback, CONTEXT)


async def test_an_async_function_runs_in_the_event_loop(runner: LocalRunner) -> None:
    async def where(a: int, b: int) -> dict[str, Any]:
        return {"sum": a + b, "main": threading.current_thread() is threading.main_thread()}

    assert await run(runner, where, 1, 2) == Answer(TaskSucceeded, {"sum": 3, "main": True})


async def test_another_function_runs_in_a_thread_and_holds_nothing_up(runner: LocalRunner) -> None:
    loop, begun, enough = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

    def blocks() -> dict[str, Any]:
        loop.call_soon_threadsafe(begun.set)
        return {"in time": enough.wait(30), "main": threading.current_thread() is threading.main_thread()}

    running = asyncio.create_task(run(runner, blocks))
    await begun.wait()
    enough.set()
    assert (await running).result == {"in time": True, "main": False}


async def test_both_kinds_know_their_task(runner: LocalRunner) -> None:
    async def in_loop() -> dict[str, Any]:
        return {"attempt": jabba.current_task().attempt, "task": str(jabba.current_task().task_id)}

    def in_thread() -> dict[str, Any]:
        return {"attempt": jabba.current_task().attempt, "task": str(jabba.current_task().task_id)}

    expected = {"attempt": 2, "task": str(CONTEXT.task_id)}
    assert [(await run(runner, function)).result for function in (in_loop, in_thread)] == [expected, expected]


def test_outside_of_a_callback_there_is_no_task() -> None:
    with pytest.raises(LookupError):
        jabba.current_task()


@pytest.mark.parametrize(
    "error, event, result",
    [
        (ValueError("bad"), TaskRescued, {"error": "ValueError: bad"}),
        (jabba.TaskError({"a": 1}), TaskFailed, {"a": 1}),
        (jabba.TaskError("text"), TaskFailed, {"error": "text"}),
        (jabba.TaskError([1]), TaskFailed, {"error": "[1]"}),
        (SystemExit(3), TaskRescued, {"error": "SystemExit: 3"}),
        (KeyboardInterrupt(), TaskRescued, {"error": "KeyboardInterrupt: "}),
        (asyncio.CancelledError("own"), TaskRescued, {"error": "CancelledError: own"}),
        (TimeoutError("late"), TaskRescued, {"error": "TimeoutError: late"}),
    ],
)
async def test_whatever_an_async_callback_raises_becomes_an_answer(
    runner: LocalRunner, error: BaseException, event: Any, result: Any
) -> None:
    async def raises() -> None:
        raise error

    assert await run(runner, raises) == Answer(event, result)


@pytest.mark.parametrize("error", [ValueError("bad"), SystemExit(3), StopIteration(1), jabba.TaskError({})])
async def test_whatever_a_threaded_callback_raises_becomes_an_answer(runner: LocalRunner, error: BaseException) -> None:
    def raises() -> None:
        raise error

    assert (await run(runner, raises)).event in (TaskRescued, TaskFailed)


async def test_wrong_arguments_are_the_callbacks_own_error(runner: LocalRunner) -> None:
    async def one(a: int) -> None:
        raise AssertionError(a)

    answer = await run(runner, one, 1, 2)
    assert answer.event is TaskRescued
    assert "TypeError" in answer.result["error"]


async def test_an_unknown_callback_fails_and_says_how_to_register_it(runner: LocalRunner) -> None:
    answer = await runner.run(Callback(service="local", module="os", function="system", args=["true"]), CONTEXT)
    assert answer.event is TaskFailed
    assert "@jabba.callback" in answer.result["error"]


async def test_an_unknown_service_fails(runner: LocalRunner) -> None:
    answer = await runner.run(Callback(service="mars", module="m", function="f"), CONTEXT)
    assert answer == Answer(TaskFailed, {"error": "unknown service 'mars': only 'local' is configured"})


async def test_the_cancellation_of_the_lane_passes_through(runner: LocalRunner) -> None:
    async def waits() -> None:
        await asyncio.sleep(60)

    running = asyncio.create_task(run(runner, waits))
    await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


def test_two_functions_cannot_share_a_name() -> None:
    @jabba.callback(module="tests", name="taken")
    def first() -> None: ...

    with pytest.raises(DuplicateCallback):

        @jabba.callback(module="tests", name="taken")
        def second() -> None: ...


async def test_who_holds_a_thread_and_who_waits_for_one_is_known(runner: LocalRunner) -> None:
    end = threading.Event()

    def hang() -> None:
        end.wait()

    steps = [asyncio.create_task(run(runner, hang)) for _ in range(3)]
    while not (len(list(runner.places.held())) == 2 and runner.places.waiting() == 1):  # noqa: ASYNC110 — threads tell nobody
        await asyncio.sleep(0.001)
    assert {one.job for one in runner.places.held()} == {CONTEXT.job_id}
    # A thread goes on, and is held, though nobody waits for it any more.
    for step in steps:
        step.cancel()
    await asyncio.wait(steps)
    assert len(list(runner.places.held())) == 2
    assert runner.places.waiting() == 0
    end.set()
    while list(runner.places.held()):  # noqa: ASYNC110 — see above
        await asyncio.sleep(0.001)
