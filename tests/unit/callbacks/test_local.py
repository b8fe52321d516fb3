import asyncio
import contextvars
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest

import jabba
from jabba.callbacks.local import LocalRunner
from jabba.callbacks.registry import DuplicateCallback, InvalidCallback, TaskContext
from jabba.callbacks.results import Answer
from jabba.callbacks.transport import Postponed
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
    reply = await runner.run(callback, CONTEXT)
    assert isinstance(reply, Answer)
    return reply


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

    answer = await run(runner, raises)
    assert answer.event is event
    assert result.items() <= answer.result.items()


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


async def test_an_unknown_callback_waits_and_says_how_to_register_it(runner: LocalRunner) -> None:
    reply = await runner.run(Callback(service="local", module="os", function="system", args=["true"]), CONTEXT)
    assert isinstance(reply, Postponed)
    assert reply.limit == 300.0
    assert "@jabba.callback" in reply.reason


async def test_a_registered_policy_is_the_default_of_its_callback(runner: LocalRunner) -> None:
    name = f"f{uuid4().hex}"
    policy = jabba.Retry(max_attempts=4)
    jabba.callback(module="tests", name=name, retry=policy, timeout=2.5)(lambda: None)
    assert runner.defaults(Callback(service="local", module="tests", function=name)) == (policy, 2.5)
    assert runner.defaults(Callback(service="local", module="tests", function="unknown")) == (None, None)


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf")])
def test_a_timeout_that_is_no_time_is_refused_where_it_is_given(timeout: float) -> None:
    with pytest.raises(InvalidCallback, match="timeout"):
        jabba.callback(module="tests", name="never", timeout=timeout)(lambda: None)


async def test_a_callback_may_ask_for_another_attempt(runner: LocalRunner) -> None:
    async def busy() -> None:
        raise jabba.RetryTask("the stock is being counted", after=30)

    answer = await run(runner, busy)
    assert (answer.event, answer.retry) == (TaskFailed, 30)
    assert answer.result == {"error": "the stock is being counted"}


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


def cancelled_at_once() -> Callable[..., Any]:
    async def callback() -> None:
        own_task().cancel()
        await asyncio.sleep(60)

    return callback


def cancelled_later() -> Callable[..., Any]:
    async def callback() -> None:
        asyncio.get_running_loop().call_later(0.001, own_task().cancel)
        await asyncio.sleep(60)

    return callback


def cancelled_and_returned() -> Callable[..., Any]:
    async def callback() -> dict[str, int]:
        own_task().cancel()
        return {"a": 1}

    return callback


def cancelled_by_a_library() -> Callable[..., Any]:
    async def callback() -> None:
        inner = asyncio.create_task(asyncio.sleep(60))
        inner.cancel()
        await inner

    return callback


def cancelled_behind_a_thread() -> Callable[..., Any]:
    def callback() -> Any:
        return cancelled_at_once()()

    return callback


def own_task() -> "asyncio.Task[Any]":
    task = asyncio.current_task()
    assert task is not None
    return task


@pytest.mark.parametrize(
    "make",
    [cancelled_at_once, cancelled_later, cancelled_and_returned, cancelled_by_a_library, cancelled_behind_a_thread],
)
async def test_a_callback_that_cancels_itself_is_rescued(
    runner: LocalRunner, make: Callable[[], Callable[..., Any]]
) -> None:
    answer = await run(runner, make())
    assert answer.event is TaskRescued
    assert answer.result["error"].startswith("CancelledError")
    assert own_task().cancelling() == 0


@pytest.mark.parametrize("kind", [GeneratorExit, asyncio.CancelledError, KeyboardInterrupt])
async def test_what_ends_a_callback_otherwise_is_an_outcome(runner: LocalRunner, kind: type[BaseException]) -> None:
    async def in_loop() -> None:
        await asyncio.sleep(0)
        raise kind

    def in_thread() -> None:
        raise kind

    for function in (in_loop, in_thread):
        answer = await run(runner, function)
        assert (answer.event, answer.result["error"]) == (TaskRescued, f"{kind.__name__}: ")


async def test_a_cancelled_lane_ends_its_callback_first(runner: LocalRunner) -> None:
    ended: list[str] = []
    begun = asyncio.Event()

    async def cleans_up() -> None:
        begun.set()
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)
            ended.append("cleaned up")

    running = asyncio.create_task(run(runner, cleans_up))
    await begun.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert ended == ["cleaned up"]


