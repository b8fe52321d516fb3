"""Questions about jobs, asked together: while one is under way, the next one gathers."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Generic, TypeVar
from uuid import UUID

from jabba.errors import Unavailable

Answer = TypeVar("Answer")

_MOST_AT_ONCE = 1000


class Questions(Generic[Answer]):
    """Gathers what is asked while a question is under way, and asks it all at once."""

    def __init__(self, ask: Callable[[Iterable[UUID]], Awaitable[Mapping[UUID, Answer]]]) -> None:
        self._ask = ask
        self._waiting: dict[UUID, asyncio.Future[Answer | None]] = {}
        self._asking: asyncio.Task[None] | None = None

    async def ask(self, job: UUID) -> Answer | None:
        """Answer what there is to tell of a job, None when there is nothing or PostgreSQL cannot tell."""
        if job not in self._waiting:
            self._waiting[job] = asyncio.get_running_loop().create_future()
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask_all())
        return await asyncio.shield(self._waiting[job])

    async def _ask_all(self) -> None:
        try:
            while self._waiting:
                asked = dict(list(self._waiting.items())[:_MOST_AT_ONCE])
                for job in asked:
                    del self._waiting[job]
                await self._answer(asked)
        finally:
            self._asking = None

    async def _answer(self, asked: Mapping[UUID, asyncio.Future[Answer | None]]) -> None:
        try:
            found = await self._ask(asked)
        except Unavailable:
            found = {}
        except Exception as error:  # noqa: BLE001 — whatever went wrong belongs to those who wait
            for waiting in asked.values():
                waiting.set_exception(error)
            return
        for job, waiting in asked.items():
            waiting.set_result(found.get(job))
