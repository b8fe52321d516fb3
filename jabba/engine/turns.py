"""Later slices of sequential jobs wait here for the slice before them."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from weakref import WeakValueDictionary

from jabba.engine.changelog import Store
from jabba.engine.records import JobRecord, LaneName
from jabba.messages.slices import Slice


class Turns:
    """Wakes the lanes of a job, those in memory and those in the table, whenever the job's record has changed.

    Jobs go by the key of their record. Nothing else writes those, since two that do so at a time would each undo what
    the other has noted.
    """

    def __init__(self, wake_parked: Callable[[str], None] = lambda _: None) -> None:
        self._wake_parked = wake_parked
        self._waiting: dict[str, asyncio.Future[None]] = {}
        self._writing: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

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

    async def pass_on(self, store: Store, slice_: Slice, *, failed: bool) -> None:
        """Record that a slice has ended, so that it is the turn of the one after it."""
        key = LaneName.of(slice_).job_key
        async with self._lock(key):
            job = job_record(store, key, slice_.n_slices)
            if job.failed or job.next > slice_.k:
                return
            await store.put(key, job.after(slice_.k, failed=failed).encode())
        self.notify(key)

    async def close(self, store: Store, key: str, n_slices: int) -> None:
        """Record that no slice has its turn any more."""
        async with self._lock(key):
            await store.put(key, replace(job_record(store, key, n_slices), failed=True).encode())
        self.notify(key)

    def _lock(self, job: str) -> asyncio.Lock:
        return self._writing.setdefault(job, asyncio.Lock())


def job_record(store: Store, key: str, n_slices: int) -> JobRecord:
    """Return how far a job has come; Unreadable as for ``Store.read``."""
    return store.read(key, JobRecord.decode) or JobRecord(n_slices)
