"""Pauses between attempts that grow as long as the attempts fail."""


class Backoff:
    """Pauses in seconds: ``first``, then each ``growth`` times the one before, ``longest`` at most."""

    def __init__(self, first: float, longest: float, growth: float = 2.0) -> None:
        self._first = first
        self._longest = longest
        self._growth = growth
        self._pause = first

    def next(self) -> float:
        """Return how long to pause now; the pause after it will be longer."""
        pause = self._pause
        self._pause = min(pause * self._growth, self._longest)
        return pause

    def reset(self) -> None:
        """Begin with the first pause again, after an attempt that succeeded."""
        self._pause = self._first
