"""What a worker counts of its own work, and where it is looked at."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext

from agents.hanging import Hanging
from jabba.callbacks.http import HttpRunner
from jabba.callbacks.instrumented import MeasuredRunner
from jabba.engine.engine import Engine
from jabba.kafka.writer import Emitter
from jabba.monitoring.health_server import Fault, Monitor
from jabba.monitoring.metrics import WORKER, Exposition
from jabba.monitoring.watchdog import Watchdog
from jabba.settings import Settings
from tables.lanes import LaneTable

Lag = Callable[[], dict[int, int]]
"""Answers how many messages are not committed, by partition."""


def monitor_of(
    settings: Settings,
    *,
    engine: Engine,
    runner: MeasuredRunner,
    http: HttpRunner,
    emitter: Emitter,
    table: LaneTable,
    watchdog: Watchdog,
    hanging: Hanging,
    lag: Lag,
    unready: Fault,
) -> AbstractAsyncContextManager[object]:
    """Return the monitor of a worker, one that does nothing if the settings name no port.

    Its health is red from half of the time on after which the watchdog ends the process.
    """
    if not settings.metrics_port:
        return nullcontext()
    exposition = Exposition(
        WORKER,
        {
            "jabba_steps_total": lambda: {(word,): count for word, count in runner.outcomes.items()},
            "jabba_service_calls_total": lambda: {(name, word): n for (name, word), n in http.calls.items()},
            "jabba_service_breaker_open": lambda: {
                (name,): int(state != "closed") for name, state in http.breakers.items()
            },
            "jabba_step_seconds": lambda: runner.seconds,
            "jabba_steps_running": lambda: engine.running,
            "jabba_slots": lambda: settings.slots,
            "jabba_lanes": lambda: engine.lanes,
            "jabba_lanes_parked": lambda: engine.parked,
            "jabba_records_written_total": lambda: table.records,
            "jabba_events_sent_total": lambda: emitter.sent,
            "jabba_events_acknowledged_total": lambda: emitter.acknowledged,
            "jabba_events_waiting": lambda: emitter.waiting,
            "jabba_partitions_owned": lambda: engine.partitions,
            "jabba_rebalances_total": lambda: engine.rebalances,
            "jabba_epochs_taken_total": lambda: engine.taken,
            "jabba_lag_messages": lambda: {(str(partition),): count for partition, count in lag().items()},
            "jabba_steps_hanging": lambda: hanging.steps,
            "jabba_stalled_seconds": lambda: watchdog.stalled_seconds,
        },
    )
    return Monitor(settings.metrics_host, settings.metrics_port, exposition, fault=watchdog.fault, unready=unready)
