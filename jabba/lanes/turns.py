"""Later slices of sequential jobs wait here for the slice before them."""

import asyncio
from collections.abc import Callable


class Turns:
    """Wakes the lanes of a job, those in memory and those in the table, whenever the job's record has changed.

    Jobs go by the key of their record.
    """

    def __init__(self, wake_parked: Callable[[str], None] = lambda _: None) -> None:
        self._wake_parked = wake_parked
        self._waiting: dict[str, asyncio.Future[None]] = {}

    async def changed(self, job: str) -> None:
        """Wait for the next change."""
        if job not in self._waiting:
            self._waiting[job] = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._waiting[job])

    def notify(self, job: str) -> None:
        """Wake all that wait."""
        waiting = self._waiting.pop(job, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(None)
        self._wake_parked(job)
