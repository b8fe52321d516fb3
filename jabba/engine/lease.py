"""Whether the consumer group still counts this worker as alive, as far as the worker can know."""

from collections.abc import Callable


class Lease:
    """Runs out when no heartbeat has succeeded for as long as a session lasts.

    From then on another worker may own the partitions, so that nothing may be recorded or sent for them: after a pause
    of the process, or of the machine, or while the network is cut. Seconds come from ``monotonic``, which goes on
    during such a pause.
    """

    def __init__(self, seconds: float, monotonic: Callable[[], float]) -> None:
        self._seconds = seconds
        self._monotonic = monotonic
        self._until = float("-inf")

    def now(self) -> float:
        """Return the time by which to renew: taken before a heartbeat is sent, since its answer may come late."""
        return self._monotonic()

    def renew(self, since: float) -> None:
        """Note a heartbeat, sent at ``since``, that was answered."""
        self._until = max(self._until, since + self._seconds)

    def valid(self) -> bool:
        """Return whether the session cannot have expired yet."""
        return self._monotonic() < self._until
