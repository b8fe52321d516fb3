"""What stands in the events topic, as live streams tell it."""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Self
from uuid import UUID

from pydantic_core import to_json

from jabba.jobs import json_codec
from jabba.jobs.lifecycle import STATUS_AFTER
from jabba.kafka.reader import LogMessage
from jabba.messages.decoding import decode_documents, decode_each
from jabba.search import EVENTS, Condition, Item, Kind, meets, relates
from web.streams.cursor import WHOLE, Place

logger = logging.getLogger(__name__)


class EventFilter:
    """Conditions on events; readers who wrote the same ``text`` share what is found out about an event.

    ``own`` are those that the event alone decides, ``of_job`` those for which its job must be known.
    """

    def __init__(self, text: str, conditions: Iterable[Condition]) -> None:
        given = tuple(conditions)
        self.text = text
        self.own = tuple(one for one in given if not relates(one))
        self.of_job = tuple(one for one in given if relates(one))


@dataclass(frozen=True, slots=True)
class KnownJob:
    """What an event's job is; to conditions an item of the collection ``JOBS_OF_EVENTS``."""

    id: UUID
    document: dict[str, Any]

    @classmethod
    def read(cls, job: str, facts: bytes) -> Self:
        """Read the fields of the collection from JSON."""
        return cls(UUID(job), json_codec.decode(facts))

    def held(self, field: str) -> Any:
        """Return what stands in a field, None when nothing does."""
        return self.id if field == "id" else self.document.get(field)

    def related(self, _collection: str) -> Iterable[Item]:
        """Return nothing: whatever belongs to a job changes."""
        return ()


@dataclass(slots=True)
class StreamEvent:
    """An event and where it stands; ``document`` is its wire form, also of a kind that only later versions know.

    To conditions it is an item of the collection ``EVENTS``; a field that holds what it should not holds nothing. What
    its job is, the event does not say: whoever has found that out tells it with ``learn``.
    """

    partition: int
    place: Place
    job: str
    kind: str
    document: dict[str, Any]
    _body: bytes = b""
    _own: bytes = b""
    _met: dict[str, bool] = field(default_factory=dict)
    _met_by_job: dict[str, bool] = field(default_factory=dict)
    _jobs: tuple[KnownJob, ...] | None = None

    @property
    def knows_job(self) -> bool:
        """Return whether it was told what its job is, or that there is none."""
        return self._jobs is not None

    def learn(self, job: KnownJob | None) -> None:
        """Take in what its job is, or None when there is no such job."""
        self._jobs = () if job is None else (job,)

    def block(self, mark: str) -> bytes:
        """Return the event as a stream tells it to a reader that has come to ``mark``."""
        return b"id: %b\n%b" % (mark.encode(), self._told())

    def block_of_partition(self) -> bytes:
        """Return it for readers of one job, whose mark has no other partition."""
        if not self._own:
            place = self.place
            seen = "" if place.seen == WHOLE else f".{place.seen}"
            self._own = self.block(f"{self.partition}:{place.offset}{seen}")
        return self._own

    def may_meet(self, wanted: EventFilter) -> bool:
        """Return whether it meets what a filter asks of the event alone."""
        if wanted.text not in self._met:
            self._met[wanted.text] = meets(self, wanted.own)
        return self._met[wanted.text]

    def meets(self, wanted: EventFilter) -> bool:
        """Return whether it meets the conditions of a filter; those of the job can be decided once that is known."""
        if not wanted.of_job or not self.may_meet(wanted):
            return self.may_meet(wanted)
        if wanted.text not in self._met_by_job:
            self._met_by_job[wanted.text] = meets(self, wanted.of_job)
        return self._met_by_job[wanted.text]

    def held(self, field: str) -> Any:
        """Return what stands in a field of the event, None when nothing does."""
        match field:
            case "event":
                return self.kind
            case "job_id":
                return _uuid(self.job)
            case "task_id":
                return _uuid(self.document.get("task"))
            case "status":
                return STATUS_AFTER.get(self.kind)
        value = self.document.get(field)
        return value if type(value) in _FITTING.get(EVENTS.fields[field].kind, (type(value),)) else None

    def related(self, _collection: str) -> Iterable[Item]:
        """Return its job, nothing when there is none."""
        if self._jobs is None:
            raise LookupError(f"nobody has found out yet what job {self.job} is")
        return self._jobs

    def _told(self) -> bytes:
        if not self._body:
            self._body = b"event: %b\ndata: %b\n\n" % (self.kind.encode(), to_json(self.document))
        return self._body


def happenings(message: LogMessage) -> Iterator[StreamEvent]:
    """Read a message of the events topic; what is no event is passed over, the projector puts it aside."""
    documents = _decoded(message)
    for number, document in enumerate(documents, 1):
        place = Place(message.offset, WHOLE if number == len(documents) else number)
        try:
            job, kind = document["job"], document["event"]
        except (KeyError, TypeError):
            continue
        if isinstance(job, str) and isinstance(kind, str) and kind.isidentifier():
            yield StreamEvent(message.partition, place, job, kind, document)


_FITTING: dict[Kind, tuple[type, ...]] = {Kind.INTEGER: (int,), Kind.TEXT: (str,)}


def _uuid(text: Any) -> UUID | None:
    try:
        return UUID(text)
    except (ValueError, TypeError, AttributeError):
        return None


def _decoded(message: LogMessage) -> list[Any]:
    documents, faults = decode_each(message.value, decode_documents, json_codec.decode)
    for fault in faults:
        place = {"partition": message.partition, "offset": message.offset, "error": fault.reason}
        logger.warning("event message cannot be decoded", extra=place)
    return documents
