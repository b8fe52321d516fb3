"""An event loop with simulated time, whose callbacks belong to processes that can be paused and killed.

Nothing here waits: when no callback is ready, time jumps to the next timer. Whatever a process starts runs in its
context, so that the loop knows whose callback it is about to run, and holds it back while the process is paused, or
for ever once it is dead.
"""

import asyncio
import heapq
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from itertools import count
from typing import Any, TypeVar

Answer = TypeVar("Answer")

MAX_CALLBACKS = 3_000_000
"""A run that needs more is caught in a loop."""

_current: ContextVar["Process | None"] = ContextVar("process", default=None)


class Stuck(Exception):
    """Nothing is ready and no timer is set, or callbacks follow each other without end."""


class NumberedTask(asyncio.Task[Any]):
    """A task whose hash is its number: asyncio keeps tasks in sets, whose order must not depend on addresses."""

    def __init__(self, number: int, *arguments: Any, **options: Any) -> None:
        self.number = number
        super().__init__(*arguments, **options)

    def __hash__(self) -> int:
        return self.number

    def __eq__(self, other: object) -> bool:
        return self is other


class NumberedFuture(asyncio.Future[Any]):
    """A future whose hash is its number, for the same reason."""

    def __init__(self, number: int, *, loop: asyncio.AbstractEventLoop) -> None:
        self.number = number
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        return self.number

    def __eq__(self, other: object) -> bool:
        return self is other


class SimulatedLoop(asyncio.BaseEventLoop):
    """Runs callbacks in the order in which asyncio would, on simulated time."""

    _ready: deque[asyncio.Handle]
    _scheduled: list[asyncio.TimerHandle]

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self._numbers = count()
        self._callbacks = 0
        self._outside = copy_context()
        self._outside.run(_current.set, None)
        self.processes: list[Process] = []
        self.set_debug(False)
        self.set_task_factory(self._new_task)  # type: ignore[arg-type]  # typeshed wants a protocol

    def time(self) -> float:
        """Return simulated seconds."""
        return self._now

    def create_future(self) -> asyncio.Future[Any]:
        """Make a future with a number."""
        return NumberedFuture(next(self._numbers), loop=self)

    def later(self, seconds: float, call: Callable[..., Any], *arguments: Any) -> asyncio.TimerHandle:
        """Call something that belongs to no process."""
        return self.call_later(seconds, call, *arguments, context=self._outside)

    def start_outside(self, work: Coroutine[Any, Any, Answer]) -> asyncio.Task[Answer]:
        """Start a task that belongs to no process; whatever it raises is told at once."""
        task = self.create_task(work, context=self._outside.copy())
        task.add_done_callback(self._tell)
        return task

    def _tell(self, task: asyncio.Task[Any]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.call_exception_handler({"message": "a task fails", "exception": error})

    def unwind(self) -> None:
        """End every task, those of dead processes included, so that none is destroyed while it waits."""
        self.set_exception_handler(lambda *_: None)
        for process in self.processes:
            process.exhume()
        for _ in range(50):
            waiting = sorted((t for t in asyncio.all_tasks(self) if isinstance(t, NumberedTask)), key=hash)
            if not waiting:
                return
            for task in waiting:
                task.cancel()
            self._callbacks = 0
            self.run_until_complete(asyncio.sleep(60))
        for stubborn in asyncio.all_tasks(self):
            stubborn._log_destroy_pending = False  # type: ignore[attr-defined]

    def _new_task(
        self, _: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any], context: Context | None = None
    ) -> NumberedTask:
        return NumberedTask(next(self._numbers), work, loop=self, context=context)

    def _run_once(self) -> None:
        self._drop_cancelled()
        if not self._ready:
            if not self._scheduled:
                raise Stuck("nothing is ready and no timer is set")
            self._now = max(self._now, self._scheduled[0].when())
        while self._scheduled and self._scheduled[0].when() <= self._now:
            handle = heapq.heappop(self._scheduled)
            handle._scheduled = False  # type: ignore[attr-defined]
            self._ready.append(handle)
        for _ in range(len(self._ready)):
            self._dispatch(self._ready.popleft())

    def _drop_cancelled(self) -> None:
        while self._scheduled and self._scheduled[0].cancelled():
            handle = heapq.heappop(self._scheduled)
            handle._scheduled = False  # type: ignore[attr-defined]

    def _dispatch(self, handle: asyncio.Handle) -> None:
        if handle.cancelled():
            return
        process = handle._context.get(_current)  # type: ignore[attr-defined]
        if process is not None and not process.runs:
            process.held.append(handle)
            return
        self._callbacks += 1
        if self._callbacks > MAX_CALLBACKS:
            raise Stuck("callbacks follow each other without end")
        handle._run()

    def _write_to_self(self) -> None:
        """Wake nobody: no other thread calls in."""


class Process:
    """What is paused and killed as one: everything started inside, and all that this starts in turn."""

    def __init__(self, loop: SimulatedLoop, name: str) -> None:
        self.loop = loop
        self.name = name
        self.alive = True
        self.crashed = False
        self.paused = False
        self.held: list[asyncio.Handle] = []
        self._companions: list[Process] = []
        self._context = copy_context()
        self._context.run(_current.set, self)
        loop.processes.append(self)

    def __repr__(self) -> str:
        return self.name

    @property
    def runs(self) -> bool:
        """Return whether its callbacks run now."""
        return self.alive and not self.paused

    def start(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Start a task of this process; whatever it raises is told at once."""
        task = self.loop.create_task(work, context=self._context.copy())
        task.add_done_callback(self.loop._tell)
        return task

    def call(self, function: Callable[..., Answer], *arguments: Any) -> Answer:
        """Call a function as this process would, now."""
        return self._context.copy().run(function, *arguments)

    def companion(self, name: str) -> "Process":
        """Make another thread of the process: paused and killed with it, but never blocked by it."""
        companion = Process(self.loop, name)
        self._companions.append(companion)
        return companion

    def crash(self) -> None:
        """End it against its will."""
        self.crashed = self.crashed or self.alive
        self.kill()

    def kill(self) -> None:
        """End it: nothing of it ever runs again."""
        self.alive = False
        for companion in self._companions:
            companion.kill()

    def block(self) -> None:
        """Hold the callbacks of its main thread back."""
        self.paused = True

    def pause(self) -> None:
        """Hold all its callbacks back."""
        self.block()
        for companion in self._companions:
            companion.pause()

    def resume(self) -> None:
        """Let it go on with what it was about to do, without knowing that time has passed."""
        for companion in self._companions:
            companion.resume()
        self.paused = False
        if self.alive:
            self.loop._ready.extend(self.held)
            self.held.clear()

    def exhume(self) -> None:
        """Let what is left of it run to its end, once nothing it does matters any more."""
        self.alive = True
        self.resume()


def current_process() -> Process:
    """Return the process whose code is running."""
    process = _current.get()
    if process is None:
        raise LookupError("outside of all processes")
    return process
