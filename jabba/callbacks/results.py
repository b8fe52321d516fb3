"""What a callback's return or exception means: the result contract, in one place."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

from jabba.errors import InvalidRequest, MessageTooLarge, TaskError
from jabba.jobs import json_codec
from jabba.jobs.lifecycle import Outcome, TaskFailed, TaskRescued, TasksAborted, TaskSucceeded, Version
from jabba.messages.events import event_as_json

_LONGEST_TEXT = 10_000
"""Characters of a ``repr`` or an exception's text that are kept."""

_PAIR = 2


class Answer(NamedTuple):
    """How a step ended, before it has a place in the log."""

    event: type[TaskSucceeded] | type[TaskFailed] | type[TaskRescued]
    result: Any


def returned(value: Any) -> Answer:
    """Read what a callback returned.

    A map, ``None``, ``"ok"`` or ``("ok", map)`` is a success; ``"error"`` or ``("error", map)`` a failure. What is no
    map is stored as ``{"success": repr}`` or ``{"error": repr}``.
    """
    if value is None or _is_word(value, "ok"):
        return Answer(TaskSucceeded, {})
    if _is_word(value, "error"):
        return failed("error")
    if isinstance(value, tuple) and len(value) == _PAIR:
        word, result = value
        if _is_word(word, "ok"):
            return succeeded(result)
        if _is_word(word, "error"):
            return failed(result)
    return succeeded(value)


def raised(error: BaseException) -> Answer:
    """Read what a callback raised: a TaskError fails the task with its result, anything else is rescued."""
    if isinstance(error, TaskError):
        return failed(error.result)
    return Answer(TaskRescued, {"error": f"{type(error).__name__}: {_shown(error, str)}"[:_LONGEST_TEXT]})


def succeeded(result: Any) -> Answer:
    """Make the answer of a success."""
    return Answer(TaskSucceeded, result if isinstance(result, dict) else {"success": _shown(result)})


def failed(result: Any) -> Answer:
    """Make the answer of a failure."""
    if isinstance(result, str):
        return Answer(TaskFailed, {"error": json_codec.storable(result[:_LONGEST_TEXT])})
    return Answer(TaskFailed, result if isinstance(result, dict) else {"error": _shown(result)})


@dataclass(frozen=True, slots=True)
class TaskPlace:
    """Which task of which job, for which time; ``type`` is the job's."""

    job: UUID
    index: int
    attempt: int = 1
    type: str | None = None


class Encoded(NamedTuple):
    """An outcome with its wire form."""

    event: Outcome
    text: bytes


def encode(answer: Answer, task: TaskPlace, version: Version, limit: int) -> Encoded:
    """Give an answer its place in the log.

    A result that is no JSON, too deep, or longer than ``limit`` bytes, fails the task with an error that says so.
    """
    event = answer.event(task.job, task.index, version, task.attempt, answer.result, type=task.type)
    try:
        text = json_codec.encode(event_as_json(event))
        json_codec.refuse_deep(answer.result, "", text)
    except InvalidRequest as error:
        return _refused(f"the result {error.message}", event)
    except Exception as error:  # noqa: BLE001 — a map of a foreign class may raise anything
        return _refused(f"the result cannot be read: {_shown(error)}", event)
    if len(text) > limit and (size := len(json_codec.encode(answer.result))) > limit:
        return _refused(f"the result has {size:,} bytes of JSON, and the limit is {limit:,}", event)
    return Encoded(event, text)


def encode_aborted(event: TasksAborted) -> Encoded:
    """Give the wire form of tasks that will never run."""
    return Encoded(event, json_codec.encode(event_as_json(event)))


def too_large(error: MessageTooLarge, event: Outcome) -> Encoded:
    """Make the outcome of a task whose own Kafka does not take, though it is within the limit."""
    return _refused(f"the result is larger than a message may be: {error}", event)


def _refused(reason: str, event: Outcome) -> Encoded:
    attempt = getattr(event, "attempt", 1)
    refused = TaskFailed(
        event.job, event.index, event.version, attempt, {"error": json_codec.storable(reason)}, type=event.type
    )
    return Encoded(refused, json_codec.encode(event_as_json(refused)))


def _is_word(value: Any, word: str) -> bool:
    # Compared with a text, an array answers an array, which is neither true nor false.
    return isinstance(value, str) and value == word


def _shown(value: Any, how: Callable[[Any], str] = repr) -> str:
    try:
        return json_codec.storable(how(value)[:_LONGEST_TEXT])
    except BaseException as error:  # noqa: BLE001 — a foreign __repr__ or __str__ may raise anything
        return f"<{type(value).__name__} whose {how.__name__} raises {type(error).__name__}>"