async def test_forgotten_awaits_are_made_up_for(runner: LocalRunner) -> None:
    async def other() -> dict[str, int]:
        return {"a": 1}

    async def forgets() -> Any:
        return other()

    async def forgets_twice() -> Any:
        return forgets()

    async def forgets_in_a_pair() -> Any:
        return "ok", other()

    def is_not_async() -> Any:
        return forgets()

    for function in (forgets, forgets_twice, forgets_in_a_pair, is_not_async):
        assert await run(runner, function) == Answer(TaskSucceeded, {"a": 1})


def test_context_variables_do_not_leak() -> None:
    variable = contextvars.ContextVar("variable", default="none")
    variable.set("the worker's")
    runner = LocalRunner(1)

    async def in_loop() -> dict[str, str]:
        before = variable.get()
        variable.set("in the loop")
        return {"before": before}

    def in_thread() -> dict[str, str]:
        before = variable.get()
        variable.set("in a thread")
        return {"before": before}

    async def steps() -> list[Any]:
        variable.set("a lane's")
        return [(await run(runner, function)).result for function in (in_loop, in_loop, in_thread, in_thread, in_loop)]

    assert asyncio.run(steps()) == [{"before": "the worker's"}] * 5
    runner.close()


async def test_a_result_is_read_where_the_callback_ran(runner: LocalRunner) -> None:
    def rows() -> dict[str, Any]:
        connection = sqlite3.connect(":memory:")
        return {"rows": connection.execute("SELECT 1 UNION SELECT 2")}

    assert (await run(runner, rows)).result == {"rows": [[1], [2]]}


async def test_a_slow_result_holds_nobody_up(runner: LocalRunner) -> None:
    loop, asked, given = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

    def slow() -> Iterator[int]:
        loop.call_soon_threadsafe(asked.set)
        assert given.wait(30)
        yield 1

    async def in_loop() -> dict[str, Any]:
        return {"x": slow()}

    def in_thread() -> dict[str, Any]:
        return {"x": slow()}

    for function in (in_loop, in_thread):
        asked.clear()
        given.clear()
        running = asyncio.create_task(run(runner, function))
        await asked.wait()
        given.set()
        assert (await running).result == {"x": [1]}


async def test_an_error_is_logged_once_with_its_task(runner: LocalRunner, caplog: pytest.LogCaptureFixture) -> None:
    async def fails() -> None:
        raise ValueError("bad luck")

    answer = await run(runner, fails)
    assert 'raise ValueError("bad luck")' in answer.result["traceback"]
    assert "jabba/callbacks" not in answer.result["traceback"]
    [record] = caplog.records
    text = record.getMessage()
    assert str(CONTEXT.job_id) in text
    assert str(CONTEXT.task_id) in text
    assert "bad luck" in text


FORKS = """
import asyncio, os
from uuid import uuid4
import jabba
from jabba.callbacks.local import LocalRunner
from jabba.callbacks.registry import TaskContext
from jabba.jobs.models import Callback

read, write = os.pipe()

async def returns():
    os.fork()
    return {"a": 1}

async def awaits():
    waiting = asyncio.get_running_loop().create_future()
    os.fork()
    asyncio.get_running_loop().call_later(0.01, waiting.set_result, None)
    await waiting
    return {"a": 1}

def in_a_thread():
    os.fork()
    return {"a": 1}

async def main():
    runner = LocalRunner(1)
    for function in (returns, awaits, in_a_thread):
        jabba.callback(module="forks", name=function.__name__)(function)
        callback = Callback(service="local", module="forks", function=function.__name__)
        answer = await runner.run(callback, TaskContext(uuid4(), uuid4(), 1))
        os.write(write, f"{function.__name__} {answer.result}\\n".encode())

asyncio.run(main())
os.close(write)
print(os.read(read, 10_000).decode())
"""


def test_a_process_that_a_callback_forks_off_does_not_act_as_the_worker() -> None:
    ran = subprocess.run([sys.executable, "-c", FORKS], capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout.split("\n")[:3] == [f"{name} {{'a': 1}}" for name in ("returns", "awaits", "in_a_thread")]
    assert ran.stdout.strip().count("\n") == 2
