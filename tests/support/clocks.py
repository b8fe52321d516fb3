"""Clocks that tests own."""


class HandClock:
    """A clock that stands still until it is moved."""

    def __init__(self, seconds: float = 1_800_000_000.0) -> None:
        self.seconds = seconds

    def now(self) -> float:
        """Return its time."""
        return self.seconds

    def monotonic(self) -> float:
        """Return its time."""
        return self.seconds

    @property
    def milliseconds(self) -> int:
        """Its time as Kafka counts it."""
        return int(self.seconds * 1000)
