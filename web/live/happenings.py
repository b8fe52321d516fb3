"""What stands in the events topic, as live streams tell it."""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from pydantic_core import to_json

from jabba import strictjson
from jabba.filters import EVENTS, Condition, Item, Kind, meets
from jabba.lifecycle import STATUS_AFTER
from jabba.log_reader import LogMessage
from web.live.marks import WHOLE, Place

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Conditions on events; readers who wrote the same ``text`` share what is found out about an event."""

    text: str
    conditions: tuple[Condition, ...]


@dataclass(slots=True)
class Happening:
    """An event and where it stands; ``document`` is its wire form, also of a kind that only later versions know.

    To conditions it is an item of the collection ``EVENTS``; a field that holds what it should not holds nothing.
    """

    partition: int
    place: Place
    job: str
    kind: str
    document: dict[str, Any]
    _body: bytes = b""
    _own: bytes = b""
    _met: dict[str, bool] = field(default_factory=dict)

    def block(self, mark: str) -> bytes:
        """Answer the event as a stream tells it to a reader that has come to ``mark``."""
        return b"id: %b\n%b" % (mark.encode(), self._told())

    def block_of_partition(self) -> bytes:
        """Answer it for readers of one job, whose mark has no other partition."""
        if not self._own:
            place = self.place
            seen = "" if place.seen == WHOLE else f".{place.seen}"
            self._own = self.block(f"{self.partition}:{place.offset}{seen}")
        return self._own

    def meets(self, wanted: EventFilter) -> bool:
        """Answer whether it meets the conditions of a filter."""
        if wanted.text not in self._met:
            self._met[wanted.text] = meets(self, wanted.conditions)
        return self._met[wanted.text]

    def held(self, field: str) -> Any:
        """Answer what stands in a field of the event, None when nothing does."""
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
        """Answer nothing: events have no associations."""
        return ()

    def _told(self) -> bytes:
        if not self._body:
            self._body = b"event: %b\ndata: %b\n\n" % (self.kind.encode(), to_json(self.document))
        return self._body


def happenings(message: LogMessage) -> Iterator[Happening]:
    """Read a message of the events topic; what is no event is passed over, the projector puts it aside."""
    documents = _decoded(message)
    for number, document in enumerate(documents, 1):
        place = Place(message.offset, WHOLE if number == len(documents) else number)
        try:
            job, kind = document["job"], document["event"]
        except (KeyError, TypeError):
            continue
        if isinstance(job, str) and isinstance(kind, str) and kind.isidentifier():
            yield Happening(message.partition, place, job, kind, document)


_FITTING: dict[Kind, tuple[type, ...]] = {Kind.INTEGER: (int,), Kind.TEXT: (str,)}


def _uuid(text: Any) -> UUID | None:
    try:
        return UUID(text)
    except (ValueError, TypeError, AttributeError):
        return None


def _decoded(message: LogMessage) -> list[Any]:
    try:
        documents = strictjson.decode(message.value)
    except ValueError as error:
        logger.warning("events[%d] offset %d cannot be read: %s", message.partition, message.offset, error)
        return []
    return documents if isinstance(documents, list) else []
