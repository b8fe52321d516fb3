"""Waiting for the projection: asking again, with growing pauses, until there is an answer."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

Answer = TypeVar("Answer")

_FIRST_PAUSE_SECONDS = 0.01
_LONGEST_PAUSE_SECONDS = 0.2
_PAUSE_GROWTH = 1.5


async def until_answered(ask: Callable[[], Awaitable[Answer | None]], within: float) -> Answer | None:
    """Ask until the answer is true, for ``within`` seconds at most; the last answer may be false."""
    loop = asyncio.get_running_loop()
    deadline, pause = loop.time() + within, _FIRST_PAUSE_SECONDS
    while not (answer := await ask()) and (left := deadline - loop.time()) > 0:
        await asyncio.sleep(min(pause, left))
        pause = min(pause * _PAUSE_GROWTH, _LONGEST_PAUSE_SECONDS)
    return answer
