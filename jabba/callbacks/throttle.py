"""How many calls of a service run at a time, and how many begin a second, in one worker.

A call waits a moment for its turn, since it holds one of the worker's slots meanwhile; behind that its task is
postponed, to a time at which those before it have had theirs.
"""

import asyncio
from collections import deque
from collections.abc import Callable

from jabba.callbacks.services import Rate

TURN_SECONDS = 0.2
"""How long a call waits for its turn in a slot of the worker."""

_LONGEST_SECONDS = 60.0
_RECOVER = 1.0
_WEIGHT = 0.1


class Throttle:
    """Bounds the calls of one service: ``concurrency`` at a time, ``rate`` of them begin.

    The concurrency is halved when the service says that it is busy, and recovers by one for as many calls as run at a
    time that went well.
    """

    def __init__(self, concurrency: int, rate: Rate | None, monotonic: Callable[[], float]) -> None:
        self._most = float(concurrency)
        self._limit = float(concurrency)
        self._interval = 0.0 if rate is None else rate.seconds / rate.calls
        # What may begin at once after a pause: a tenth of a second's calls.
        self._burst = max(0.0, min(0.1, 0.1 if rate is None else rate.seconds) - self._interval)
        self._monotonic = monotonic
        self._running = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._begins = self._postponed = self._halved = float("-inf")
        self._seconds = 0.05

    @property
    def running(self) -> int:
        """Return how many calls run."""
        return self._running

    @property
    def limit(self) -> int:
        """Return how many may run at a time now."""
        return int(self._limit)

    async def enter(self) -> float:
        """Wait a moment for this call's turn; return 0 and let ``leave`` follow, or the seconds to come back in."""
        if not await self._take_place():
            return self._postpone(self._seconds / self._limit)
        try:
            now = self._monotonic()
            begins = max(now, self._begins + self._interval) if self._interval else now
            if begins - now - self._burst > TURN_SECONDS:
                self._give_place()
                return self._postpone(self._interval)
            self._begins = max(begins, now - self._burst) if self._interval else now
            if (delay := begins - now - self._burst) > 0:
                await asyncio.sleep(delay)
        except BaseException:
            self._give_place()
            raise
        return 0.0

    def leave(self, seconds: float, *, good: bool | None) -> None:
        """End a call that took so long: it went well or badly, or (None) the service said that it is busy."""
        self._seconds += _WEIGHT * (seconds - self._seconds)
        if good:
            self._limit = min(self._most, self._limit + _RECOVER / self._limit)
        elif good is None:
            self._halve()
        self._give_place()

    def _halve(self) -> None:
        # The answers to one burst count once.
        now = self._monotonic()
        if now >= self._halved + 1.0:
            self._halved = now
            self._limit = max(1.0, self._limit / 2)

    async def _take_place(self) -> bool:
        if self._running < self.limit and not self._waiting:
            self._running += 1
            return True
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout(TURN_SECONDS):
                await turn
        except TimeoutError:
            pass
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._give_place()
            raise
        finally:
            if turn in self._waiting:
                self._waiting.remove(turn)
        return turn.done() and not turn.cancelled()

    def _give_place(self) -> None:
        self._running -= 1
        while self._waiting and self._running < self.limit:
            turn = self._waiting.popleft()
            if not turn.done():
                self._running += 1
                turn.set_result(None)

    def _postpone(self, interval: float) -> float:
        """Return the seconds after which those that were postponed before have had their turn."""
        now = self._monotonic()
        self._postponed = min(max(self._postponed, now + TURN_SECONDS) + interval, now + _LONGEST_SECONDS)
        return self._postponed - now
