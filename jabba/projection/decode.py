"""Reading messages for the projection: from bytes to facts, and what is wrong with the rest. No I/O."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypeVar

from jabba.jobs import json_codec
from jabba.jobs.models import explained
from jabba.messages.events import decode_events, event_from_json
from jabba.messages.slices import Slice, decode_message
from jabba.projection.fold import Content, Fact

_BATCH_BYTES = 1024 * 1024
"""Larger batches are written in parts: they would be no faster (a thousand facts are enough), and what is behind them
would wait."""


class Valued(Protocol):
    """Anything with the bytes of a message."""

    @property
    def value(self) -> bytes | None:
        """The bytes."""
        ...


AMessage = TypeVar("AMessage", bound=Valued)


class Place(NamedTuple):
    """Where a message stands in the log."""

    topic: str
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Message:
    """A message as it was read; ``at`` is its time in milliseconds since the epoch."""

    place: Place
    at: int
    value: bytes | None


@dataclass(frozen=True, slots=True)
class Item:
    """A fact and the message that carries it."""

    fact: Fact
    message: Message


@dataclass(frozen=True, slots=True)
class Fault:
    """A message that is not projected, or not all of it, and why."""

    message: Message
    reason: str


@dataclass(slots=True)
class Intake:
    """What came of reading messages."""

    items: list[Item] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)

    def read_slices(self, message: Message) -> None:
        """Take in a message of the tasks topic."""
        self._read(message, decode_message, Slice.model_validate)

    def read_events(self, message: Message) -> None:
        """Take in a message of the events topic."""
        self._read(message, decode_events, event_from_json)

    def _read(
        self, message: Message, decode: Callable[[bytes], list[Any]], decode_one: Callable[[Any], Content]
    ) -> None:
        """Decode a message; if that fails, one by one: the neighbours of a faulty item are not at fault."""
        try:
            contents = decode(message.value or b"")
        except ValueError as error:
            contents = self._read_each(message, decode_one, error)
        self.items += [Item(Fact(content, message.at), message) for content in contents]

    def _read_each(self, message: Message, decode_one: Callable[[Any], Content], error: ValueError) -> list[Content]:
        documents = _documents(message.value)
        if documents is None:
            self.faults.append(Fault(message, f"cannot be decoded: {explained(error)}"))
            return []
        contents = []
        for number, document in enumerate(documents):
            try:
                contents.append(decode_one(document))
            except ValueError as fault:
                self.faults.append(
                    Fault(message, f"item {number} of {len(documents)} cannot be decoded: {explained(fault)}")
                )
        return contents


def _documents(value: bytes | None) -> list[Any] | None:
    try:
        documents = json_codec.decode(value or b"")
    except ValueError:
        return None
    return documents if isinstance(documents, list) else None


def parts(messages: Sequence[AMessage]) -> Iterator[Sequence[AMessage]]:
    """Cut messages into parts of a bounded size."""
    start = size = 0
    for number, message in enumerate(messages):
        size += len(message.value or b"")
        if size > _BATCH_BYTES and number > start:
            yield messages[start:number]
            start, size = number, len(message.value or b"")
    if messages:
        yield messages[start:]
