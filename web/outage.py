"""Submitting many jobs while Kafka is away: the first ones wait for it, and the others do not."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Self

from jabba.ending import ended
from jabba.errors import NotReady, Unavailable
from jabba.submission import Prepared, Submitted

Send = Callable[[Prepared], Awaitable[Submitted]]
"""Sends a job, and answers once Kafka has it; raises Unavailable when it did not acknowledge."""

_PAUSE_SECONDS = 0.2


class Outage:
    """What becomes of the jobs of one request when Kafka does not answer.

    From the first one that was not acknowledged on the others are refused at once, until Kafka answers again. Each
    would wait as long as the first, and the request last for hours. ``ask`` asks Kafka whether it is there.
    """

    def __init__(self, send: Send, ask: Callable[[], Awaitable[object]]) -> None:
        self._send = send
        self._ask = ask
        self._asking: asyncio.Task[None] | None = None
        self._answered_at = 0.0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._asking is not None:
            await ended([self._asking])

    @property
    def lasts(self) -> bool:
        """Answer whether Kafka is known to be away."""
        return self._asking is not None and not self._asking.done()

    async def send(self, prepared: Prepared) -> Submitted:
        """Send a job, unless Kafka is known to be away.

        Raises:
            Unavailable: it was not acknowledged, or not sent; it may be sent again with its id.
        """
        if self.lasts:
            raise Unavailable(f"Kafka does not answer; job {prepared.job.id} may be sent again with this id")
        begun = asyncio.get_running_loop().time()
        try:
            return await self._send(prepared)
        except Unavailable:
            # One that was sent before Kafka came back says nothing of what it does now.
            if begun >= self._answered_at and not self.lasts:
                self._asking = asyncio.create_task(self._until_it_answers())
            raise

    async def _until_it_answers(self) -> None:
        answered = False
        while not answered:
            try:
                with suppress(NotReady):
                    await self._ask()
                answered = True
            except Unavailable:
                await asyncio.sleep(_PAUSE_SECONDS)
        self._answered_at = asyncio.get_running_loop().time()
