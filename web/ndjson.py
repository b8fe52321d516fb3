"""Lines of a body that comes bit by bit; one that is too long is never kept. No I/O."""

from collections.abc import Iterator
from typing import NamedTuple


class Line(NamedTuple):
    """A line, numbered from 1; ``text`` is None when it is longer than the limit."""

    number: int
    text: bytes | None

    @property
    def size(self) -> int:
        """Return how many bytes it holds."""
        return len(self.text or b"")


class Lines:
    """Cuts bytes into lines; blank ones count, and are passed over."""

    def __init__(self, limit: int) -> None:
        self.number = 1
        self._limit = limit
        self._begun = bytearray()
        self._is_long = False

    def feed(self, chunk: bytes) -> Iterator[Line]:
        """Take bytes in; return the lines that are complete."""
        *complete, rest = chunk.split(b"\n")
        for part in complete:
            self._add(part)
            yield from self.end()
        self._add(rest)

    def end(self) -> Iterator[Line]:
        """End the line that has begun, as the body's last one may go without a line end; return it."""
        text, self._begun = bytes(self._begun), bytearray()
        number, is_long = self.number, self._is_long
        self.number, self._is_long = number + 1, False
        if is_long:
            yield Line(number, None)
        elif text.strip():
            yield Line(number, text)

    def _add(self, part: bytes) -> None:
        if self._is_long or len(self._begun) + len(part) > self._limit:
            self._is_long = True
            self._begun.clear()
        else:
            self._begun += part
