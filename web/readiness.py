"""Whether the process can do its work; asked by anyone, so it tells which part cannot, since when, and no more."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from functools import partial

from jabba.clock import Clock
from jabba.errors import NotReady, RequestError
from web.waiting import Fresh

logger = logging.getLogger(__name__)

Probe = Callable[[], Awaitable[object]]
"""Asks a part whether it serves; what it raises goes to the log alone, for it names hosts and users."""


class Readiness:
    """The parts that a process needs, and since when those that do not serve have been seen not to.

    What is known of a part is good for ``seconds``, and no part waits for another: a load balancer asks for one alone.
    """

    def __init__(self, probes: Mapping[str, Probe], clock: Clock, seconds: float) -> None:
        self._parts = {part: Fresh(partial(self._ask, part, probe), seconds) for part, probe in probes.items()}
        self._clock = clock
        self._red: dict[str, datetime] = {}

    async def look(self, *parts: str) -> dict[str, datetime | None]:
        """Return since when each of these parts, or of all, does not serve, None when it does."""
        asked = parts or tuple(self._parts)
        return dict(zip(asked, await asyncio.gather(*(self._parts[part].get() for part in asked)), strict=True))

    async def close(self) -> None:
        """Give up what is being asked."""
        await asyncio.gather(*(part.close() for part in self._parts.values()))

    async def _ask(self, part: str, probe: Probe) -> datetime | None:
        return self._seen(part, await _fault(probe))

    def _seen(self, part: str, fault: Exception | None) -> datetime | None:
        if fault is None:
            if self._red.pop(part, None) is not None:
                logger.info("part is ready again", extra={"part": part})
            return None
        if part not in self._red:
            logger.warning("part is not ready", extra={"part": part, "error": str(fault)})
            self._red[part] = datetime.fromtimestamp(int(self._clock.now()), UTC)
        return self._red[part]


async def _fault(probe: Probe) -> Exception | None:
    try:
        await probe()
    except (NotReady, RequestError) as error:
        return error
    return None
