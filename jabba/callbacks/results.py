"""What a callback's return or exception means: the result contract, in one place."""

import inspect
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple
from uuid import UUID

from jabba.callbacks.bounded import LONGEST_TEXT, StoredJson, Unstorable, shown, to_stored_json
from jabba.callbacks.error_report import TRACEBACK_BYTES, report, sentence
from jabba.errors import MessageTooLarge, RetryTask, TaskError
from jabba.jobs import json_codec
from jabba.jobs.lifecycle import (
    CallReport,
    Outcome,
    TaskAttempted,
    TaskFailed,
    TaskRescued,
    TasksAborted,
    TaskSucceeded,
    Version,
)
from jabba.jobs.models import MOST_RESULT_BYTES
from jabba.messages.events import event_as_json

_PAIR = 2

OUTCOMES = {TaskSucceeded: "ok", TaskFailed: "error", TaskRescued: "raised"}
"""How the outcomes of attempts are called."""


@dataclass(frozen=True, slots=True)
class Answer:
    """How a step ended, before it has a place in the log.

    ``text`` is the result as JSON, made where the callback ran: what is stored. ``result`` is what it reads as.
    ``retry`` overrules the policy: False for no other attempt, True for one, or in so many seconds at the earliest.
    ``status_code`` and ``address`` are those of the service that was called. ``unanswered`` is ``infrastructure`` or
    ``timeout`` where this stands in for the word of a callback.
    """

    event: type[TaskSucceeded] | type[TaskFailed] | type[TaskRescued]
    result: Any
    text: bytes | None = field(default=None, compare=False, repr=False)
    retry: bool | float | None = None
    status_code: int | None = None
    address: str | None = None
    unanswered: str | None = None


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much is kept: ``result_bytes`` of a result's JSON, ``traceback_bytes`` of where an exception was raised."""

    result_bytes: int = MOST_RESULT_BYTES
    traceback_bytes: int = TRACEBACK_BYTES


BOUNDS = Bounds()


def returned(value: Any, bounds: Bounds = BOUNDS) -> Answer:
    """Read what a callback returned, whatever it is: nothing is raised.

    A map, ``None``, ``"ok"`` or ``("ok", map)`` is a success; ``"error"`` or ``("error", map)`` a failure. What is no
    map is stored as ``{"success": repr}`` or ``{"error": repr}``. A result that cannot be stored is a failure that says
    why.
    """
    if value is None or _is_word(value, "ok"):
        return succeeded({}, bounds)
    if _is_word(value, "error"):
        return failed("error", bounds)
    if isinstance(value, tuple) and len(value) == _PAIR:
        word, result = value
        if _is_word(word, "ok"):
            return succeeded(result, bounds)
        if _is_word(word, "error"):
            return failed(result, bounds)
    return succeeded(value, bounds)


def raised(error: BaseException, bounds: Bounds = BOUNDS) -> Answer:
    """Read what a callback raised.

    A TaskError fails the task with its result, RetryTask asks for another attempt, anything else is rescued.
    """
    if isinstance(error, RetryTask):
        return replace(failed(str(error)), retry=True if error.after is None else error.after)
    if not isinstance(error, TaskError):
        return _answer(TaskRescued, report(error, bounds.traceback_bytes))
    try:
        result = error.result
    except BaseException as missing:  # noqa: BLE001 — a subclass may have anything there
        told = f"{sentence(error)}; its result cannot be read: {sentence(missing)}"
        return _answer(TaskRescued, report(error, bounds.traceback_bytes) | {"error": told[:LONGEST_TEXT]})
    return failed(result, bounds)


def succeeded(result: Any, bounds: Bounds = BOUNDS) -> Answer:
    """Make the answer of a success."""
    if inspect.isgenerator(result) or inspect.isasyncgen(result) or inspect.iscoroutine(result):
        return failed(f"returned {shown(result)}, which nobody runs: return what it makes", bounds)
    return _bounded(TaskSucceeded, result if isinstance(result, dict) else {"success": shown(result)}, bounds)


