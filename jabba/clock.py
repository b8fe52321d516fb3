"""The only reader of the clock: everything else is handed one, so that tests and the simulator own time."""

import time
from typing import Protocol


class Clock(Protocol):
    """Where time comes from."""

    def now(self) -> float:
        """Return seconds since the Unix epoch, for people and for ids."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never go back, for measuring how long something took."""
        ...


class SystemClock:
    """The clock of the machine."""

    def now(self) -> float:
        """Return seconds since the Unix epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Return seconds since some fixed moment."""
        return time.monotonic()

    def boottime(self) -> float:
        """Return seconds since some fixed moment, those included for which the machine was suspended."""
        # Elsewhere than on Linux the monotonic clock does so, or there is none that does.
        clock = getattr(time, "CLOCK_BOOTTIME", None)
        return time.monotonic() if clock is None else time.clock_gettime(clock)
