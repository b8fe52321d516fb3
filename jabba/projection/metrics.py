"""What a projector counts of its own work, and where it is looked at."""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field

from jabba.clock import Clock, SystemClock
from jabba.monitoring.health_server import Fault, Monitor
from jabba.monitoring.histogram import Histogram
from jabba.monitoring.metrics import PROJECTOR, Exposition
from jabba.settings import Settings


@dataclass(slots=True)
class Figures:
    """Messages by topic, how long batches took, and how many messages wait, by topic and partition."""

    clock: Clock = field(default_factory=SystemClock)
    messages: Counter[str] = field(default_factory=Counter)
    seconds: Histogram = field(default_factory=Histogram)
    faults: int = 0
    lag: dict[tuple[str, ...], int] = field(default_factory=dict)

    @contextmanager
    def batch(self, topics: Iterable[str]) -> Iterator[None]:
        """Count a batch, of messages of these topics, once it is written."""
        began = self.clock.monotonic()
        yield
        self.seconds.add(self.clock.monotonic() - began)
        self.messages.update(topics)


def monitor_of(settings: Settings, figures: Figures, unready: Fault) -> AbstractAsyncContextManager[object]:
    """Return the monitor of a projector, which is always alive: it waits for Kafka and PostgreSQL however long."""
    if not settings.metrics_port:
        return nullcontext()
    exposition = Exposition(
        PROJECTOR,
        {
            "jabba_projected_messages_total": lambda: {(topic,): count for topic, count in figures.messages.items()},
            "jabba_projection_batch_seconds": lambda: figures.seconds,
            "jabba_projection_faults_total": lambda: figures.faults,
            "jabba_projection_lag_messages": lambda: {**figures.lag},
        },
    )
    return Monitor(settings.metrics_host, settings.metrics_port, exposition, fault=lambda: "", unready=unready)
