"""What stands in the events topic, as live streams tell it."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic_core import to_json

from jabba import strictjson
from jabba.log_reader import LogMessage
from web.live.marks import WHOLE, Place

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Happening:
    """An event and where it stands; ``document`` is its wire form, also of a kind that only later versions know."""

    partition: int
    place: Place
    job: str
    kind: str
    document: dict[str, Any]
    _body: bytes = b""
    _own: bytes = b""

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


def _decoded(message: LogMessage) -> list[Any]:
    try:
        documents = strictjson.decode(message.value)
    except ValueError as error:
        logger.warning("events[%d] offset %d cannot be read: %s", message.partition, message.offset, error)
        return []
    return documents if isinstance(documents, list) else []
