"""Small facts kept in a file: one JSON document a line, appended, and written anew when too many are outdated."""

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from jabba.local.broker.files import append_whole

_OUTDATED_BYTES = 4 * 1024 * 1024


class Journal:
    """A file of JSON lines; what ``append`` has written outlives the process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None
        self._written = False
        self._appended = 0

    @property
    def has_grown(self) -> bool:
        """Whether so much was appended that it is time to ``rewrite`` what still holds."""
        return self._appended > _OUTDATED_BYTES

    def load(self) -> Iterator[Any]:
        """Return what was written, in order, up to a line that the broker died over."""
        if not self._path.exists():
            return
        for line in self._path.read_bytes().splitlines(keepends=True):
            try:
                document = json.loads(line)
            except ValueError:
                return
            if line.endswith(b"\n"):
                yield document

    def append(self, *documents: Any) -> None:
        """Write documents, each on a line of its own; all of them or, with an OSError, none."""
        if self._file is None:
            self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        lines = _lines(documents)
        append_whole(self._file, lines, os.fstat(self._file).st_size)
        self._appended += len(lines)
        self._written = True

    def rewrite(self, documents: Iterable[Any]) -> None:
        """Write these instead of all that was there; a crash leaves the one or the other."""
        self.close()
        unfinished = self._path.with_suffix(".new")
        with unfinished.open("wb") as file:
            file.write(_lines(documents))
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(self._path)
        self._appended = 0

    def unsynced(self) -> list[int]:
        """Return the file's descriptor if it was written to since the last call, the caller's to sync and to close."""
        written, self._written = self._written, False
        return [os.dup(self._file)] if written and self._file is not None else []

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _lines(documents: Iterable[Any]) -> bytes:
    return b"".join(json.dumps(document, separators=(",", ":")).encode() + b"\n" for document in documents)
