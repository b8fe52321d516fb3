"""Whether the process can do its work; asked by anyone, so it tells which part cannot, since when, and no more."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime

from jabba.clock import Clock
from jabba.errors import NotReady, RequestError

logger = logging.getLogger(__name__)

Probe = Callable[[], Awaitable[object]]
"""Asks a part whether it serves; what it raises goes to the log alone, for it names hosts and users."""


class Readiness:
    """The parts that a process needs, and since when those that do not serve have been seen not to."""

    def __init__(self, probes: Mapping[str, Probe], clock: Clock) -> None:
        self._probes = probes
        self._clock = clock
        self._red: dict[str, datetime] = {}

    async def look(self) -> dict[str, datetime | None]:
        """Ask every part; answer since when it does not serve, None when it does."""
        faults = await asyncio.gather(*(_fault(probe) for probe in self._probes.values()))
        return {part: self._seen(part, fault) for part, fault in zip(self._probes, faults, strict=True)}

    def _seen(self, part: str, fault: Exception | None) -> datetime | None:
        if fault is None:
            if self._red.pop(part, None) is not None:
                logger.info("%s serves again", part)
            return None
        if part not in self._red:
            logger.warning("%s does not serve: %s", part, fault)
            self._red[part] = datetime.fromtimestamp(int(self._clock.now()), UTC)
        return self._red[part]


async def _fault(probe: Probe) -> Exception | None:
    try:
        await probe()
    except (NotReady, RequestError) as error:
        return error
    return None
