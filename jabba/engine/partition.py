"""A partition that this worker owns: its lanes, running, parked and ended."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, replace
from itertools import islice, takewhile

from jabba.concurrency.memory_budget import MemoryBudget
from jabba.engine.adopted import AdoptedSlices
from jabba.engine.changelog import Store, Unreadable
from jabba.engine.dedup_markers import Markers
from jabba.engine.gate import PartitionLost
from jabba.engine.handover import HandOver
from jabba.engine.lane import OTHER_JOB, Lane, LaneContext, OtherJob
from jabba.engine.parking import Parked, Parking
from jabba.engine.policy import Policy
from jabba.engine.records import (
    LANE_PREFIX,
    OUTCOME_PREFIX,
    SLICE_PREFIX,
    JobRecord,
    LaneName,
    LaneRecord,
    is_marker,
    lane_key_of,
    slice_key_of,
)
from jabba.engine.running import RunningLane
from jabba.engine.turns import Turns
from jabba.jobs.lifecycle import JobClosed, Strategy, Version
from jabba.messages.commands import CloseJob
from jabba.messages.events import encode_event
from jabba.messages.slices import Slice

logger = logging.getLogger(__name__)

_FIRST_RETRY_SECONDS = 0.5
_LONGEST_RETRY_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class WorkerTotals:
    """What all partitions of a worker hold, since its memory is one."""

    partitions: Callable[[], Iterable["OwnedPartition"]]

    def adopted_bytes(self) -> int:
        """Return how many bytes of slices they hold in the table."""
        return sum(owned.adopted_bytes for owned in self.partitions())

    def markers(self) -> int:
        """Return how many ended lanes they remember."""
        return sum(owned.markers for owned in self.partitions())


class OwnedPartition:
    """One partition of the tasks topic.

    Its store comes once the changelog has been loaded; lanes that start before wait for it. ``finish`` is told every
    offset of which a slice needs the log no more: it has ended, or it lives in the table. ``together`` counts what
    all partitions of the worker hold; without it this one is alone. ``number`` is for the log.
    """

    def __init__(
        self,
        shared: LaneContext,
        room: MemoryBudget,
        policy: Policy,
        finish: Callable[[int], None],
        together: "WorkerTotals | None" = None,
        *,
        number: int | None = None,
    ) -> None:
        self.number = number
        self.store: asyncio.Future[Store] = asyncio.get_running_loop().create_future()
        self.gate = shared.gate.branch()
        self.hand_over = HandOver(self.gate, self.store, self._clear_suspicion)
        self._shared = replace(shared, gate=self.gate)
        self._room = room
        self._policy = policy
        self._finish = finish
        self._turns = Turns(self._wake_turn)
        self._running: dict[str, RunningLane] = {}
        self._parking = Parking()
        self._together = together or WorkerTotals(lambda: [self])
        self._markers = Markers(policy.window, self._together.markers)
        self._adopted = AdoptedSlices()
        self._inherited_outcomes: dict[str, list[str]] = {}
        self._suspects_seen = self._generation = self._refusing = 0
        self._taken_at: int | None = None
        self._background: set[asyncio.Task[None]] = set()

    @property
    def lanes(self) -> int:
        """Return how many lanes are in memory."""
        return len(self._running)

    @property
    def waiting(self) -> int:
        """Return how many of those wait for the slice before them."""
        return sum(running.lane is not None and running.lane.waits_for_turn for running in self._running.values())

    @property
    def markers(self) -> int:
        """Return how many ended lanes are remembered."""
        return len(self._markers)

    @property
    def adopted_bytes(self) -> int:
        """Return how many bytes of slices this partition of the table holds."""
        return self._adopted.bytes

    @property
    def parked(self) -> int:
        """Return how many lanes wait in the table."""
        return len(self._parking)

    async def loaded(self, store: Store) -> None:
        """Begin to act: go on with what the table holds, and let the lanes that wait for it start."""
        # Nothing changes the store before this partition begins to act.
        records = iter(store.items())
        while batch := list(islice(records, _RECOVERED_AT_A_TIME)):
            for key, text in batch:
                self._inherit(store, key, text)
            # Other partitions have work to do.
            await asyncio.sleep(0)
        self.store.set_result(store)
        for job in self._parking.waiting_jobs():
            self._wake_turn(job)
        if self._adopted.bytes or self._inherited_outcomes:
            self._spawn(self._clear_ended(store))

    def begin(self, end: int) -> None:
        """Note where the log ended when this owner began: no former one can have run what came behind that."""
        if self._taken_at is None:
            self._taken_at = end

    def forget_offsets(self) -> None:
        """Forget which offsets wait for lanes: the next generation reads them again, and each must count once."""
        self._generation += 1
        for running in self._running.values():
            running.offsets.clear()

    def stay(self) -> None:
        """Go on: the partition is still this worker's."""
        self.hand_over.stay()
        self.forget_offsets()

    async def work(self) -> None:
        """Take back what was said of parting."""
        if self.store.done():
            await self.store.result().work()

    def lose(self) -> None:
        """Give the partition up to its next owner, when the last step has ended that may still be recorded."""
        self.forget_offsets()
        self.hand_over.then(self.end)

    def end(self) -> None:
        """Cancel everything."""
        self.hand_over.cancel()
        self.gate.retire()
        self.store.cancel()
        for running in self._running.values():
            if running.task is not None:
                running.task.cancel()
        for task in self._background:
            task.cancel()

    def start(self, slice_: Slice, offset: int, size: int) -> None:
        """Start the lane of a slice that was read from the log, unless it runs already."""
        running = self._running.get(LaneName.of(slice_).key)
        if running is None:
            self._start(RunningLane(slice_, size, [offset]))
        elif running.slice.digest != slice_.digest:
            self._spawn(self._refuse(slice_, offset, size))
        else:
            # Read again after a rebalance, or submitted twice: the lane that runs answers for both.
            self._room.release(1, size)
            if running.adopted:
                self._finish(offset)
            else:
                running.offsets.append(offset)

    async def _refuse(self, slice_: Slice, offset: int, size: int) -> None:
        generation = self._generation
        self._refusing += 1
        try:
            await self._shared.refuse(slice_, OTHER_JOB)
        finally:
            self._refusing -= 1
            self._room.release(1, size)
        if generation == self._generation:
            self._finish(offset)

    async def close_job(self, command: CloseJob) -> None:
        """End a sequential job before its next slice, and say that the job is closed."""
        store = await asyncio.shield(self.store)
        if command.strategy is Strategy.SEQUENTIAL:
            key = LaneName(command.job, command.run, 0).job_key
            await self._turns.close(store, key, command.n_slices)
        version = Version(command.run, store.epoch, 0)
        closed = JobClosed(command.job, version, command.reason, type=command.type)
        await self._shared.events.send(command.job, encode_event(closed))

    def tick(self, readable: range, *, forgets: bool = True) -> None:
        """Do what is due: wake, adopt and, unless told otherwise, forget markers that nothing readable needs."""
        if not self.store.done():
            return
        now = self._shared.now()
        self._wake_due(now)
        if len(self._background) == self._refusing:
            self._spawn(self._adopt_old(asyncio.get_running_loop().time()))
            if forgets:
                self._spawn(self._forget(self._markers.take_expired(self.store.result(), now, readable)))

    async def _clear_suspicion(self) -> None:
        """Let the next owner suspect no step: this one hands over, whatever still runs."""
        lanes = [running.lane for running in self._running.values() if running.lane is not None]
        await asyncio.gather(*(lane.clear_suspicion() for lane in lanes))

    # Lanes in memory.

    def _start(self, running: RunningLane) -> None:
        key = LaneName.of(running.slice).key
        self._running[key] = running
        running.task = asyncio.create_task(self._run(key, running))
        running.task.add_done_callback(lambda _: self._room.release(1, running.size))

    async def _run(self, key: str, running: RunningLane) -> None:
        store = await asyncio.shield(self.store)
        refused = False
        try:
            if key not in self._parking:
                await self._run_to_end(key, running, store)
        except PartitionLost:
            return
        except OtherJob:
            refused = True
        except Unreadable as error:
            logger.warning("%s; lane %s is left to a version that can", error, key)
        del self._running[key]
        self._finish_offsets(running)
        if refused and (text := store.get(key)) is not None and not is_marker(text):
            # The lane that the record is about may have been kept from starting.
            self._recover(store, key, text)
            self._wake_turn(LaneName.parse(key).job_key)

    async def _run_to_end(self, key: str, running: RunningLane, store: Store) -> None:
        retry_seconds = _FIRST_RETRY_SECONDS
        while True:
            try:
                await self._run_once(running, store)
            except Parked as parked:
                return self._park(running.slice, parked)
            except (PartitionLost, OtherJob, Unreadable):
                raise
            except Exception:
                # Nothing a caller can do reaches this; the slice stays in the log until its lane comes through.
                lane = {"job": running.slice.job, "partition": self.number, "retry_in": retry_seconds}
                logger.exception("lane failed, restarting from its record", extra=lane)
                await asyncio.sleep(retry_seconds)
                retry_seconds = min(2 * retry_seconds, _LONGEST_RETRY_SECONDS)
            else:
                self._markers.add(key)
                return await self._clear(store, key)

    async def _run_once(self, running: RunningLane, store: Store) -> None:
        try:
            running.lane = self._new_lane(running, store)
            await running.lane.run()
        except Unreadable as error:
            if not running.adopted:
                await self._shared.refuse(running.slice, str(error))
            raise

    async def _clear_ended(self, store: Store) -> None:
        for key in [*map(lane_key_of, self._adopted), *self._inherited_outcomes]:
            text = store.get(key)
            if text is not None and is_marker(text):
                await self._clear(store, key)

    async def _clear(self, store: Store, key: str) -> None:
        """Delete what former owners have left beside the record of a lane that has ended."""
        slice_key = slice_key_of(key)
        if self._adopted.discard(slice_key):
            await store.delete(slice_key)
        for left in self._inherited_outcomes.pop(key, ()):
            await store.delete(left)

    def _new_lane(self, running: RunningLane, store: Store) -> Lane:
        old = self._taken_at is None or running.offset < self._taken_at
        suspect = old and store.crashes >= _CRASHES_TO_SUSPECT and self._suspects_seen < self._policy.suspects
        self._suspects_seen += suspect
        seq = running.lane.seq if running.lane else 0
        return Lane(running.slice, running.offset, store, self._turns, self._shared, suspect=suspect, seq=seq)

    def _finish_offsets(self, running: RunningLane) -> None:
        for offset in running.offsets:
            self._finish(offset)
        running.offsets.clear()

    # Lanes in the table.

    def _inherit(self, store: Store, key: str, text: bytes) -> None:
        if key.startswith(LANE_PREFIX):
            self._recover(store, key, text)
        elif key.startswith(SLICE_PREFIX):
            self._adopted.add(key, len(text))
        elif key.startswith(OUTCOME_PREFIX):
            self._inherited_outcomes.setdefault(lane_key_of(key), []).append(key)

    def _recover(self, store: Store, key: str, text: bytes) -> None:
        if is_marker(text):
            self._markers.add(key)
            return
        record = store.read_or_tell(key, LaneRecord.decode)
        if record is None:
            return
        if record.adopted and record.turn:
            name = LaneName.parse(key)
            self._parking.park_for_turn(name.job_key, name.k, key)
        elif record.adopted and record.due is not None:
            self._parking.park_until(record.due, key)
        elif record.adopted:
            self._start_from_table(store, key)

    def _start_from_table(self, store: Store, key: str) -> None:
        """Start an adopted lane, over budget if need be: it has no place in the log to wait in."""
        if key in self._running:
            # Its slice was read from the log once more: that lane goes on from the record.
            return
        slice_key = LaneName.parse(key).slice_key
        slice_ = store.read_or_tell(slice_key, Slice.model_validate_json)
        if slice_ is None:
            # If it is not there, its adoption was recorded too late to count when it was made: the log still has it.
            logger.warning("the adopted lane %s has no slice in the table", key)
            return
        size = len(store.get(slice_key) or b"")
        self._room.acquire_anyway(1, size)
        self._start(RunningLane(slice_, size, []))

    def _park(self, slice_: Slice, parked: Parked) -> None:
        name = LaneName.of(slice_)
        self._adopted.add(name.slice_key, len(self.store.result().get(name.slice_key) or b""))
        if parked.due is not None:
            self._parking.park_until(parked.due, name.key)
        else:
            self._parking.park_for_turn(name.job_key, name.k, name.key)

    def _wake_due(self, now: float) -> None:
        while self._parking.due(now) and self._room.free:
            self._start_from_table(self.store.result(), self._parking.take_due())

    def _wake_turn(self, job: str) -> None:
        store = self.store.result()
        record = store.read_or_tell(job, JobRecord.decode)
        if record is None:
            return
        for key in self._parking.take_turn(job, record.next, failed=record.failed):
            self._start_from_table(store, key)

    async def _adopt_old(self, now: float) -> None:
        """Adopt lanes that have lived long, oldest first, as far as the table may hold their slices."""
        for running in list(takewhile(lambda r: now - r.since >= self._policy.adopt_seconds, self._running.values())):
            if running.lane is None or running.adopted or self._together.adopted_bytes() >= self._policy.adopt_bytes:
                continue
            if not (size := await running.lane.adopt()):
                continue
            self._adopted.add(LaneName.of(running.slice).slice_key, size)
            self._finish_offsets(running)
            self._turns.notify(LaneName.of(running.slice).job_key)

    async def _forget(self, keys: list[str]) -> None:
        store = self.store.result()
        for key in keys:
            name = LaneName.parse(key)
            job = store.read_or_tell(name.job_key, JobRecord.decode)
            if job is not None and name.k == job.n_slices - 1:
                await store.delete(name.job_key)
            await store.delete(key)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background_ended)

    def _background_ended(self, task: asyncio.Task[None]) -> None:
        self._background.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None and not isinstance(error, PartitionLost):
            logger.error("background work of a partition failed, the next tick tries again", exc_info=error)


_RECOVERED_AT_A_TIME = 20_000
"""Records that a partition begins with, in some 40 ms, before anything else gets its turn."""

_CRASHES_TO_SUSPECT = 2
"""One crash may have any cause; when the next owner crashes soon after, it was likely a step."""
