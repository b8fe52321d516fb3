"""Functions that a callee offers: how they are named, and how their arguments are checked."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, get_type_hints

from pydantic import ValidationError, validate_call
from pydantic.errors import PydanticUserError

from jabba.callee.context import Context
from jabba.errors import FieldError, JabbaError

Arguments = tuple[tuple[Any, ...], dict[str, Any]]


class InvalidCallback(JabbaError, TypeError):
    """What was registered cannot be a callback of a callee; the message says why."""


class WrongArguments(JabbaError):
    """A call's arguments do not fit the function; ``fields`` names each of them, without its value."""

    def __init__(self, message: str, fields: list[FieldError]) -> None:
        super().__init__(message)
        self.fields = fields


class Function(NamedTuple):
    """A registered function; ``context`` is its parameter that gets the call's context, if it has one."""

    call: Callable[..., Any]
    read: Callable[..., Arguments]
    parameters: tuple[str, ...]
    context: str | None
    context_index: int
    is_async: bool

    def arguments(self, args: list[Any], kwargs: dict[str, Any]) -> Arguments:
        """Return the arguments as the function's annotations want them.

        Raises:
            WrongArguments: names every one that is wrong, missing or too many.
        """
        try:
            return self.read(*args, **kwargs)
        except ValidationError as error:
            found = error.errors(include_url=False, include_input=False, include_context=False)[:100]
            fields = [FieldError(self._place(one["loc"]), one["msg"]) for one in found]
            raise WrongArguments("; ".join(f"{one.field}: {one.message}" for one in fields), fields) from error

    def bind(self, arguments: Arguments, context: Context) -> Callable[[], Any]:
        """Return the call with these arguments, and with its context where the function wants it."""
        args, kwargs = arguments
        if self.context is None:
            return partial(self.call, *args, **kwargs)
        if len(args) <= self.context_index:
            return partial(self.call, *args, **kwargs, **{self.context: context})
        return partial(self.call, *args[: self.context_index], context, *args[self.context_index :], **kwargs)

    def _place(self, place: tuple[int | str, ...]) -> str:
        first, *rest = place
        if isinstance(first, int):
            first = self.parameters[first] if first < len(self.parameters) else f"args[{first}]"
        return ".".join(map(str, (first, *rest)))


def function_of(target: Any, name: str) -> Function:
    """Make a function callable by its arguments as JSON has them.

    Raises:
        InvalidCallback: it is not a function, is a generator function, or its annotations cannot be read.
    """
    if not callable(target):
        raise InvalidCallback(f"{target!r} is not a function: write @callee.callback or @callee.callback(name=…)")
    if inspect.isgeneratorfunction(target) or inspect.isasyncgenfunction(target):
        raise InvalidCallback(f"{name} is a generator function: use context.progress() for what comes in between")
    signature = inspect.signature(target)
    hints = _hints(target, name)
    context = next((one for one in signature.parameters if hints.get(one) is Context), None)
    parameters = [one for one in signature.parameters.values() if one.name != context]
    annotations = {one.name: hints.get(one.name, Any) for one in parameters}
    read = _reader(target, signature.replace(parameters=parameters), annotations, name)
    names = tuple(one.name for one in parameters)
    index = list(signature.parameters).index(context) if context else 0
    if context and signature.parameters[context].kind is inspect.Parameter.KEYWORD_ONLY:
        index = len(signature.parameters)
    return Function(target, read, names, context, index, inspect.iscoroutinefunction(target))


def _hints(target: Any, name: str) -> dict[str, Any]:
    try:
        return get_type_hints(target if inspect.isroutine(target) else type(target).__call__, include_extras=True)
    except (NameError, TypeError) as error:
        raise InvalidCallback(f"the annotations of {name} cannot be read: {error}") from error


def _reader(
    target: Any, signature: inspect.Signature, annotations: dict[str, Any], name: str
) -> Callable[..., Arguments]:
    def read(*args: Any, **kwargs: Any) -> Arguments:
        return args, kwargs

    read.__name__ = name
    read.__module__ = getattr(target, "__module__", __name__)
    read.__annotations__ = annotations
    read.__signature__ = signature.replace(return_annotation=inspect.Signature.empty)  # type: ignore[attr-defined]
    try:
        return validate_call(read)
    except PydanticUserError as error:
        raise InvalidCallback(f"the annotations of {name} cannot be checked: {error.message}") from error
