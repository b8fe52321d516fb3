"""Reading messages for the projection: from bytes to facts, and what is wrong with the rest. No I/O."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypeVar

from jabba.messages.decoding import decode_each
from jabba.messages.events import decode_event, decode_events
from jabba.messages.slices import decode_message, decode_slice
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
        self._read(message, decode_message, decode_slice)

    def read_events(self, message: Message) -> None:
        """Take in a message of the events topic."""
        self._read(message, decode_events, decode_event)

    def _read(
        self, message: Message, decode: Callable[[bytes], list[Any]], decode_one: Callable[[bytes], Content]
    ) -> None:
        contents, faults = decode_each(message.value or b"", decode, decode_one)
        self.items += [Item(Fact(content, message.at), message) for content in contents]
        self.faults += [Fault(message, fault.reason) for fault in faults]


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
