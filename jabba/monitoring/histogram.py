"""Numbers that a process keeps of its own work: plain ones, so that counting costs next to nothing."""

from bisect import bisect_left
from collections.abc import Iterator

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
"""Seconds, from the time of a step that does nothing to that of one that is adopted."""


class Histogram:
    """How long things took, in seconds: how many up to each of the bounds, and all together."""

    __slots__ = ("_counts", "total")

    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS) + 1)
        self.total = 0.0

    def add(self, seconds: float) -> None:
        """Count one."""
        self._counts[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds

    def up_to(self) -> Iterator[tuple[float, int]]:
        """Return for each bound, infinity last, how many took so long at most."""
        count = 0
        for bound, more in zip((*BOUNDS, float("inf")), self._counts, strict=True):
            count += more
            yield bound, count
