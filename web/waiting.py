"""Waiting for answers that many want: for the projection, which is always a little behind, and for what is dear."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Generic, TypeVar

from jabba.concurrency.cancellation import cancel_and_wait
from jabba.messages.positions import Position

Answer = TypeVar("Answer")
Offsets = Mapping[int, int]
"""By partition, the offset of the first message that is not projected yet."""

_FIRST_PAUSE_SECONDS = 0.01
_LONGEST_PAUSE_SECONDS = 0.2
_PAUSE_GROWTH = 1.5
_ROUND_SECONDS = 0.01


async def until_answered(ask: Callable[[], Awaitable[Answer | None]], within: float) -> Answer | None:
    """Ask until there is an answer, with growing pauses, for about ``within`` seconds."""
    loop = asyncio.get_running_loop()
    deadline, pause = loop.time() + within, _FIRST_PAUSE_SECONDS
    while (answer := await ask()) is None and (left := deadline - loop.time()) > 0:
        await asyncio.sleep(min(pause, left))
        pause = min(pause * _PAUSE_GROWTH, _LONGEST_PAUSE_SECONDS)
    return answer


class Progress:
    """How far the projection is: asked only while someone waits, and then once in a while for all who do."""

    def __init__(self, ask: Callable[[], Awaitable[Offsets]]) -> None:
        self._ask = ask
        self._round: asyncio.Task[Offsets] | None = None
        self._asked_at = 0.0

    async def reaches(self, position: Position, within: float) -> bool:
        """Return whether the projection reaches a position within ``within`` seconds; errors are those of asking."""
        try:
            async with asyncio.timeout(within):
                while not covers(await self._next_offsets(), position):
                    pass
        except TimeoutError:
            return False
        return True

    async def _next_offsets(self) -> Offsets:
        if self._round is None or self._round.done():
            self._round = asyncio.create_task(self._ask_in_turn())
            self._round.add_done_callback(_retrieve)
        # Who gives up waiting must not take the answer away from the others.
        return await asyncio.shield(self._round)

    async def _ask_in_turn(self) -> Offsets:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(max(0.0, self._asked_at + _ROUND_SECONDS - loop.time()))
        self._asked_at = loop.time()
        return await self._ask()


class Fresh(Generic[Answer]):
    """What is dear to find out: asked once at a time for all who want it, and good for ``seconds``.

    Errors are those of asking; they go to everyone who waits, and the next one asks again.
    """

    def __init__(self, ask: Callable[[], Awaitable[Answer]], seconds: float) -> None:
        self._ask = ask
        self._seconds = seconds
        self._asked: asyncio.Task[Answer] | None = None
        self._good_until = 0.0

    async def get(self) -> Answer:
        """Return it."""
        now = asyncio.get_running_loop().time()
        if self._asked is None or (self._asked.done() and now >= self._good_until):
            self._good_until = 0.0
            self._asked = asyncio.create_task(self._ask_now())
            self._asked.add_done_callback(_retrieve)
        # Who gives up waiting must not take the answer away from the others.
        return await asyncio.shield(self._asked)

    async def close(self) -> None:
        """Give up what is being asked."""
        if self._asked is not None:
            await cancel_and_wait([self._asked])

    async def _ask_now(self) -> Answer:
        answer = await self._ask()
        self._good_until = asyncio.get_running_loop().time() + self._seconds
        return answer


def covers(offsets: Offsets, position: Position) -> bool:
    """Return whether the messages of a position, and all before them, are projected."""
    return all(offsets.get(partition, 0) > offset for partition, offset in position.items())


def _retrieve(asked: "asyncio.Task[Any]") -> None:
    """Mark an error as seen even when nobody waits any more."""
    if not asked.cancelled():
        asked.exception()
