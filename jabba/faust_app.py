"""The Faust application of a worker, the options that every application shares, and how a process runs one."""

import asyncio
import gc
import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any, NoReturn

import faust
import faust.app
import mode
from faust.auth import Credentials
from faust.tables.manager import TableManager
from faust.tables.recovery import Recovery
from mode import ServiceT

from jabba.callbacks.registry import CALLBACK_THREADS
from jabba.concurrency.cancellation import cancel_and_wait
from jabba.concurrency.process import exit_beside_threads, exit_within
from jabba.kafka.security import KafkaSecurity
from jabba.settings import Settings

logger = logging.getLogger(__name__)

# Their debug calls format every message and cost a busy worker a tenth of its time, whatever the root level is.
_CHATTY_LOGGERS = ("faust", "faust.topics", "aiokafka", "asyncio", "mode")

_GARBAGE_THRESHOLDS = (50_000, 20, 50)
"""Python's own (700, 10, 10) cost a busy worker a third of its throughput; bench/worker.py measures it."""

_BUFFERED_MESSAGES = 64
"""Messages that Faust buffers ahead of the agent; each may have up to half a megabyte."""

_HEARTBEAT_SECONDS = 0.5
"""A worker learns of a rebalance by its next heartbeat; until then those who wait for it stand still."""

_METADATA_SECONDS = 10.0
"""A worker that has seen a topic go learns so soon that it is there again; Kafka's own 5 minutes are long for a job."""


class JabbaApp(faust.App):
    """A Faust application that keeps no files and can hand its work over before it stops.

    ``beside`` is open from the first start to the end. Once it is told to stop, its process ends within
    ``stop_seconds``, whatever user code holds up.
    """

    hand_over: Callable[[], Awaitable[None]] | None = None
    stop_seconds: float | None = None
    beside: AbstractAsyncContextManager[object] = nullcontext()

    def _create_directories(self) -> None:
        """Create none: Jabba's table lives in memory and its changelog."""

    async def on_first_start(self) -> None:
        """Collect garbage less often: a full collection walks every slice in memory and stops every lane."""
        await super().on_first_start()
        await self.beside.__aenter__()
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_GARBAGE_THRESHOLDS)

    async def on_stop(self) -> None:
        """Hand over first: Faust stops the tables before it tells anyone that it is about to shut down."""
        if self.stop_seconds is not None:
            exit_within(self.stop_seconds)
        if self.hand_over is not None:
            try:
                await self.hand_over()
            except Exception:
                # Whatever is left to stop would go on, and keep this process alive for ever.
                logger.exception("the hand-over failed, others take over without it")
        await super().on_stop()
        await self.beside.__aexit__(None, None, None)


class _NoRecovery(Recovery):
    """Never replays a changelog: Jabba's table loads its partitions itself, and knows no keys and values of Faust's.

    The former owner of a partition may still write while Faust compares where the changelog ends with what is loaded.
    """

    def need_recovery(self) -> bool:
        """Return that nothing is to be replayed, wherever the changelog ends."""
        return False


class Tables(TableManager):
    """Looks after a table that needs no recovery."""

    @property
    def recovery(self) -> Recovery:
        """The service that resumes the streams after a rebalance."""
        if self._recovery is None:
            self._recovery = _NoRecovery(self.app, self, beacon=self.beacon, loop=self.loop)
        return self._recovery


def worker_app(settings: Settings, partitions: int) -> JabbaApp:
    """Make the application of a worker; ``partitions`` is what each topic was created with."""
    return JabbaApp(
        settings.topics.worker_group,
        **common_options(settings),
        web_enabled=False,
        topic_partitions=partitions,
        table_standby_replicas=0,
        TableManager=Tables,
        consumer_auto_offset_reset="earliest",
        consumer_group_instance_id=settings.instance or None,
        stream_buffer_maxsize=_BUFFERED_MESSAGES,
        # The hand-over waits for steps itself; Faust would wait for whole lanes.
        stream_wait_empty=False,
        stream_recovery_delay=0.0,
        recovery_consistency_check=False,
        broker_session_timeout=settings.session_seconds,
        broker_heartbeat_interval=min(settings.session_seconds / 5, _HEARTBEAT_SECONDS),
        # One wedged worker must not stall the others for longer than its session.
        broker_rebalance_timeout=settings.session_seconds + 2,
        broker_request_timeout=max(30.0, settings.session_seconds + 1),
        broker_max_poll_interval=3600.0,
        consumer_metadata_max_age_ms=int(_METADATA_SECONDS * 1000),
    )


def common_options(settings: Settings) -> dict[str, Any]:
    """Return the options that every application of Jabba shares."""
    return {
        "broker": ";".join(f"kafka://{server}" for server in settings.kafka.split(",")),
        "broker_credentials": _credentials(settings.kafka_access.security),
        "store": "memory://",
        # `jabba init` creates the topics, with the configuration that they need.
        "topic_allow_declare": False,
        "topic_disable_leader": True,
        "logging_config": None,
        "worker_redirect_stdouts": False,
    }


def _credentials(security: KafkaSecurity) -> Credentials | None:
    """Return what Faust hands to its clients of aiokafka's."""
    if security.by_sasl:
        return faust.SASLCredentials(
            username=security.user,
            password=security.password,
            ssl_context=security.tls,
            mechanism=str(security.sasl).upper(),
        )
    return faust.SSLCredentials(security.tls) if security.by_tls else None


class _QuickEnd(mode.Worker):
    """Ends as soon as all has stopped; mode's own would rest for two seconds more, whatever is left to do."""

    def _gather_all(self) -> None:
        self.loop.run_until_complete(cancel_and_wait(asyncio.all_tasks(self.loop)))

    async def _sentinel_task(self) -> None:
        """Let transports that are closing close."""
        await asyncio.sleep(0)


class _AppProcess(_QuickEnd, faust.Worker):
    """A process that runs a Faust application, without the spinner for people who watch it start."""

    def __init__(self, app: faust.App) -> None:
        super().__init__(app, quiet=True, override_logging=False, redirect_stdouts=False)
        self.spinner = None


def run_app(app: faust.App) -> NoReturn:
    """Run an application until SIGINT or SIGTERM, then exit: 0, or 1 when it crashed."""
    try:
        _AppProcess(app).execute_from_commandline()
    except SystemExit as end:
        exit_beside_threads(CALLBACK_THREADS, end.code if isinstance(end.code, int) else 1)
        raise


def run_service(service: ServiceT) -> NoReturn:
    """Run a service without Faust, such as the projector, in the same way."""
    _QuickEnd(service, quiet=True, override_logging=False, redirect_stdouts=False).execute_from_commandline()


def quiet_libraries(level: str) -> None:
    """Set the log levels of the libraries explicitly, since their default is to inherit.

    They tell of every service that starts and stops, which is worth reading to find an error only.
    """
    chosen = logging.INFO if level == "debug" else max(logging.WARNING, logging.getLevelName(level.upper()))
    for name in _CHATTY_LOGGERS:
        logging.getLogger(name).setLevel(chosen)
