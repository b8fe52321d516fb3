"""The engine of one worker: owns partitions, starts a lane for every slice, and hands all over when it must."""

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from jabba.lanes.lane import Lane, Shared
from jabba.lanes.ports import Table
from jabba.lanes.records import lane_key
from jabba.lanes.room import Room
from jabba.lanes.store import Retired, Store
from jabba.lanes.tracker import AckTracker
from jabba.lanes.turns import Turns
from jabba.slices import Slice

logger = logging.getLogger(__name__)

_FIRST_RETRY_SECONDS = 0.5
_LONGEST_RETRY_SECONDS = 30.0


class Origin(NamedTuple):
    """Where a message stood in the tasks topic, how many bytes it had, and under which generation it was fetched."""

    partition: int
    offset: int
    generation: int
    size: int


@dataclass(slots=True)
class _Running:
    task: asyncio.Task[None]
    waiting_offsets: list[int]


@dataclass(slots=True)
class _Owned:
    """A partition that this worker owns; its store comes once it has been loaded."""

    store: asyncio.Future[Store]
    turns: Turns = field(default_factory=Turns)
    lanes: dict[str, _Running] = field(default_factory=dict)


class Engine:
    """Ownership follows the consumer group: ``drain``, ``assign`` and ``open``, in this order, at every rebalance.

    Between ``drain`` and ``open`` no step starts. Lanes of partitions that stay live on; those of lost partitions are
    cancelled. A partition stays only if this worker was a member of the generation before: otherwise another may have
    owned it in between, and it is loaded again under a new epoch.
    """

    def __init__(self, table: Table, shared: Shared, room: Room) -> None:
        self._table = table
        self._shared = shared
        self._room = room
        self._tracker = AckTracker()
        self._owned: dict[int, _Owned] = {}
        self._loading: asyncio.Task[None] | None = None
        self._generation = -1

    # The consumer group's side.

    async def drain(self, seconds: float) -> int:
        """Start no more steps, give running ones so long to be recorded; answer how many are still running."""
        return await self._shared.gate.drain(seconds)

    def forget_offsets(self) -> None:
        """Forget the messages of this generation: the next one reads again from what was committed."""
        self._tracker.reset()

    def assign(self, generation: int, partitions: Iterable[int]) -> None:
        """Own exactly these partitions from now on."""
        assigned = set(partitions)
        stays = self._owned.keys() & assigned if generation == self._generation + 1 else set()
        self._generation = generation
        self._tracker.reset()
        for partition in self._owned.keys() - stays:
            self._lose(partition)
        for partition in assigned - stays:
            self._owned[partition] = _Owned(asyncio.get_running_loop().create_future())
        self._load_missing()

    def open(self) -> None:
        """Let steps start."""
        self._shared.gate.open()

    async def stop(self) -> None:
        """Cancel all lanes; what was not recorded runs again elsewhere."""
        for partition in list(self._owned):
            self._lose(partition)
        if self._loading is not None:
            self._loading.cancel()
            await asyncio.gather(self._loading, return_exceptions=True)

    def committable(self) -> dict[int, int]:
        """Answer the next offset to read of each partition, as far as it may be committed."""
        return self._tracker.committable()

    @property
    def lanes(self) -> int:
        """Answer how many lanes are in memory."""
        return sum(len(owned.lanes) for owned in self._owned.values())

    # The log's side.

    async def accept(self, origin: Origin, slices: list[Slice]) -> None:
        """Take a message in; returns once its lanes have started, which waits while memory is full."""
        if not self._is_current(origin) or not self._tracker.begin(origin.partition, origin.offset, len(slices)):
            return
        await self._room.take(len(slices), origin.size)
        if not self._is_current(origin):
            self._room.give_back(len(slices), origin.size)
            return
        shares = _shares(origin.size, len(slices))
        for slice_, share in zip(slices, shares, strict=True):
            self._start(origin, slice_, share)

    def _is_current(self, origin: Origin) -> bool:
        return origin.generation == self._generation and origin.partition in self._owned

    def _start(self, origin: Origin, slice_: Slice, size: int) -> None:
        owned = self._owned[origin.partition]
        key = lane_key(slice_.job, slice_.run, slice_.k)
        running = owned.lanes.get(key)
        if running is not None:
            # Read again after a rebalance, or submitted twice: the lane that runs answers for both.
            running.waiting_offsets.append(origin.offset)
            self._room.give_back(1, size)
            return
        offsets = [origin.offset]
        task = asyncio.create_task(self._run_lane(owned, origin.partition, key, slice_, offsets))
        task.add_done_callback(lambda _: self._room.give_back(1, size))
        owned.lanes[key] = _Running(task, offsets)

    async def _run_lane(self, owned: _Owned, partition: int, key: str, slice_: Slice, offsets: list[int]) -> None:
        store = await asyncio.shield(owned.store)
        retry_seconds = _FIRST_RETRY_SECONDS
        while True:
            try:
                await Lane(slice_, offsets[0], store, owned.turns, self._shared).run()
                break
            except Retired:
                return
            except Exception:
                # Nothing a caller can do reaches this; the slice stays in the log until its lane comes through.
                logger.exception("lane %s stumbled, it starts again from its record in %.1f s", key, retry_seconds)
                await asyncio.sleep(retry_seconds)
                retry_seconds = min(2 * retry_seconds, _LONGEST_RETRY_SECONDS)
        owned.lanes.pop(key, None)
        for offset in offsets:
            self._tracker.finish(partition, offset)

    def _lose(self, partition: int) -> None:
        owned = self._owned.pop(partition)
        self._table.drop(partition)
        owned.store.cancel()
        for running in owned.lanes.values():
            running.task.cancel()

    def _load_missing(self) -> None:
        if self._loading is not None:
            self._loading.cancel()
        missing = [partition for partition, owned in self._owned.items() if not owned.store.done()]
        self._loading = asyncio.create_task(self._load(missing)) if missing else None

    async def _load(self, partitions: list[int]) -> None:
        stores = await self._table.take(partitions)
        for partition, store in stores.items():
            if partition in self._owned and not self._owned[partition].store.done():
                self._owned[partition].store.set_result(store)


def _shares(size: int, slices: int) -> list[int]:
    """Split the bytes of a message among its slices, so that they add up again."""
    if not slices:
        return []
    return [size // slices] * (slices - 1) + [size - size // slices * (slices - 1)]
