"""Every metric there is, by process, and how its numbers are shown to Prometheus.

``docs/operations.md`` has the same table; a test compares the two.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from jabba.monitoring.histogram import Histogram

CONTENT_TYPE = CONTENT_TYPE_LATEST


@dataclass(frozen=True, slots=True)
class Shown:
    """One metric; a counter's name ends in ``_total``."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    what: str
    labels: tuple[str, ...] = ()


WORKER = (
    Shown("jabba_steps_total", "counter", "Steps that ended: succeeded, failed, rescued, cancelled.", ("outcome",)),
    Shown(
        "jabba_service_calls_total",
        "counter",
        "Calls of services: ok, error, raised, infrastructure, timeout, postponed, accepted, cancelled.",
        ("service", "class"),
    ),
    Shown("jabba_service_breaker_open", "gauge", "1 while the breaker of a service is open, else 0.", ("service",)),
    Shown("jabba_step_seconds", "histogram", "How long callbacks took."),
    Shown("jabba_steps_running", "gauge", "Steps between their start and their record."),
    Shown("jabba_slots", "gauge", "Steps that may run at a time."),
    Shown("jabba_lanes", "gauge", "Lanes in memory."),
    Shown("jabba_lanes_parked", "gauge", "Lanes that wait in the table."),
    Shown("jabba_records_written_total", "counter", "Records that the changelog has acknowledged."),
    Shown("jabba_events_sent_total", "counter", "Events handed over for sending."),
    Shown("jabba_events_acknowledged_total", "counter", "Events that Kafka has acknowledged."),
    Shown("jabba_events_waiting", "gauge", "Events that wait until those before them are acknowledged."),
    Shown("jabba_partitions_owned", "gauge", "Partitions of the tasks topic that this worker owns."),
    Shown("jabba_rebalances_total", "counter", "Rebalances that this worker went through."),
    Shown("jabba_epochs_taken_total", "counter", "Partitions that this worker loaded under a new epoch."),
    Shown("jabba_lag_messages", "gauge", "Messages of the tasks topic that are not committed.", ("partition",)),
    Shown("jabba_steps_hanging", "gauge", "Steps that hold all slots or threads for too long, while others wait."),
    Shown("jabba_stalled_seconds", "gauge", "For how long work has waited while none was done."),
)

PROJECTOR = (
    Shown("jabba_projected_messages_total", "counter", "Messages that were projected.", ("topic",)),
    Shown("jabba_projection_batch_seconds", "histogram", "How long batches took, waiting for PostgreSQL included."),
    Shown("jabba_projection_faults_total", "counter", "Messages that went to the dead letters."),
    Shown("jabba_projection_lag_messages", "gauge", "Messages that are not projected.", ("topic", "partition")),
)

RELAY = (
    Shown("jabba_outbox_relayed_total", "counter", "Jobs that this relay has submitted."),
    Shown("jabba_outbox_refused_total", "counter", "Jobs that this relay has set aside."),
    Shown("jabba_outbox_waiting", "gauge", "Jobs that wait in the outbox, counted up to 100,000."),
    Shown("jabba_outbox_oldest_seconds", "gauge", "For how long the oldest of them has waited."),
    Shown("jabba_outbox_set_aside", "gauge", "Jobs in the outbox that were set aside, counted up to 100,000."),
)

WEB = (
    Shown("jabba_http_requests_total", "counter", "Requests that were answered.", ("method", "route", "status")),
    Shown("jabba_http_request_seconds", "histogram", "How long answers took, streams left out.", ("method", "route")),
    Shown(
        "jabba_submissions_total", "counter", "Jobs submitted: accepted, repeated, or the error's type.", ("result",)
    ),
    Shown("jabba_live_streams", "gauge", "Live streams that are open."),
    Shown("jabba_database_connections", "gauge", "PostgreSQL connections: used, idle.", ("state",)),
    Shown("jabba_unfinished_oldest_seconds", "gauge", "Age of the oldest job that has not ended, 0 without one."),
    Shown("jabba_workers_behind_messages", "gauge", "Messages of the tasks topic that no worker is done with."),
    Shown("jabba_workers_behind_seconds", "gauge", "For how long the oldest of those has waited."),
    Shown("jabba_projection_behind_messages", "gauge", "Messages that PostgreSQL does not have yet.", ("topic",)),
    Shown("jabba_projection_behind_seconds", "gauge", "For how long the oldest of those has waited.", ("topic",)),
    Shown("jabba_dead_letters", "gauge", "Messages that nobody could read and that are still kept."),
)

Value = float | Histogram
Reading = Callable[[], Value | Mapping[tuple[str, ...], Value]]
"""Answers a metric's value now, by its labels if it has some."""


class Exposition(Collector):
    """The metrics of one process, read when they are asked for; the process's own figures beside them.

    Raises:
        ValueError: a metric has no reading, or a reading no metric.
    """

    def __init__(self, metrics: tuple[Shown, ...], readings: Mapping[str, Reading]) -> None:
        if {metric.name for metric in metrics} != readings.keys():
            raise ValueError(f"readings {sorted(readings)} are not those of {sorted(one.name for one in metrics)}")
        self._metrics = metrics
        self._readings = readings
        self._registry = CollectorRegistry()
        for collect in (ProcessCollector, PlatformCollector, GCCollector):
            collect(registry=self._registry)
        self._registry.register(self)

    def text(self) -> bytes:
        """Return all of it in Prometheus's text format."""
        return generate_latest(self._registry)

    def describe(self) -> Iterator[Metric]:
        """Return nothing: the names are known to be different, and no reading is taken before it is asked for."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Return the metrics as they are now."""
        for shown in self._metrics:
            found = self._readings[shown.name]()
            yield _family(shown, found if isinstance(found, Mapping) else {(): found})


def _family(shown: Shown, values: Mapping[tuple[str, ...], Value]) -> Metric:
    family: Any = _FAMILIES[shown.kind](shown.name, shown.what, labels=shown.labels)
    for labels, value in list(values.items()):
        if isinstance(value, Histogram):
            buckets = [(_bound(bound), count) for bound, count in value.up_to()]
            family.add_metric(labels, buckets, value.total)
        else:
            family.add_metric(labels, value)
    made: Metric = family
    return made


_FAMILIES: Mapping[str, Any] = {
    "counter": CounterMetricFamily,
    "gauge": GaugeMetricFamily,
    "histogram": HistogramMetricFamily,
}


def _bound(seconds: float) -> str:
    return "+Inf" if seconds == float("inf") else str(seconds)
