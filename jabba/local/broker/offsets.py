"""The committed offsets of the consumer groups."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from jabba.local.broker.journal import Journal


class Committed(NamedTuple):
    """How far a group has come in a partition: the offset to read next, and what the consumer noted about it."""

    offset: int
    metadata: str | None


class Offsets:
    """The offsets of all groups, kept in a file; they never expire."""

    def __init__(self, directory: Path) -> None:
        self._journal = Journal(directory / "offsets.jsonl")
        self._groups: dict[str, dict[tuple[str, int], Committed]] = {}
        for group, topic, partition, offset, metadata in self._journal.load():
            self._set(group, topic, partition, Committed(offset, metadata))
        self._journal.rewrite(self._documents())

    def commit(self, group: str, offsets: dict[tuple[str, int], Committed]) -> None:
        """Keep the offsets of a group for some ``(topic, partition)``."""
        self._journal.append(*([group, *place, *committed] for place, committed in offsets.items()))
        for (topic, partition), committed in offsets.items():
            self._set(group, topic, partition, committed)
        if self._journal.has_grown:
            self._journal.rewrite(self._documents())

    def of_group(self, group: str) -> dict[tuple[str, int], Committed]:
        """Return all offsets of a group."""
        return self._groups.get(group, {})

    def unsynced(self) -> list[int]:
        """Return descriptors of the files written to since the last call, the caller's to sync and to close."""
        return self._journal.unsynced()

    def close(self) -> None:
        """Close the file."""
        self._journal.close()

    def _set(self, group: str, topic: str, partition: int, committed: Committed) -> None:
        self._groups.setdefault(group, {})[topic, partition] = committed

    def _documents(self) -> Iterator[list[object]]:
        for group, offsets in self._groups.items():
            for place, committed in offsets.items():
                yield [group, *place, *committed]
