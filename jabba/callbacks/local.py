"""Callbacks that are functions of the worker itself."""

import asyncio
import contextvars
import inspect
import logging
import os
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Generator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from jabba.callbacks import registry, results
from jabba.callbacks.bounded import SERIALIZE_SECONDS, is_plain
from jabba.callbacks.places import Capacity, Held
from jabba.callbacks.registry import TaskContext
from jabba.callbacks.results import BOUNDS, Answer, Bounds
from jabba.callbacks.transport import Postponed
from jabba.jobs.lifecycle import TaskRescued
from jabba.jobs.models import Callback
from jabba.jobs.retry import Defaults

logger = logging.getLogger(__name__)

_NESTED_AWAITABLES = 10
_ANSWER_PAIR = 2


class LocalRunner:
    """Runs registered functions: async ones in the event loop, others in threads, so that they do not hold it up.

    Each step runs in an asyncio task and a fresh copy of the worker's context of its own: what a callback does to
    either, such as a cancellation, stays with it. A thread cannot be cancelled: after a hand-over, a slow function may
    still run beside its successor elsewhere. ``places`` are the threads.
    """

    def __init__(
        self,
        threads: int,
        monotonic: Callable[[], float] = time.monotonic,
        bounds: Bounds = BOUNDS,
        *,
        unknown_seconds: float = 300.0,
    ) -> None:
        self._unknown_seconds = unknown_seconds
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=registry.CALLBACK_THREADS)
        self._monotonic = monotonic
        self._bounds = bounds
        self._context = contextvars.copy_context()
        self._process = os.getpid()
        # Both are changed in threads, one operation at a time.
        self._held: dict[object, Held] = {}
        self._waiting: set[object] = set()
        self.places = Capacity("threads", threads, lambda: list(self._held.values()), lambda: len(self._waiting))

    async def run(self, callback: Callback, context: TaskContext) -> Answer | Postponed:
        """Invoke a callback and return how it went; only a cancellation of the caller is raised.

        A callback that is not registered here is waited for: a worker of the next version may know it.
        """
        function = registry.find(callback.module, callback.function)
        if function is None:
            return Postponed(
                f"unknown callback {callback.module}.{callback.function}: no module that the workers load "
                "(JABBA_CALLBACKS) registers it with @jabba.callback",
                limit=self._unknown_seconds,
            )
        answer = await self._invoke(function, callback, context)
        if answer.event is TaskRescued:
            _log(callback, context, answer.result)
        return answer

    @staticmethod
    def defaults(callback: Callback) -> Defaults:
        """Return the policy with which a callback was registered."""
        return registry.defaults_of(callback.module, callback.function)

    def close(self) -> None:
        """Let threads end by themselves; those that still run are not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _invoke(self, function: Callable[..., Any], callback: Callback, context: TaskContext) -> Answer:
        variables = self._context.copy()
        variables.run(registry.enter_task, context)
        if inspect.iscoroutinefunction(function):
            return await self._in_task(lambda: function(*callback.args), variables)
        step = object()
        held = Held(f"{callback.module}.{callback.function}", context.job_id, self._monotonic())
        call = partial(variables.run, self._in_thread, step, held, function, callback.args)
        self._waiting.add(step)
        try:
            answer = await asyncio.get_running_loop().run_in_executor(self._threads, call)
        finally:
            self._waiting.discard(step)
        return answer if isinstance(answer, Answer) else await self._in_task(lambda: answer, variables)

    def _in_thread(
        self, step: object, held: Held, function: Callable[..., Any], args: list[Any]
    ) -> Answer | Awaitable[Any]:
        """Call a function in its thread, which it holds even if nobody waits for it any more."""
        self._waiting.discard(step)
        self._held[step] = held._replace(since=self._monotonic())
        try:
            value = function(*args)
            return value if inspect.isawaitable(value) else results.returned(value, self._bounds)
        except BaseException as error:  # noqa: BLE001 — whatever it is, the step has ended with it
            return results.raised(error, self._bounds)
        finally:
            self._end_copy()
            del self._held[step]

    async def _in_task(self, begin: Callable[[], Awaitable[Any]], variables: contextvars.Context) -> Answer:
        """Await what a callback returns, in a task that is its own."""
        caller = asyncio.current_task()
        step = asyncio.create_task(self._awaited(begin, caller), context=variables)
        try:
            return await step
        except asyncio.CancelledError as error:
            if _is_cancelled(caller):
                raise
            # It cancelled its own task and then returned.
            return results.raised(error, self._bounds)

    async def _awaited(self, begin: Callable[[], Awaitable[Any]], caller: "asyncio.Task[Any] | None") -> Answer:
        try:
            value = await _Guarded(_settled(begin), self._end_copy)
            if is_plain(value):
                return results.returned(value, self._bounds)
            return await self._read_in_thread(value)
        except asyncio.CancelledError as error:
            if _is_cancelled(caller):
                raise
            return results.raised(error, self._bounds)
        except BaseException as error:  # noqa: BLE001 — whatever it is, the step has ended with it
            return results.raised(error, self._bounds)

    async def _read_in_thread(self, value: Any) -> Answer:
        """Read a result whose iterators and objects may be slow, in a thread that nobody waits for too long."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Answer] = loop.create_future()

        def settle(found: Answer) -> None:
            if not answer.done():
                answer.set_result(found)

        def read() -> None:
            found = results.returned(value, self._bounds)
            try:
                loop.call_soon_threadsafe(settle, found)
            except RuntimeError:
                logger.debug("the event loop has ended before a result was read")

        threading.Thread(target=read, name=f"{registry.CALLBACK_THREADS}-result", daemon=True).start()
        try:
            async with asyncio.timeout(SERIALIZE_SECONDS + 1):
                return await answer
        except TimeoutError:
            return results.failed(f"the result took longer than {SERIALIZE_SECONDS:g} s to be read", self._bounds)

    def _end_copy(self) -> None:
        """End a process that a callback forked off: it is a copy of the worker, and must not act as the worker."""
        if os.getpid() != self._process:
            os._exit(0)


