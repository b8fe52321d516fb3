"""Marks: how far a reader has come in the events topic, as it says so in ``Last-Event-ID``.

Per partition, ``0:17`` means that every event up to and in message 17 of partition 0 was seen, ``0:17.2`` that of this
message only the first two were. ``0:17.0`` is the place before message 17.
"""

import re
import sys
from collections.abc import Iterable, Mapping
from typing import NamedTuple, Self

from jabba.errors import InvalidRequest

WHOLE = sys.maxsize
"""How many events of a message were seen, when it is all of them."""

_PART = re.compile(r"([0-9]{1,9}):([0-9]{1,18})(?:\.([0-9]{1,9}))?", re.ASCII)


class Place(NamedTuple):
    """A place in a partition, behind the first ``seen`` events of the message at ``offset``; the later, the larger."""

    offset: int
    seen: int = WHOLE

    @property
    def next_offset(self) -> int:
        """Return the first message that has something new."""
        return self.offset + 1 if self.seen == WHOLE else self.offset

    @classmethod
    def before(cls, offset: int) -> Self:
        """Return the place before a message."""
        return cls(offset, 0)


class Mark:
    """The places of one reader, by partition; its text is kept as it moves, since every event carries it."""

    def __init__(self, places: Mapping[int, Place]) -> None:
        self._places = dict(sorted(places.items()))
        self._texts = {partition: _text(partition, place) for partition, place in self._places.items()}

    @classmethod
    def before(cls, offsets: Mapping[int, int]) -> Self:
        """Return the mark before the messages at these offsets."""
        return cls({partition: Place.before(offset) for partition, offset in offsets.items()})

    @property
    def places(self) -> Mapping[int, Place]:
        """Return the place in each partition."""
        return self._places

    @property
    def text(self) -> str:
        """Return the text form, such as ``0:17,1:42.2``."""
        return ",".join(self._texts.values())

    @property
    def next_offsets(self) -> dict[int, int]:
        """Return the first message of each partition that has something new."""
        return {partition: place.next_offset for partition, place in self._places.items()}

    def move(self, partition: int, place: Place) -> None:
        """Note that a reader has come to a place."""
        self._places[partition] = place
        self._texts[partition] = _text(partition, place)

    def has_seen(self, partition: int, place: Place) -> bool:
        """Return whether the mark is at or behind a place."""
        return place <= self._places.get(partition, _NOWHERE)

    def among(self, partitions: Iterable[int]) -> "Mark":
        """Return a copy with these partitions only."""
        return Mark({partition: self._places[partition] for partition in partitions if partition in self._places})

    def or_else(self, other: "Mark") -> "Mark":
        """Return a copy that has the other mark's place in partitions where this one has none."""
        return Mark({**other.places, **self._places})

    def or_farther(self, other: "Mark") -> "Mark":
        """Return a copy that has the other mark's place where that one is farther."""
        return Mark({**self._places, **{p: place for p, place in other.places.items() if not self.has_seen(p, place)}})

    def __bool__(self) -> bool:
        return bool(self._places)


def read_mark(text: str, field: str, partitions: int) -> Mark:
    """Read the text form.

    Raises:
        InvalidRequest: it is none, or names a partition that there is not; the error names ``field``.
    """
    places: dict[int, Place] = {}
    for part in text.split(","):
        found = _PART.fullmatch(part.strip())
        if found is None:
            raise InvalidRequest.at(field, "must be the id of an event of this stream, such as 0:17,1:42.2")
        if int(found[1]) >= partitions:
            raise InvalidRequest.at(field, f"there is no partition {found[1]}, there are {partitions}")
        places[int(found[1])] = Place(int(found[2]), WHOLE if found[3] is None else int(found[3]))
    return Mark(places)


def _text(partition: int, place: Place) -> str:
    whole = f"{partition}:{place.offset}"
    return whole if place.seen == WHOLE else f"{whole}.{place.seen}"


_NOWHERE = Place.before(0)
