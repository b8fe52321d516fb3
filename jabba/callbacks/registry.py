"""Functions that workers run: registered with ``@jabba.callback``, never named by code that a caller sends."""

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import CellType
from typing import Any, NamedTuple, TypeVar, overload
from uuid import UUID

from jabba.errors import JabbaError, NotReady
from jabba.jobs.retry import LONGEST_SECONDS, NO_DEFAULTS, Defaults, Retry

Function = TypeVar("Function", bound=Callable[..., Any])

CALLBACK_THREADS = "jabba-callback"
"""What the names of the threads begin with in which callbacks run that are not async."""


class DuplicateCallback(JabbaError):
    """Two functions were registered under one name."""


class InvalidCallback(JabbaError, TypeError):
    """What was registered cannot be a callback; the message says why, and what to do."""


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
_registry: dict[tuple[str, str], "_Registered"] = {}


def current_task() -> TaskContext:
    """Return the task that the calling callback runs for; LookupError outside of one."""
    return _context.get()


def enter_task(context: TaskContext) -> None:
    """Make ``current_task`` answer ``context`` in this asyncio task and the threads it starts."""
    _context.set(context)


@overload
def callback(function: Function, /) -> Function: ...
@overload
def callback(
    *, module: str | None = None, name: str | None = None, retry: Retry | None = None, timeout: float | None = None
) -> Callable[[Function], Function]: ...
def callback(
    function: Function | None = None,
    /,
    *,
    module: str | None = None,
    name: str | None = None,
    retry: Retry | None = None,
    timeout: float | None = None,
) -> Function | Callable[[Function], Function]:
    """Register a function, async or not, as callback ``{"service": "local", "module": …, "function": …}``.

    Without arguments it goes by its own module and name. Importing its module again replaces it. ``retry`` is its retry
    policy and ``timeout`` the seconds that one attempt may take, where its job and task do not say otherwise.

    Raises:
        DuplicateCallback: another function has this name; the message says where both were registered.
        InvalidCallback: it cannot be called, has no name of its own, or is a generator function, or its timeout is
            not a number of seconds.
    """
    if function is not None:
        _register(function, module, name, _place_of_caller(), NO_DEFAULTS)
        return function

    if timeout is not None and not 0 < timeout <= LONGEST_SECONDS:
        raise InvalidCallback(f"timeout must be a number of seconds above 0, not {timeout!r}")
    defaults = Defaults(retry, timeout)

    def register(target: Function) -> Function:
        _register(target, module, name, _place_of_caller(), defaults)
        return target

    return register


class _Place(NamedTuple):
    """Where something was registered."""

    file: str
    line: int
    module: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


class _Registered(NamedTuple):
    function: Callable[..., Any]
    place: _Place
    source: tuple[Any, ...]
    defaults: Defaults


def _place_of_caller() -> _Place:
    frame = sys._getframe(2)  # noqa: SLF001 — the whole stack, as inspect reads it, would read files
    return _Place(frame.f_code.co_filename, frame.f_lineno, frame.f_globals.get("__name__", "__main__"))


def _register(target: Any, module: str | None, name: str | None, place: _Place, defaults: Defaults) -> None:
    if not callable(target):
        raise InvalidCallback(f"{target!r} is no function: write @jabba.callback, or @jabba.callback(name=…)")
    name = name or getattr(target, "__name__", None)
    if name is None:
        raise InvalidCallback(f"{target!r} has no name of its own: register it with jabba.callback(name=…)(…)")
    key = (module or (target.__module__ if hasattr(target, "__name__") else place.module), name)
    _refuse_generators(target, ".".join(key))
    registered = _Registered(target, place, _source(target), defaults)
    before = _registry.setdefault(key, registered)
    if before.function is not target and before[1:3] != registered[1:3]:
        raise DuplicateCallback(f"{key[0]}.{key[1]} is registered twice: at {before.place} and at {place}")
    _registry[key] = registered


def _refuse_generators(target: Any, name: str) -> None:
    called = (target, inspect.getattr_static(type(target), "__call__", None))
    if any(inspect.isgeneratorfunction(one) or inspect.isasyncgenfunction(one) for one in called):
        raise InvalidCallback(f"{name} is a generator function, which nothing runs to its end: return what it yields")


def _source(target: Any, depth: int = 5) -> tuple[Any, ...]:
    """Return where a function stands, with those that it wraps: the same when its module is imported again."""
    code = getattr(target, "__code__", None)
    if code is None or not depth:
        return (type(target).__qualname__, getattr(target, "__qualname__", None))
    inner = [cell.cell_contents for cell in target.__closure__ or () if _is_filled(cell)]
    wrapped = [_source(one, depth - 1) for one in inner if hasattr(one, "__code__")]
    return (code.co_filename, code.co_firstlineno, target.__qualname__, *wrapped)


def _is_filled(cell: CellType) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False


def find(module: str, function: str) -> Callable[..., Any] | None:
    """Return the function registered under these names, or None."""
    registered = _registry.get((module, function))
    return None if registered is None else registered.function


def defaults_of(module: str, function: str) -> Defaults:
    """Return the policy with which a function was registered."""
    registered = _registry.get((module, function))
    return NO_DEFAULTS if registered is None else registered.defaults


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
