"""Submitting many jobs while Kafka is away or does not allow it: the first ones find out, and the others do not."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Self
from uuid import UUID

from jabba.concurrency.cancellation import cancel_and_wait
from jabba.errors import NotReady, Refused, Unavailable
from jabba.producer.submission import Prepared, Submitted

Send = Callable[[Prepared], Awaitable[Submitted]]
"""Sends a job, and answers once Kafka has it; raises Unavailable when it did not acknowledge, or Refused."""

_PAUSE_SECONDS = 0.2


class CircuitBreaker:
    """What becomes of the jobs of one request when Kafka does not answer, or does not allow this process to write.

    From the first one that was not acknowledged on the others are refused at once, until Kafka answers again. Each
    would wait as long as the first, and the request last for hours. ``ask`` asks Kafka whether it is there, and lets
    this process in; whether it allows to write only the next job will tell.
    """

    def __init__(self, send: Send, ask: Callable[[], Awaitable[object]]) -> None:
        self._send = send
        self._ask = ask
        self._asking: asyncio.Task[None] | None = None
        self._trouble: Unavailable | None = None
        self._answered_at = 0.0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._asking is not None:
            await cancel_and_wait([self._asking])

    @property
    def lasts(self) -> bool:
        """Return whether Kafka is known to be away, or not to allow it."""
        return self._asking is not None and not self._asking.done()

    async def send(self, prepared: Prepared) -> Submitted:
        """Send a job, unless Kafka is known to be away, or not to allow it.

        Raises:
            Unavailable: it was not acknowledged, or not sent; it may be sent again with its id.
            Refused: Kafka does not allow it.
        """
        if self.lasts:
            raise self._not_sent(prepared.job.id)
        begun = asyncio.get_running_loop().time()
        try:
            return await self._send(prepared)
        except Unavailable as error:
            # One that was sent before Kafka came back says nothing of what it does now.
            if begun >= self._answered_at and not self.lasts:
                self._trouble = error
                self._asking = asyncio.create_task(self._until_it_answers())
            raise

    def _not_sent(self, job: UUID) -> Unavailable:
        if isinstance(self._trouble, Refused):
            return Refused(f"Kafka does not allow it; job {job} was not sent")
        return Unavailable(f"Kafka does not answer; job {job} may be sent again with this id")

    async def _until_it_answers(self) -> None:
        while self._trouble is not None:
            await asyncio.sleep(_PAUSE_SECONDS)
            self._trouble = await self._trouble_with_asking()
        self._answered_at = asyncio.get_running_loop().time()

    async def _trouble_with_asking(self) -> Unavailable | None:
        try:
            with suppress(NotReady):
                await self._ask()
        except Unavailable as error:
            return error
        return None
