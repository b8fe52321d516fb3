"""The wire contract: the topics, who may read them, and the message each one carries.

Messages are JSON lists, so that several submissions or facts of one partition share a message. ``docs/protocol.md``
documents them for other readers; ``tests/wire`` keeps recorded ones that must parse for ever.
"""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from aiokafka.partitioner import murmur2

from jabba import ids, strictjson
from jabba.lifecycle import (
    Event,
    TaskFailed,
    TaskRescued,
    TasksAborted,
    TaskStarted,
    TaskSucceeded,
    Version,
)

EMPTY_MESSAGE = b"[]"
"""The first message of every partition: without it, a rebalance may lose the backlog of a partition at offset 0."""

_SENT = {cls.kind: cls for cls in (TaskStarted, TaskSucceeded, TaskFailed, TaskRescued, TasksAborted)}


@dataclass(frozen=True, slots=True)
class Topics:
    """The names of all topics and consumer groups of one installation, which share a prefix."""

    prefix: str = "jabba"

    @property
    def tasks(self) -> str:
        """Slices of submitted jobs; read by workers and projectors."""
        return f"{self.prefix}-tasks"

    @property
    def control(self) -> str:
        """Commands to running jobs; read by workers."""
        return f"{self.prefix}-control"

    @property
    def events(self) -> str:
        """Facts about tasks; read by projectors and anyone who wants to know."""
        return f"{self.prefix}-events"

    @property
    def dead_letters(self) -> str:
        """Messages that no reader understood, with reason and origin."""
        return f"{self.prefix}-dead-letters"

    @property
    def worker_group(self) -> str:
        """The consumer group of all workers, and the id of their Faust application."""
        return f"{self.prefix}-worker"

    @property
    def projector_group(self) -> str:
        """The consumer group of all projectors."""
        return f"{self.prefix}-projector"

    @property
    def lanes_table(self) -> str:
        """The name of the workers' table, from which Faust derives its changelog."""
        return "lanes"

    @property
    def changelog(self) -> str:
        """Records of work in flight; read by the worker that takes a partition over."""
        return f"{self.worker_group}-{self.lanes_table}-changelog"


def partition_of(key: str, partitions: int) -> int:
    """Answer the partition of a key, as every Kafka client's default partitioner would: murmur2 modulo N."""
    return int((murmur2(key.encode()) & 0x7FFFFFFF) % partitions)


def event_as_json(event: Event) -> dict[str, Any]:
    """Answer the wire form of an event that is sent or recorded."""
    document: dict[str, Any] = {
        "v": 1,
        "event": event.kind,
        "job": str(event.job),
        "index": event.index,
        "run": event.version.run,
        "epoch": event.version.epoch,
        "seq": event.version.seq,
    }
    if isinstance(event, TasksAborted):
        return document | {"count": event.count}
    document |= {"task": str(ids.task_id(event.job, event.index)), "attempt": getattr(event, "attempt", 1)}
    return document if isinstance(event, TaskStarted) else document | {"result": getattr(event, "result", None)}


def event_from_json(document: Any) -> Event:
    """Read the wire form of an event.

    Raises:
        ValueError: it is none.
    """
    try:
        cls = _SENT[document["event"]]
        common = (
            UUID(document["job"]),
            _natural(document["index"]),
            Version(_natural(document["run"]), _natural(document["epoch"]), _natural(document["seq"])),
        )
        if cls is TasksAborted:
            return TasksAborted(*common, count=_natural(document["count"]))
        if cls is TaskStarted:
            return TaskStarted(*common, attempt=_natural(document["attempt"]))
        return cls(*common, attempt=_natural(document["attempt"]), result=document["result"])  # type: ignore[call-arg]
    except (KeyError, TypeError, AttributeError) as error:
        message = f"not an event: {error!r}"
        raise ValueError(message) from error


def encode_events(events: list[bytes]) -> bytes:
    """Join encoded events of one partition into one message."""
    return b"[" + b",".join(events) + b"]"


def encode_event(event: Event) -> bytes:
    """Answer an event's wire form as bytes."""
    return strictjson.encode(event_as_json(event))


def decode_events(text: bytes) -> list[Event]:
    """Read a message of the events topic.

    Raises:
        ValueError: it is none.
    """
    documents = strictjson.decode(text)
    if not isinstance(documents, list):
        message = "not a list of events"
        raise ValueError(message)  # noqa: TRY004 — a reader treats every wrong message alike
    return [event_from_json(document) for document in documents]


def _natural(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        message = f"{value!r} is not a natural number"
        raise ValueError(message)
    return value
