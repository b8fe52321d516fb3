"""Callbacks that are functions of the worker itself."""

import asyncio
import contextvars
import inspect
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from jabba import callbacks
from jabba.callbacks import TaskContext
from jabba.lanes import answers
from jabba.lanes.answers import Answer
from jabba.models import Callback

SERVICE = "local"


class LocalRunner:
    """Runs registered functions: async ones in the event loop, others in threads, so that they do not hold it up.

    A thread cannot be cancelled: after a hand-over, a slow function may still run beside its successor elsewhere.
    """

    def __init__(self, threads: int) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=callbacks.CALLBACK_THREADS)

    async def run(self, callback: Callback, context: TaskContext) -> Answer:
        """Invoke a callback and answer how it went; only a cancellation is raised."""
        if callback.service != SERVICE:
            return answers.failed(f"unknown service {callback.service!r}: only {SERVICE!r} is configured")
        function = callbacks.find(callback.module, callback.function)
        if function is None:
            return answers.failed(
                f"unknown callback {callback.module}.{callback.function}: no loaded module registers it "
                "with @jabba.callback"
            )
        try:
            return answers.returned(await self._invoke(function, callback.args, context))
        except BaseException as error:
            if _is_cancelled(error):
                raise
            return answers.raised(error)

    def close(self) -> None:
        """Let threads end by themselves; those that still run are not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _invoke(self, function: Callable[..., Any], args: list[Any], context: TaskContext) -> Any:
        callbacks.enter_task(context)
        if inspect.iscoroutinefunction(function):
            return await function(*args)
        call = partial(contextvars.copy_context().run, _call, function, args)
        value = await asyncio.get_running_loop().run_in_executor(self._threads, call)
        return await value if inspect.isawaitable(value) else value


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
