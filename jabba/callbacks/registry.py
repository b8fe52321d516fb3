"""Functions that workers run: registered with ``@jabba.callback``, never named by code that a caller sends."""

import importlib
import importlib.util
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TypeVar, overload
from uuid import UUID

from jabba.errors import JabbaError, NotReady

Function = TypeVar("Function", bound=Callable[..., Any])

CALLBACK_THREADS = "jabba-callback"
"""What the names of the threads begin with in which callbacks run that are not async."""


class DuplicateCallback(JabbaError):
    """Two functions were registered under one name."""


@dataclass(frozen=True, slots=True)
class TaskContext:
    """The task that is running.

    The same ``task_id`` and ``attempt`` mean the same piece of work: with them a callback can make an at-least-once
    delivery exactly once.

    Attributes:
        attempt: counts the calls of this run, from 1; a call that a dead worker left behind keeps its number.
        run: counts the reruns of the job, from 0.
        type: the job's.
        meta: the job's, as far as the slice carries it.
        timeout: seconds that this attempt may take; None without a limit.
        deadline: when the job must have ended, in seconds since the epoch; None without one.
    """

    job_id: UUID
    task_id: UUID
    attempt: int
    run: int = 0
    type: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)
    timeout: float | None = None
    deadline: float | None = None


_context: ContextVar[TaskContext] = ContextVar("jabba_task")
_registry: dict[tuple[str, str], Callable[..., Any]] = {}


def current_task() -> TaskContext:
    """Return the task that the calling callback runs for; LookupError outside of one."""
    return _context.get()


def enter_task(context: TaskContext) -> None:
    """Make ``current_task`` answer ``context`` in this asyncio task and the threads it starts."""
    _context.set(context)


@overload
def callback(function: Function, /) -> Function: ...
@overload
def callback(*, module: str | None = None, name: str | None = None) -> Callable[[Function], Function]: ...
def callback(
    function: Function | None = None, /, *, module: str | None = None, name: str | None = None
) -> Function | Callable[[Function], Function]:
    """Register a function, async or not, as callback ``{"service": "local", "module": …, "function": …}``.

    Without arguments it goes by its own module and name.
    """

    def register(target: Function) -> Function:
        key = (module or target.__module__, name or target.__name__)
        known = _registry.setdefault(key, target)
        if known is not target and (known.__module__, known.__qualname__) != (target.__module__, target.__qualname__):
            raise DuplicateCallback(f"{key[0]}.{key[1]} is registered twice")
        _registry[key] = target
        return target

    return register if function is None else register(function)


def find(module: str, function: str) -> Callable[..., Any] | None:
    """Return the function registered under these names, or None."""
    return _registry.get((module, function))


def check(modules: Iterable[str]) -> None:
    """Refuse modules that are not there, without importing them.

    Raises:
        NotReady: names the first one.
    """
    for module in modules:
        try:
            found = importlib.util.find_spec(module)
        except (ImportError, ValueError):
            found = None
        if found is None:
            raise NotReady(
                f"there is no module {module!r} with callbacks: it must be importable where Jabba is started"
            )


def load(modules: Iterable[str]) -> None:
    """Import the modules whose callbacks may run."""
    for module in modules:
        importlib.import_module(module)
