"""Waiting for jobs to end: PostgreSQL has the truth, the events only say when to ask again."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from uuid import UUID

from jabba.jobs.models import Job
from web.dataloader import DataLoader

Ask = Callable[[Iterable[UUID]], Awaitable[Mapping[UUID, Job]]]
"""Answers those of the jobs that have ended."""

Hints = Callable[[str], AbstractContextManager[asyncio.Event]]
"""Answers an event that is set whenever something happens to a job."""

_FIRST_PAUSE_SECONDS = 0.01
_PAUSE_GROWTH = 1.5
_LONGEST_PAUSE_SECONDS = 5.0
"""How often a job is asked for of which nothing is heard."""

_LEAST_SPACING_SECONDS = 0.01
_MOST_SPACING_SECONDS = 0.25
_SPACING = 0.05
"""A job of which much is heard is asked for this often, as a part of the time that one has waited."""


class EndWaiters:
    """Tells many waiters of the ends of many jobs, with one question to PostgreSQL at a time."""

    def __init__(self, ask: Ask, hints: Hints, closing: asyncio.Event) -> None:
        self._hints = hints
        self._closing = closing
        self._questions = DataLoader(ask)

    async def ended(self, job: UUID, within: float | None = None) -> Job | None:
        """Return a job once it has ended; None after ``within`` seconds, or when this process stops."""
        try:
            async with asyncio.timeout(within):
                return await self._until_ended(job)
        except TimeoutError:
            return None

    async def _until_ended(self, job: UUID) -> Job | None:
        loop = asyncio.get_running_loop()
        since, pause = loop.time(), _FIRST_PAUSE_SECONDS
        with self._hints(str(job)) as hint:
            while not self._closing.is_set():
                hint.clear()
                if (found := await self._questions.ask(job)) is not None:
                    return found
                if await _set_within(hint, pause):
                    # The projection is a little behind the event; and a job of many tasks says much before it ends.
                    waited = (loop.time() - since) * _SPACING
                    pause = min(max(waited, _LEAST_SPACING_SECONDS), _MOST_SPACING_SECONDS)
                    await asyncio.sleep(pause)
                else:
                    pause = min(pause * _PAUSE_GROWTH, _LONGEST_PAUSE_SECONDS)
        return None


async def _set_within(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return False
