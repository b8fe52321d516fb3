"""All groups, and a file with what they last settled on, so that members go on when the broker has been away."""

from pathlib import Path
from typing import Any

from jabba.clock import Clock
from jabba.local.broker.groups import Group
from jabba.local.broker.journal import Journal

_NEW: dict[str, Any] = {"generation": 0}


class Memberships:
    """The groups by their names. A group that is asked for is there, though nobody may be in it."""

    def __init__(self, directory: Path, clock: Clock) -> None:
        self._journal = Journal(directory / "groups.jsonl")
        self._clock = clock
        self._settled: dict[str, dict[str, Any]] = dict(self._journal.load())
        self._groups = {name: Group.from_json(clock, document) for name, document in self._settled.items()}
        self._journal.rewrite(self._settled.items())

    @property
    def names(self) -> list[str]:
        """The names of all groups."""
        return list(self._groups)

    def group(self, name: str) -> Group:
        """Return the group of this name."""
        if name not in self._groups:
            self._groups[name] = Group(self._clock)
        return self._groups[name]

    def keep(self, name: str) -> None:
        """Write a group down when it has settled on a new generation; do it before a member hears of that."""
        group = self._groups[name]
        if not group.is_settled or group.generation == self._settled.get(name, _NEW)["generation"]:
            return
        document = group.as_json()
        self._journal.append([name, document])
        self._settled[name] = document
        if self._journal.has_grown:
            self._journal.rewrite(self._settled.items())

    def unsynced(self) -> list[int]:
        """Return descriptors of the files written to since the last call, the caller's to sync and to close."""
        return self._journal.unsynced()

    def close(self) -> None:
        """Close the file."""
        self._journal.close()
