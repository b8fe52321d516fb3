"""Ids of idempotent producers, none of which is given twice."""

from pathlib import Path

from jabba.local.broker.journal import Journal


class ProducerIds:
    """A counter that is kept in a file."""

    def __init__(self, directory: Path) -> None:
        self._journal = Journal(directory / "producers.jsonl")
        self._next = max(self._journal.load(), default=-1) + 1
        self._journal.rewrite([self._next - 1])

    def take(self) -> int:
        """Return a new id."""
        self._journal.append(self._next)
        self._next += 1
        return self._next - 1

    def unsynced(self) -> list[int]:
        """Return descriptors of the files written to since the last call, the caller's to sync and to close."""
        return self._journal.unsynced()

    def close(self) -> None:
        """Close the file."""
        self._journal.close()
