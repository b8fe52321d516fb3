"""Lanes that wait in the table instead of memory: for a moment, or for the slice before them."""

import heapq

from jabba.errors import JabbaError


class Parked(JabbaError):
    """The lane goes on waiting in the table: until ``due``, or for its turn."""

    def __init__(self, due: float | None = None) -> None:
        super().__init__(due)
        self.due = due


class Parking:
    """The parked lanes of one partition, by key; waking the due ones looks at those alone."""

    def __init__(self) -> None:
        self._keys: set[str] = set()
        self._due: list[tuple[float, str]] = []
        self._turns: dict[str, dict[int, str]] = {}

    def __contains__(self, key: str) -> bool:
        return key in self._keys

    def __len__(self) -> int:
        return len(self._keys)

    def park_until(self, due: float, key: str) -> None:
        """Keep a lane until ``due``, in seconds since the epoch."""
        if key not in self._keys:
            self._keys.add(key)
            heapq.heappush(self._due, (due, key))

    def park_for_turn(self, job: str, k: int, key: str) -> None:
        """Keep slice ``k`` of the sequential job with this record until it is its turn."""
        self._keys.add(key)
        self._turns.setdefault(job, {})[k] = key

    def due(self, now: float) -> bool:
        """Return whether a lane is due."""
        return bool(self._due) and self._due[0][0] <= now

    def take_due(self) -> str:
        """Take out the lane that is due first."""
        _, key = heapq.heappop(self._due)
        self._keys.discard(key)
        return key

    def waiting_jobs(self) -> list[str]:
        """Return the records of the jobs of which slices wait for their turn."""
        return list(self._turns)

    def take_turn(self, job: str, next_k: int, *, failed: bool) -> list[str]:
        """Take out the slice whose turn has come; all slices of a job that has failed."""
        waiting = self._turns.get(job, {})
        ready = sorted(waiting) if failed else [k for k in (next_k,) if k in waiting]
        keys = [waiting.pop(k) for k in ready]
        if not waiting:
            self._turns.pop(job, None)
        self._keys.difference_update(keys)
        return keys
