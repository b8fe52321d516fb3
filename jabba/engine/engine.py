"""The engine of one worker: owns partitions, lets each start its lanes, and hands all over when it must."""

import asyncio
import logging
import sys
from collections.abc import Awaitable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from typing import NamedTuple

from jabba.concurrency.cancellation import cancel_and_wait
from jabba.concurrency.memory_budget import MemoryBudget
from jabba.engine.gate import PartitionLost
from jabba.engine.lane import LaneContext
from jabba.engine.offsets import AckTracker, Start
from jabba.engine.partition import OwnedPartition, WorkerTotals
from jabba.engine.policy import Policy
from jabba.engine.ports import Table
from jabba.messages.commands import Command
from jabba.messages.slices import Slice

logger = logging.getLogger(__name__)

_ANY = range(sys.maxsize)

_CANCEL_SECONDS = 0.1
"""A loading has nothing to close that anyone waits for."""


class Origin(NamedTuple):
    """Where a message stood in its topic, how many bytes it had, and under which generation it was fetched.

    ``at`` is its time in milliseconds since the epoch; 0 if that is not known.
    """

    partition: int
    offset: int
    generation: int
    size: int
    at: int = 0


class Engine:
    """Ownership follows the consumer group: ``release``, ``assign`` and ``open``, in this order, at every rebalance.

    Between ``release`` and ``open`` no step starts. Lanes of partitions that stay live on; those of lost partitions are
    cancelled once their running steps have been recorded, for which the next owner waits. A partition stays only if
    this worker was a member of the generation before: otherwise another may have owned it in between, and it is loaded
    again under a new epoch. Each begins to work as soon as it is loaded, and the loading of one that stays goes on.
    ``rebalances`` counts assignments, ``taken`` the partitions that were loaded.
    """

    def __init__(self, table: Table, shared: LaneContext, room: MemoryBudget, policy: Policy | None = None) -> None:
        self._table = table
        self._shared = shared
        self._room = room
        self._policy = policy or Policy()
        self._tracker = AckTracker()
        self._commands = AckTracker()
        self._obeying: set[asyncio.Task[None]] = set()
        self._owned: dict[int, OwnedPartition] = {}
        self._parting: list[OwnedPartition] = []
        self._together = WorkerTotals(self._owned.values)
        self._committed: dict[int, int] = {}
        self._loadings: dict[int, asyncio.Task[None]] = {}
        self._marking: asyncio.Task[None] | None = None
        self._generation = -1
        self._started = asyncio.Event()
        self._waiting = 0
        self.rebalances = 0
        self.taken = 0
        self._reading = False

    # The consumer group's side.

    async def release(self, seconds: float) -> int:
        """Start no more steps, and say of each partition whether some still run: those have so long to be recorded.

        Whoever gets such a partition waits for them. Nothing else is taken in or recorded until ``assign`` and
        ``open``. Answer how many steps run on that cannot be recorded.
        """
        self._reading = False
        if self._marking is not None:
            self._marking.cancel()
        for owned in self._owned.values():
            owned.gate.hold()
        with suppress(TimeoutError):
            parting = (owned.hand_over.part(seconds) for owned in self._owned.values())
            await asyncio.wait_for(_all_of(parting, "saying which steps still run"), seconds)
        return sum(owned.gate.running for owned in self._owned.values() if not owned.hand_over.finishing)

    async def finish(self, seconds: float) -> None:
        """Wait until no step is left that may still be recorded, at most so long."""
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.gather(*(owned.hand_over.finished() for owned in self._all)), seconds)

    def forget_offsets(self) -> None:
        """Forget the messages of this generation: the next one reads again from what was committed.

        Those that are still on their way to ``accept`` are too late: behind the forgotten ones they could be committed.
        """
        self._reading = False
        self._started.clear()
        self._tracker.reset()
        self._commands.reset()

    def assign(self, generation: int, partitions: Iterable[int]) -> None:
        """Own exactly these partitions from now on."""
        assigned = set(partitions)
        self.rebalances += 1
        stays = self._owned.keys() & assigned if generation == self._generation + 1 else set()
        self._generation = generation
        self.forget_offsets()
        self._reading = True
        self._committed.clear()
        for partition in self._owned.keys() - stays:
            self._lose(partition)
        for partition in stays:
            self._owned[partition].stay()
        for partition in sorted(assigned - stays):
            finish = partial(self._tracker.finish, partition)
            owned = OwnedPartition(self._shared, self._room, self._policy, finish, self._together, number=partition)
            self._owned[partition] = owned
            loading = self._load(partition, owned, after=self._loadings.get(partition))
            self._loadings[partition] = asyncio.create_task(loading)

    def start_at(self, generation: int, slices: Mapping[int, Start], commands: Mapping[int, Start]) -> None:
        """Note where a generation begins to read both topics, by partition: where the last one committed, if it can."""
        if not self._reading or generation != self._generation:
            return
        for tracker, starts in ((self._tracker, slices), (self._commands, commands)):
            for partition, start in starts.items():
                tracker.start(partition, start)
        for partition, start in slices.items():
            self._owned[partition].begin(start.end)
        # A partition to which no message comes forgets as well.
        self._committed.update({partition: start.offset for partition, start in slices.items()})
        self._started.set()

    def open(self) -> None:
        """Let steps start."""
        for owned in self._owned.values():
            owned.gate.open()
        self._marking = asyncio.create_task(self._mark())

    async def stop(self) -> None:
        """Cancel all lanes; what was not recorded runs again elsewhere."""
        for partition in list(self._owned):
            self._lose(partition)
        for owned in self._parting:
            owned.end()
        await cancel_and_wait(self._loadings.values(), patience=_CANCEL_SECONDS)

    async def loaded(self) -> None:
        """Wait until the records of all partitions are there."""
        while self.loading:
            await asyncio.wait([owned.store for owned in self._owned.values()])

    def committable(self) -> dict[int, int]:
        """Return the next offset to read of each partition, as far as it may be committed."""
        return self._tracker.committable()

    def committable_commands(self) -> dict[int, int]:
        """Return the same for the control topic."""
        return self._commands.committable()

    def latest(self, *, commands: bool = False) -> dict[int, int]:
        """Return the latest time of what stands before these offsets, of the tasks or the control topic."""
        return (self._commands if commands else self._tracker).latest()

    def reached(self, *, commands: bool = False) -> dict[int, Start]:
        """Return how far this generation has read the tasks or the control topic."""
        return (self._commands if commands else self._tracker).reached()

    def committed(self, offsets: Mapping[int, int]) -> None:
        """Note what has been committed: markers below may be forgotten."""
        self._committed.update(offsets)

    def tick(self) -> None:
        """Do what is due in every partition; called about once a second."""
        # What is forgotten is deleted from the changelog: nobody waits for that, and many do for a loading.
        forgets = not self.loading
        reached = self._tracker.reached()
        for partition, owned in self._owned.items():
            known = reached.get(partition)
            readable = range(self._committed.get(partition, 0), known.end) if known else _ANY
            try:
                owned.tick(readable, forgets=forgets)
            except Exception:
                logger.exception("the tick of partition %d failed, the next one tries again", partition)

    @property
    def full(self) -> bool:
        """Return whether a message waits for memory."""
        return self._waiting > 0

    @property
    def owned(self) -> list[int]:
        """Return the partitions that this worker owns."""
        return sorted(self._owned)

    @property
    def partitions(self) -> int:
        """Return how many partitions this worker owns."""
        return len(self._owned)

    @property
    def running(self) -> int:
        """Return how many steps are between their start and their record."""
        return sum(owned.gate.running for owned in self._all)

    @property
    def waiting(self) -> int:
        """Return how many steps wait for a slot."""
        return sum(owned.gate.waiting for owned in self._owned.values())

    @property
    def lanes(self) -> int:
        """Return how many lanes are in memory."""
        return sum(owned.lanes for owned in self._owned.values())

    @property
    def ready(self) -> int:
        """Return how many of those wait for nothing but this worker: all but the ones that wait for their turn."""
        return sum(owned.lanes - owned.waiting for owned in self._owned.values())

    @property
    def loading(self) -> bool:
        """Return whether the records of a partition are still on their way."""
        return bool(self.unloaded)

    @property
    def unloaded(self) -> list[int]:
        """Return the partitions whose records are still on their way."""
        return [partition for partition, owned in self._owned.items() if not owned.store.done()]

    @property
    def parked(self) -> int:
        """Return how many lanes wait in the table."""
        return sum(owned.parked for owned in self._owned.values())

    # The log's side.

    async def missing(self, origin: Origin, *, commands: bool = False) -> range:
        """Return the offsets that should have come before a message of the tasks or the control topic, and have not."""
        await self._started.wait()
        if not self._is_current(origin):
            return range(0)
        following = (self._commands if commands else self._tracker).next()
        return range(following.get(origin.partition, origin.offset), origin.offset)

    async def accept(self, origin: Origin, slices: list[Slice]) -> None:
        """Take a message in; returns once its lanes have started, which waits while memory is full."""
        if not self._is_current(origin) or not self._begin(self._tracker, origin, len(slices)):
            return
        if not slices:
            # Nobody would give back the room that they take.
            return
        self._waiting += 1
        try:
            await self._room.acquire(len(slices), origin.size)
        finally:
            self._waiting -= 1
        if not self._is_current(origin):
            self._room.release(len(slices), origin.size)
            return
        for slice_, share in zip(slices, _shares(origin.size, len(slices)), strict=True):
            self._owned[origin.partition].start(slice_, origin.offset, share)

    @staticmethod
    def _begin(tracker: AckTracker, origin: Origin, count: int) -> bool:
        return tracker.begin(origin.partition, origin.offset, count, origin.at)

    async def _mark(self) -> None:
        await _all_of((owned.work() for owned in self._owned.values()), "taking back that steps were given up")

    def apply(self, origin: Origin, commands: list[Command]) -> None:
        """Take in a message of the control topic, which never waits behind the backlog that it would free."""
        if not self._is_current(origin) or not self._begin(self._commands, origin, len(commands)):
            return
        for command in commands:
            task = asyncio.create_task(self._obey(self._owned[origin.partition], origin, command))
            self._obeying.add(task)
            task.add_done_callback(self._obeying.discard)

    async def _obey(self, owned: OwnedPartition, origin: Origin, command: Command) -> None:
        try:
            await owned.close_job(command)
        except PartitionLost:
            return
        except Exception:
            # Whoever wants it says so again; a record that cannot be read must not stop every worker in turn.
            logger.exception("the command to close job %s cannot be obeyed", command.job)
        if self._is_current(origin):
            self._commands.finish(origin.partition, origin.offset)

    def _is_current(self, origin: Origin) -> bool:
        return self._reading and origin.generation == self._generation and origin.partition in self._owned

    @property
    def _all(self) -> list[OwnedPartition]:
        """Return the partitions that this worker owns, and those of which it still runs steps."""
        return [*self._owned.values(), *self._parting]

    def _lose(self, partition: int) -> None:
        owned = self._owned.pop(partition)
        self._loadings[partition].cancel()
        self._parting.append(owned)
        owned.lose()
        owned.hand_over.then(partial(self._parting.remove, owned))

    async def _load(self, partition: int, owned: OwnedPartition, *, after: asyncio.Task[None] | None) -> None:
        # One that was cancelled may go on for a moment; two at a time would claim the partition against each other.
        if after is not None:
            await cancel_and_wait([after], patience=_CANCEL_SECONDS)
        try:
            store = await self._table.take(partition, owned.gate.may_write)
            if not _is_cancelled():
                self.taken += 1
                await owned.loaded(store)
        except PartitionLost:
            pass
        except Exception:
            # The watchdog ends this worker when nothing comes of the partition for too long.
            logger.exception("partition %d cannot be loaded", partition)


async def _all_of(coroutines: Iterable[Awaitable[None]], doing: str) -> None:
    """Wait for one of each partition; what fails in one is told, and holds up no other."""
    for outcome in await asyncio.gather(*coroutines, return_exceptions=True):
        if isinstance(outcome, Exception) and not isinstance(outcome, PartitionLost):
            logger.error("%s failed for a partition", doing, exc_info=outcome)


def _is_cancelled() -> bool:
    """Whether the running task was cancelled, though something below it has swallowed that."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _shares(size: int, slices: int) -> list[int]:
    """Split the bytes of a message among its slices, so that they add up again."""
    return [size * (k + 1) // slices - size * k // slices for k in range(slices)]
