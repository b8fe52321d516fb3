"""What a web process counts of its own work."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping

from jabba.database.connection import Database
from jabba.errors import InternalError, RequestError
from jabba.monitoring.histogram import Histogram
from jabba.monitoring.metrics import WEB, Exposition, Reading

OTHER = "other"
"""The route of what no route answers: anyone may ask for anything, and each name would be kept for ever."""

ACCEPTED = "accepted"
REPEATED = "repeated"


class Traffic:
    """Requests by method, route and status, how long they took, and what became of submissions."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, ...]] = Counter()
        self.seconds: defaultdict[tuple[str, ...], Histogram] = defaultdict(Histogram)
        self.submissions: Counter[str] = Counter()

    def answered(self, method: str, route: str | None, status: int, seconds: float | None) -> None:
        """Count a request; a stream takes no seconds."""
        place = (method, route) if route is not None else (OTHER, OTHER)
        self.requests[*place, str(status)] += 1
        if seconds is not None:
            self.seconds[place].add(seconds)

    def refused(self, error: Exception) -> None:
        """Count a submission that was not accepted."""
        self.submissions[error.type if isinstance(error, RequestError) else InternalError.type] += 1

    def exposition(self, database: Database, streams: Callable[[], int], gauges: Mapping[str, Reading]) -> Exposition:
        """Return it as it is told to Prometheus, with the process's connections, its open streams and more gauges."""

        def connections() -> dict[tuple[str, ...], float]:
            used, idle = database.connections
            return {("used",): used, ("idle",): idle}

        return Exposition(
            WEB,
            {
                "jabba_http_requests_total": lambda: self.requests,
                "jabba_http_request_seconds": lambda: self.seconds,
                "jabba_submissions_total": lambda: {(word,): count for word, count in self.submissions.items()},
                "jabba_live_streams": streams,
                "jabba_database_connections": connections,
                **gauges,
            },
        )