def failed(result: Any, bounds: Bounds = BOUNDS) -> Answer:
    """Make the answer of a failure."""
    if isinstance(result, str):
        return _answer(TaskFailed, {"error": json_codec.storable(result[:LONGEST_TEXT])})
    return _bounded(TaskFailed, result if isinstance(result, dict) else {"error": shown(result)}, bounds)


def _bounded(event: type[TaskSucceeded] | type[TaskFailed], result: dict[Any, Any], bounds: Bounds) -> Answer:
    try:
        stored = _stored(result, bounds.result_bytes)
    except Unstorable as error:
        return _answer(TaskFailed, {"error": json_codec.storable(f"the result {error}")})
    return Answer(event, stored.value, stored.text)


def _answer(event: type[TaskFailed] | type[TaskRescued], result: dict[str, Any]) -> Answer:
    """Make an answer of Jabba's own words, which can be stored."""
    return Answer(event, result, json_codec.encode(result))


def _stored(result: Any, limit: int) -> StoredJson:
    try:
        return to_stored_json(result, limit)
    except Unstorable:
        raise
    except BaseException as error:  # what it is made of may raise anything
        raise Unstorable(f"cannot be read: {shown(error)}") from error


@dataclass(frozen=True, slots=True)
class TaskPlace:
    """Which task of which job, for which time; ``type`` is the job's, ``began``, ``worker``, ``waits`` as in events."""

    job: UUID
    index: int
    attempt: int = 1
    type: str | None = None
    began: float | None = None
    worker: str | None = None
    waits: int = 0


class Encoded(NamedTuple):
    """An outcome, or an attempt that was not the last one, with its wire form."""

    event: Outcome | TaskAttempted
    text: bytes
    attempts: Any = None
    """Where its task stands, if it has not ended."""


def encode(answer: Answer, task: TaskPlace, version: Version, limit: int) -> Encoded:
    """Give an answer its place in the log.

    A result that is no JSON, too deep, or longer than ``limit`` bytes, fails the task with an error that says so.
    """
    if answer.text is None:
        try:
            stored = _stored(answer.result, limit)
        except Unstorable as error:
            return _failed(f"the result {error}", task, version)
    else:
        stored = StoredJson(answer.result, answer.text)
    if len(stored.text) > limit and answer.event is not TaskRescued:
        return _failed(f"the result has {len(stored.text):,} bytes of JSON, and the limit is {limit:,}", task, version)
    event = answer.event(
        task.job,
        task.index,
        version,
        task.attempt,
        stored.value,
        type=task.type,
        began=task.began,
        worker=task.worker,
        call=_report(answer, task),
    )
    return Encoded(event, _with_result(event, stored.text))


def _report(answer: Answer, task: TaskPlace) -> CallReport | None:
    """Return how the last attempt ended, None if the event says it all."""
    if answer.address is None and answer.unanswered is None and not task.waits:
        return None
    return CallReport(answer.unanswered or OUTCOMES[answer.event], answer.address, answer.status_code, task.waits)


def encode_aborted(event: TasksAborted) -> Encoded:
    """Give the wire form of tasks that will never run."""
    return Encoded(event, json_codec.encode(event_as_json(event)))


def too_large(error: MessageTooLarge, event: Outcome | TaskAttempted) -> Encoded:
    """Make the outcome of a task whose own Kafka does not take, though it is within the limit."""
    place = TaskPlace(event.job, event.index, getattr(event, "attempt", 1), event.type)
    return _failed(f"the result is larger than a message may be: {error}", place, event.version)


def _failed(reason: str, task: TaskPlace, version: Version) -> Encoded:
    result = {"error": json_codec.storable(reason)}
    refused = TaskFailed(task.job, task.index, version, task.attempt, result, type=task.type)
    return Encoded(refused, json_codec.encode(event_as_json(refused)))


def _with_result(event: Outcome, result: bytes) -> bytes:
    """Return the wire form of an event whose result is JSON already."""
    document = event_as_json(event)
    del document["result"]
    return json_codec.encode(document)[:-1] + b',"result":' + result + b"}"


def _is_word(value: Any, word: str) -> bool:
    # Compared with a text, an array answers an array, which is neither true nor false.
    return isinstance(value, str) and value == word
