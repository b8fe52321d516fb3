"""A circuit breaker: after many failures of a service, its tasks wait, and one call at a time tries whether it is back.

It fails nothing. Pure; times are seconds of a monotonic clock.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """When a breaker opens: at least ``calls`` in ``window`` seconds, of which the ``share`` failed.

    It stays open for ``first`` seconds, twice as long after each probe that fails, up to ``longest``.
    """

    window: float = 10.0
    calls: int = 10
    share: float = 0.5
    first: float = 2.0
    longest: float = 60.0


class Breaker:
    """Counts the calls of one service; ``state`` is ``closed``, ``open`` or ``half_open``."""

    def __init__(self, policy: BreakerPolicy | None = None) -> None:
        self._policy = policy or BreakerPolicy()
        self._since = 0.0
        self._calls = self._failures = 0
        self._opened: float | None = None
        self._seconds = self._policy.first
        self._probing = False

    @property
    def state(self) -> str:
        """Return where it stands."""
        if self._opened is None:
            return "closed"
        return "half_open" if self._probing else "open"

    def wait(self, now: float) -> float:
        """Return the seconds to wait before the next call may begin, 0 if one may."""
        if self._opened is None:
            return 0.0
        left = self._opened + self._seconds - now
        return left if left > 0 or not self._probing else self._policy.first

    def begin(self) -> bool:
        """Count a call that begins; return whether it is a probe."""
        self._probing = self._opened is not None
        return self._probing

    def ended(self, now: float, *, good: bool | None, probe: bool = False) -> None:
        """Count a call that ended: well, badly, or (None) without saying anything of the service."""
        if probe:
            self._probing = False
        if self._opened is not None:
            self._ended_while_open(now, good, probe)
            return
        if good is None:
            return
        if now >= self._since + self._policy.window:
            self._start_window(now)
        self._calls += 1
        self._failures += not good
        if self._calls >= self._policy.calls and self._failures >= self._policy.share * self._calls:
            self._opened = now

    def trip(self, now: float) -> None:
        """Open it, whatever was counted."""
        if self._opened is None:
            self._opened = now

    def _ended_while_open(self, now: float, good: bool | None, probe: bool) -> None:  # noqa: FBT001 — as ended has them
        if good:
            # Also of a call that began before: the service is there.
            self._opened, self._seconds = None, self._policy.first
            self._start_window(now)
        elif probe and good is False:
            self._opened, self._seconds = now, min(2 * self._seconds, self._policy.longest)

    def _start_window(self, now: float) -> None:
        self._since, self._calls, self._failures = now, 0, 0
