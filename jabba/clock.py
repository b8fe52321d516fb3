"""The only reader of the clock: everything else is handed one, so that tests and the simulator own time."""

import time
from typing import Protocol


class Clock(Protocol):
    """Where time comes from."""

    def now(self) -> float:
        """Answer seconds since the Unix epoch, for people and for ids."""
        ...

    def monotonic(self) -> float:
        """Answer seconds that never go back, for measuring how long something took."""
        ...


class SystemClock:
    """The clock of the machine."""

    def now(self) -> float:
        """Answer seconds since the Unix epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Answer seconds since some fixed moment."""
        return time.monotonic()
