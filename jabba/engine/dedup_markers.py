"""Markers of ended lanes, and when they may go."""

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from jabba.engine.changelog import Store, Unreadable
from jabba.engine.records import LaneRecord

logger = logging.getLogger(__name__)

_BATCH = 500
"""Markers deleted at a time, so that forgetting never holds up work."""


@dataclass(frozen=True, slots=True)
class Window:
    """How long, and how many at most by a worker, ended lanes are remembered to recognise repeated submissions."""

    seconds: float = 600.0
    most: int = 300_000


class Markers:
    """The markers of one partition, oldest first; ``total`` counts those of all partitions of the worker."""

    def __init__(self, window: Window, total: Callable[[], int] | None = None) -> None:
        self._window = window
        self._total = total or self.__len__
        self._keys: deque[str] = deque()

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, key: str) -> None:
        """Remember the lane that has just ended."""
        self._keys.append(key)

    def take_expired(self, store: Store, now: float, readable: range) -> list[str]:
        """Take out a batch whose window has passed and whose source is not ``readable`` again.

        A marker above the committed offset must stay: after a crash its slice is read again, and would run again. One
        beyond the end of the log is of another log, which nobody can read again.
        """
        expired: list[str] = []
        while self._keys and len(expired) < _BATCH:
            try:
                marker = store.read(self._keys[0], LaneRecord.decode)
            except Unreadable as error:
                logger.warning("%s; it is not forgotten", error)
                self._keys.popleft()
                continue
            if marker is not None and not self._may_go(marker, now, readable):
                break
            expired.append(self._keys.popleft())
        return expired

    def _may_go(self, marker: LaneRecord, now: float, readable: range) -> bool:
        old = self._total() > self._window.most or now - (marker.ended or now) >= self._window.seconds
        return old and marker.offset not in readable
