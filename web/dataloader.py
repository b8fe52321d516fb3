"""Questions to PostgreSQL, asked together: while one is under way, the next one gathers."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping
from typing import Generic, TypeVar

from jabba.errors import Unavailable

Asked = TypeVar("Asked", bound=Hashable)
Answer = TypeVar("Answer")

_MOST_AT_ONCE = 1000


class DataLoader(Generic[Asked, Answer]):
    """Gathers what is asked while a question is under way, and asks it all at once."""

    def __init__(self, ask: Callable[[Iterable[Asked]], Awaitable[Mapping[Asked, Answer]]]) -> None:
        self._ask = ask
        self._waiting: dict[Asked, asyncio.Future[Answer | None]] = {}
        self._asking: asyncio.Task[None] | None = None

    async def ask(self, what: Asked) -> Answer | None:
        """Return what there is to tell of something, None when there is nothing or PostgreSQL cannot tell."""
        if what not in self._waiting:
            self._waiting[what] = asyncio.get_running_loop().create_future()
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask_all())
        return await asyncio.shield(self._waiting[what])

    async def _ask_all(self) -> None:
        try:
            while self._waiting:
                asked = dict(list(self._waiting.items())[:_MOST_AT_ONCE])
                for what in asked:
                    del self._waiting[what]
                await self._answer(asked)
        finally:
            self._asking = None

    async def _answer(self, asked: Mapping[Asked, asyncio.Future[Answer | None]]) -> None:
        try:
            found = await self._ask(asked)
        except Unavailable:
            found = {}
        except Exception as error:  # noqa: BLE001 — whatever went wrong belongs to those who wait
            for waiting in asked.values():
                waiting.set_exception(error)
            return
        for what, waiting in asked.items():
            waiting.set_result(found.get(what))
