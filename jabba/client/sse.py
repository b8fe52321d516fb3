"""Server-sent events, as the HTML standard defines their text; no I/O."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_LINE_END = re.compile(rb"\r\n|\n|\r(?!\Z)")


@dataclass(frozen=True, slots=True)
class SentEvent:
    """An event as it was sent: its kind, its data, and the id of the last event that had one."""

    kind: str
    data: str
    id: str


class SentEvents:
    """Takes bytes as they come, and answers the events that are complete.

    ``last_id`` is where to go on: also of blocks without data, which are no events.
    """

    def __init__(self, last_id: str = "") -> None:
        self.last_id = last_id
        self._data: list[str] = []
        self.begin_again()

    def begin_again(self) -> None:
        """Forget what a connection that broke off has begun; the next one goes on behind ``last_id``."""
        self._rest, self._kind, self._id, self._data = b"", "", self.last_id, []

    def feed(self, chunk: bytes) -> Iterator[SentEvent]:
        """Take bytes in."""
        *lines, self._rest = _LINE_END.split(self._rest + chunk)
        for line in lines:
            if line:
                self._take(line.decode(errors="replace"))
            else:
                yield from self._end()

    def _take(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._kind = value
        elif name == "id" and "\0" not in value:
            self._id = value

    def _end(self) -> Iterator[SentEvent]:
        self.last_id = self._id
        if self._data:
            yield SentEvent(self._kind or "message", "\n".join(self._data), self._id)
        self._kind, self._data = "", []
