"""Later slices of sequential jobs wait here for the slice before them."""

import asyncio
from uuid import UUID


class Turns:
    """Wakes the lanes of a job whenever its record has changed."""

    def __init__(self) -> None:
        self._waiting: dict[UUID, asyncio.Future[None]] = {}

    async def changed(self, job: UUID) -> None:
        """Wait for the next change."""
        if job not in self._waiting:
            self._waiting[job] = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._waiting[job])

    def notify(self, job: UUID) -> None:
        """Wake all that wait."""
        waiting = self._waiting.pop(job, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(None)
