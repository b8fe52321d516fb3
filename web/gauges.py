"""What an operator must be woken for, as Prometheus's gauges: of the stats, as far as they can be told."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from jabba.clock import Clock
from jabba.concurrency.cancellation import cancel_and_wait
from jabba.errors import Unavailable
from jabba.kafka.lag import Waiting
from jabba.monitoring.metrics import Reading
from web.schemas import Stats

logger = logging.getLogger(__name__)

_PATIENCE_SECONDS = 1.0
"""How long a scrape waits for the stats: all that this process counts by itself comes with it."""

_OLD_SECONDS = 60.0
"""So old the stats may be that are told instead of those that did not come in time."""

_Values = Mapping[tuple[str, ...], float]


class Gauges:
    """``await look()``, then take the readings; of what is not known they have no value.

    Stats that come too late for one look are told by the next, if that is not much later.
    """

    def __init__(self, ask: Callable[[], Awaitable[Stats]], clock: Clock) -> None:
        self._ask = ask
        self._clock = clock
        self._stats: Stats | None = None
        self._known_at = 0.0
        self._asking: asyncio.Task[None] | None = None

    async def look(self) -> None:
        """Ask, and wait a moment for the answer; whatever becomes of it is no error."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask_now())
        await asyncio.wait([self._asking], timeout=_PATIENCE_SECONDS)

    async def close(self) -> None:
        """Give up what is being asked."""
        if self._asking is not None:
            await cancel_and_wait([self._asking])

    def readings(self) -> dict[str, Reading]:
        """Return the readings of these metrics, by their names."""
        return {
            "jabba_unfinished_oldest_seconds": self._oldest,
            "jabba_workers_behind_messages": lambda: _messages(self._workers()),
            "jabba_workers_behind_seconds": lambda: _seconds(self._workers()),
            "jabba_projection_behind_messages": lambda: _messages(self._projection()),
            "jabba_projection_behind_seconds": lambda: _seconds(self._projection()),
            "jabba_dead_letters": self._dead_letters,
        }

    async def _ask_now(self) -> None:
        try:
            self._stats = await self._ask()
        except Unavailable:
            self._stats = None
        except Exception:
            logger.exception("statistics for Prometheus failed")
            self._stats = None
        self._known_at = self._clock.monotonic()

    def _known(self) -> Stats | None:
        return self._stats if self._clock.monotonic() - self._known_at <= _OLD_SECONDS else None

    def _oldest(self) -> _Values:
        known = self._known()
        if known is None or known.jobs is None:
            return {}
        oldest = known.jobs.oldest_unfinished
        return {(): 0.0 if oldest is None else max(0.0, self._clock.now() - oldest.inserted_at.timestamp())}

    def _workers(self) -> dict[tuple[str, ...], Waiting]:
        known = self._known()
        return {} if known is None or known.workers is None else {(): known.workers}

    def _projection(self) -> dict[tuple[str, ...], Waiting]:
        known = self._known()
        return {} if known is None else {(topic,): waiting for topic, waiting in (known.projection or {}).items()}

    def _dead_letters(self) -> _Values:
        known = self._known()
        return {} if known is None or known.dead_letters is None else {(): known.dead_letters}


def _messages(waiting: Mapping[tuple[str, ...], Waiting]) -> _Values:
    return {labels: one.messages for labels, one in waiting.items()}


def _seconds(waiting: Mapping[tuple[str, ...], Waiting]) -> _Values:
    return {labels: one.seconds for labels, one in waiting.items() if one.seconds is not None}