class _Guarded:
    """An awaitable that calls ``check`` whenever another one gives the event loop its turn, and when it has ended."""

    def __init__(self, inner: Coroutine[Any, Any, Any], check: Callable[[], None]) -> None:
        self._inner = inner
        self._check = check

    def __await__(self) -> Generator[Any, Any, Any]:
        step: Callable[[Any], Any] = self._inner.send
        given: Any = None
        while True:
            try:
                awaited = step(given)
            except StopIteration as end:
                return end.value
            finally:
                self._check()
            try:
                step, given = self._inner.send, (yield awaited)
            except GeneratorExit:
                self._inner.close()
                raise
            except BaseException as error:  # noqa: BLE001 — it is raised where it is awaited
                step, given = self._inner.throw, error


async def _settled(begin: Callable[[], Awaitable[Any]]) -> Any:
    """Return what a callback returns in the end: an awaitable that it returns is awaited, as a forgotten await."""
    value = await begin()
    for _ in range(_NESTED_AWAITABLES):
        if isinstance(value, tuple) and len(value) == _ANSWER_PAIR and inspect.isawaitable(value[1]):
            value = value[0], await value[1]
        elif inspect.isawaitable(value):
            value = await value
        else:
            break
    return value


def _is_cancelled(task: "asyncio.Task[Any] | None") -> bool:
    """Tell the cancellation of the lane from one that the callback raised by itself."""
    return task is not None and task.cancelling() > 0


def _log(callback: Callback, context: TaskContext, result: dict[str, Any]) -> None:
    name = f"{callback.module}.{callback.function}"
    text = "callback %s raised %s (job=%s task=%s attempt=%d)\n%s"
    logger.warning(
        text, name, result["error"], context.job_id, context.task_id, context.attempt, result.get("traceback", "")
    )
