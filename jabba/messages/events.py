"""Events on the wire: JSON, versioned, a public contract that anyone may read (``docs/protocol.md``)."""

from typing import Any
from uuid import UUID

from jabba.jobs import ids, json_codec
from jabba.jobs.lifecycle import (
    CallReport,
    Event,
    JobClosed,
    TaskAttempted,
    TaskFailed,
    TaskRescued,
    TasksAborted,
    TaskStarted,
    TaskSucceeded,
    Version,
)
from jabba.messages.decoding import decode_documents

_SENT = {cls.kind: cls for cls in (TaskStarted, TaskAttempted, TaskSucceeded, TaskFailed, TaskRescued, TasksAborted)}

_OF_ATTEMPT = ("outcome", "error", "began", "ended", "next_at", "worker", "address", "status_code", "waits")

KINDS = frozenset({*_SENT, JobClosed.kind})
"""The names of all events that are sent."""


def event_as_json(event: Event | JobClosed) -> dict[str, Any]:
    """Return the wire form of an event that is sent or recorded."""
    run, epoch, seq = event.version
    document: dict[str, Any] = {"v": 1, "event": event.kind, "job": str(event.job)}
    document |= {"run": run, "epoch": epoch, "seq": seq}
    if event.type is not None:
        document["type"] = event.type
    if isinstance(event, JobClosed):
        return document | {"reason": event.reason}
    document |= {"index": event.index}
    if isinstance(event, TasksAborted):
        return document | {"count": event.count}
    document |= {"task": str(ids.task_id(event.job, event.index)), "attempt": getattr(event, "attempt", 1)}
    document |= {name: value for name in ("began", "worker") if (value := getattr(event, name)) is not None}
    if isinstance(event, TaskAttempted):
        return document | {name: getattr(event, name) for name in _OF_ATTEMPT}
    if isinstance(event, TaskStarted):
        return document
    if (call := getattr(event, "call", None)) is not None:
        document["call"] = call._asdict()
    return document | {"result": getattr(event, "result", None)}


def event_from_json(document: Any) -> Event | JobClosed:
    """Read the wire form of an event.

    Raises:
        ValueError: it is none.
    """
    try:
        job = UUID(document["job"])
        version = Version(_natural(document["run"]), _natural(document["epoch"]), _natural(document["seq"]))
        type_ = _text(document.get("type"))
        if document["event"] == JobClosed.kind:
            return JobClosed(job, version, str(document["reason"]), type=type_)
        cls = _SENT[document["event"]]
        common = (job, _natural(document["index"]), version)
        if cls is TasksAborted:
            return TasksAborted(*common, count=_natural(document["count"]), type=type_)
        attempt = _natural(document["attempt"])
        if cls is TaskAttempted:
            return TaskAttempted(*common, attempt=attempt, type=type_, **{name: document[name] for name in _OF_ATTEMPT})
        where: Any = {"began": _seconds(document.get("began")), "worker": _text(document.get("worker"))}
        if cls is TaskStarted:
            return TaskStarted(*common, attempt=attempt, type=type_, **where)
        where["call"] = _call(document.get("call"))
        return cls(*common, attempt=attempt, result=document["result"], type=type_, **where)  # type: ignore[call-arg]
    except (KeyError, TypeError, AttributeError) as error:
        message = f"not an event: {error!r}"
        raise ValueError(message) from error


def _call(document: Any) -> CallReport | None:
    return None if document is None else CallReport(**{name: document[name] for name in CallReport._fields})


def encode_events(events: list[bytes]) -> bytes:
    """Join encoded events of one partition into one message."""
    return b"[" + b",".join(events) + b"]"


def encode_event(event: Event | JobClosed) -> bytes:
    """Return an event's wire form as bytes."""
    return json_codec.encode(event_as_json(event))


def decode_events(text: bytes) -> list[Event | JobClosed]:
    """Read a message of the events topic.

    Raises:
        ValueError: it is none.
    """
    return [event_from_json(document) for document in decode_documents(text)]


def decode_event(text: bytes) -> Event | JobClosed:
    """Read one event of a message.

    Raises:
        ValueError: it is none.
    """
    return event_from_json(json_codec.decode(text))


def _text(value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        message = f"{value!r} is not a text"
        raise ValueError(message)
    return value


def _seconds(value: Any) -> float | None:
    if value is not None and (not isinstance(value, int | float) or isinstance(value, bool)):
        message = f"{value!r} is not a time in seconds"
        raise ValueError(message)
    return value


def _natural(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        message = f"{value!r} is not a natural number"
        raise ValueError(message)
    return value
