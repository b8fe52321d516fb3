"""Callbacks that are functions of the worker itself."""

import asyncio
import contextvars
import inspect
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from jabba.callbacks import registry, results
from jabba.callbacks.places import Capacity, Held
from jabba.callbacks.registry import TaskContext
from jabba.callbacks.results import Answer
from jabba.jobs.models import Callback

SERVICE = "local"


class LocalRunner:
    """Runs registered functions: async ones in the event loop, others in threads, so that they do not hold it up.

    A thread cannot be cancelled: after a hand-over, a slow function may still run beside its successor elsewhere.
    ``places`` are its threads.
    """

    def __init__(self, threads: int, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=registry.CALLBACK_THREADS)
        self._monotonic = monotonic
        # Both are changed in threads, one operation at a time.
        self._held: dict[object, Held] = {}
        self._waiting: set[object] = set()
        self.places = Capacity("threads", threads, lambda: list(self._held.values()), lambda: len(self._waiting))

    async def run(self, callback: Callback, context: TaskContext) -> Answer:
        """Invoke a callback and return how it went; only a cancellation is raised."""
        if callback.service != SERVICE:
            return results.failed(f"unknown service {callback.service!r}: only {SERVICE!r} is configured")
        function = registry.find(callback.module, callback.function)
        if function is None:
            return results.failed(
                f"unknown callback {callback.module}.{callback.function}: no loaded module registers it "
                "with @jabba.callback"
            )
        try:
            return results.returned(await self._invoke(function, callback, context))
        except BaseException as error:
            if _is_cancelled(error):
                raise
            return results.raised(error)

    def close(self) -> None:
        """Let threads end by themselves; those that still run are not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _invoke(self, function: Callable[..., Any], callback: Callback, context: TaskContext) -> Any:
        registry.enter_task(context)
        if inspect.iscoroutinefunction(function):
            return await function(*callback.args)
        step = object()
        hold = partial(self._hold, step, f"{callback.module}.{callback.function}", context)
        call = partial(contextvars.copy_context().run, hold, function, callback.args)
        self._waiting.add(step)
        try:
            value = await asyncio.get_running_loop().run_in_executor(self._threads, call)
        finally:
            self._waiting.discard(step)
        return await value if inspect.isawaitable(value) else value

    def _hold(
        self, step: object, name: str, context: TaskContext, function: Callable[..., Any], args: list[Any]
    ) -> Any:
        """Call a function in its thread, which it holds even if nobody waits for it any more."""
        self._waiting.discard(step)
        self._held[step] = Held(name, context.job_id, self._monotonic())
        try:
            return _call(function, args)
        finally:
            del self._held[step]


def _call(function: Callable[..., Any], args: list[Any]) -> Any:
    try:
        return function(*args)
    except StopIteration as error:
        # A future cannot carry it.
        raise RuntimeError("callback raised StopIteration") from error


def _is_cancelled(error: BaseException) -> bool:
    """Tell the cancellation of the lane from one that the callback raised by itself."""
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0
