"""How an owner parts from its partition: its running steps are recorded, and whoever comes next waits for them."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from jabba.engine.changelog import Store
from jabba.engine.gate import NEVER, Gate

logger = logging.getLogger(__name__)

_GRACE_SECONDS = 0.5
"""Seconds to clear the suspicion of steps that have not ended; what ends just then may be recorded, too."""


class HandOver:
    """Of one partition, in two moves, since nobody knows at first which partitions stay.

    Before it joins the group again, the owner ``part``s: it starts no step, and says in the changelog whether some
    still run. Then it ``stay``s, or it has lost the partition: it goes on for as long as ``finishing``, and its
    successor waits before its claim. ``clear_suspicion`` lets nobody take what has not ended for crashed.
    """

    def __init__(
        self, gate: Gate, store: asyncio.Future[Store], clear_suspicion: Callable[[], Awaitable[None]]
    ) -> None:
        self._gate = gate
        self._store = store
        self._clear_suspicion = clear_suspicion
        self._finishing: asyncio.Task[None] | None = None

    @property
    def finishing(self) -> bool:
        """Return whether steps may still be recorded though the owner has parted."""
        return self._finishing is not None and not self._finishing.done()

    async def part(self, seconds: float) -> None:
        """Start no step any more, and say so: at once, or when those have ended that still run, which get so long.

        Once this returns or is cancelled, nothing else is recorded.
        """
        if self.finishing:
            return
        self._gate.hold()
        until, asked = NEVER, asyncio.get_running_loop().time()
        try:
            if not self._store.done() or not self._gate.writable:
                return
            store = self._store.result()
            if self._gate.is_quiet:
                await self._clear_suspicion()
                self._gate.close()
                await store.leave()
            else:
                await store.finish(seconds + _GRACE_SECONDS)
                until = asked + seconds + _GRACE_SECONDS
                self._finishing = asyncio.create_task(self._finish(store, seconds))
        finally:
            self._gate.close(until=until)

    def stay(self) -> None:
        """Go on being the owner; steps start when the gate opens."""
        self.cancel()
        self._finishing = None

    async def finished(self) -> None:
        """Wait until no step may be recorded any more, and that has been said."""
        if self._finishing is not None:
            await asyncio.wait([self._finishing])

    def then(self, end: Callable[[], None]) -> None:
        """Call ``end`` when no step may be recorded any more."""
        if self._finishing is not None and self.finishing:
            self._finishing.add_done_callback(lambda _: end())
        else:
            end()

    def cancel(self) -> None:
        """Wait for no step any more."""
        if self._finishing is not None:
            self._finishing.cancel()

    async def _finish(self, store: Store, seconds: float) -> None:
        if running := await self._gate.quiet(seconds):
            logger.warning("%d steps run longer than the hand-over waits", running)
        absolved = await self._absolved()
        # Something below may have swallowed a cancellation.
        if self._finishing is asyncio.current_task():
            # What is recorded after this would come too late, even if it is answered.
            self._gate.close()
            if absolved:
                await store.leave()

    async def _absolved(self) -> bool:
        try:
            async with asyncio.timeout(_GRACE_SECONDS):
                await self._clear_suspicion()
        except TimeoutError:
            return False
        return True
