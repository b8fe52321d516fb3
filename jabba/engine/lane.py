"""A lane: the run of one slice, step by step or all at once, each step recorded before anyone hears of it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

from jabba.callbacks import results
from jabba.callbacks.registry import TaskContext
from jabba.callbacks.results import Answer, Encoded, TaskPlace
from jabba.callbacks.transport import Runner
from jabba.engine.carried import UnacknowledgedEvents
from jabba.engine.changelog import Store
from jabba.engine.gate import Gate
from jabba.engine.parking import Parked
from jabba.engine.ports import Events
from jabba.engine.records import LaneName, LaneRecord, outcome_tag
from jabba.engine.turns import Turns, job_record
from jabba.errors import JabbaError, MessageTooLarge
from jabba.jobs import ids, json_codec
from jabba.jobs.lifecycle import TASK_TRANSITIONS, UNSUCCESSFUL, Outcome, Strategy, TasksAborted, TaskStarted, Version
from jabba.messages.events import encode_event, event_from_json
from jabba.messages.slices import Slice

logger = logging.getLogger(__name__)

OTHER_JOB = "another job has this id"

LARGE_OUTCOME_BYTES = 16 * 1024
"""Outcomes larger than this are recorded under keys of their own, so that a record stays small."""

RECORD_BYTES = 256 * 1024
"""So are those for which a record has no more room."""

CONSUMED_AFTER_SECONDS = 0.25
"""A step that runs longer is announced as CONSUMED; announcing every step would double the events."""


class OtherJob(JabbaError):
    """The slice belongs to another job than the record under its id."""


async def _nobody(_slice: Slice, _reason: str) -> None:
    """Put a slice that is refused nowhere."""


@dataclass(frozen=True, slots=True)
class LaneContext:
    """What all lanes of a worker share; ``refuse`` puts a slice aside that is none of the job whose id it has."""

    gate: Gate
    events: Events
    runner: Runner
    result_bytes: int
    crash_limit: int
    now: Callable[[], float]
    alone: asyncio.Lock = field(default_factory=asyncio.Lock)
    refuse: Callable[[Slice, str], Awaitable[object]] = _nobody


class Lane:
    """Runs one slice to its end.

    The order is the promise: a step runs, its outcome is recorded, the record is acknowledged, and only then does the
    next step start and the event go out. A lane that starts from a record sends again what the record still carries:
    an event can be repeated, never lost, and never contradict what ran. It numbers its events from ``seq`` on: the
    last number of a lane of this owner that stumbled.
    """

    def __init__(
        self,
        slice_: Slice,
        offset: int,
        store: Store,
        turns: Turns,
        shared: LaneContext,
        *,
        suspect: bool = False,
        seq: int = 0,
    ) -> None:
        self.slice = slice_
        self.waits_for_turn = False
        self._store = store
        self._turns = turns
        self._shared = shared
        self._name = LaneName.of(slice_)
        saved = store.read(self._name.key, LaneRecord.decode)
        self._record = saved or LaneRecord.start(slice_, offset)
        self.seq = max(seq, self._record.seq)
        self._carried = UnacknowledgedEvents()
        self._large: dict[str, bytes] = {}
        self._unrecorded: list[Encoded] = []
        self._arrived = 0
        self._recorded = 0
        self._writing = asyncio.Lock()
        self._suspect = suspect
        self._stays = False
        self._alone: str | None = None

    @property
    def adopted(self) -> bool:
        """Return whether the table holds the slice, so that the lane needs the log no more."""
        return self._record.adopted

    async def run(self) -> None:
        """Run what has not run yet; return once everything is recorded and every event acknowledged."""
        if self._record.digest != self.slice.digest:
            await self._shared.refuse(self.slice, OTHER_JOB)
            raise OtherJob
        if self._record.ended is not None:
            return
        self._send_carried()
        if self.slice.strategy is Strategy.SEQUENTIAL:
            await self._run_in_order()
        else:
            await self._run_at_once()
        with self._shared.gate.settling():
            await self._finish()

    async def adopt(self, due: float | None = None) -> int:
        """Store the slice in the table, to wait there until ``due`` if that is given; return its bytes.

        The bytes are 0 where there is nothing to adopt: the lane has ended, or the changelog does not take its slice.
        """
        text = self.slice.model_dump_json(exclude_defaults=True).encode()
        async with self._writing:
            if self._stays or self._record.ended is not None:
                return 0
            try:
                await self._store.put(self._name.slice_key, text)
            except MessageTooLarge as error:
                logger.warning("lane %s stays in the log: %s", self._name.key, error)
                self._stays = True
                return 0
            record = replace(self._record, adopted=True, due=due, turn=self.waits_for_turn)
            await self._store.put(self._name.key, record.encode())
            self._record = record
        return len(text)

    async def clear_suspicion(self) -> None:
        """Take the count of a step that runs alone back: its worker hands over, and has not crashed."""
        async with self._writing:
            if self._alone is None:
                return
            crashes = self._record.suspects[self._alone] - 1
            record = replace(self._record, suspects=self._record.suspects | {self._alone: crashes})
            await self._store.put(self._name.key, record.encode())
            self._record, self._alone = record, None

    async def _run_in_order(self) -> None:
        await self._await_turn()
        for position in self._open_positions():
            if self._record.failed:
                await self._abort_from(position)
                break
            await self._carried.wait_below_limit()
            if self._suspect:
                # In a sequential slice only the first open step can have been running when a worker died.
                await self._step_alone(position)
                self._suspect = False
            else:
                async with self._shared.gate.step():
                    await self._step(position)
        await self._pass_turn()

    async def _run_at_once(self) -> None:
        if self._suspect:
            for position in self._open_positions():
                await self._carried.wait_below_limit()
                await self._step_alone(position)
            return
        try:
            async with asyncio.TaskGroup() as steps:
                for position in self._open_positions():
                    await self._carried.wait_below_limit()
                    await self._shared.gate.enter()
                    step = steps.create_task(self._step(position))
                    # One that is cancelled before its first line gives its slot back as well.
                    step.add_done_callback(lambda _: self._shared.gate.leave())
        except ExceptionGroup as errors:
            # Whoever runs the lane tells a lost partition from a defect by the type of the error.
            raise errors.exceptions[0] from errors

    async def _step_alone(self, position: int) -> None:
        """Run a step that may have brought a worker down: alone among the suspects, and on record before it starts.

        So the crash of one is never counted against another, and who crashes too often fails.
        """
        async with self._shared.alone, self._shared.gate.step():
            index = str(self.slice.first + position)
            crashes = self._record.suspects.get(index, 0)
            if crashes >= self._shared.crash_limit:
                await self._end(position, results.failed(f"crash_loop: it ended its worker {crashes} times"))
                return
            async with self._writing:
                suspects = self._record.suspects | {index: crashes + 1}
                record = replace(self._record, suspects=suspects)
                await self._store.put(self._name.key, record.encode())
                self._record = record
            self._alone = index
            try:
                await self._step(position)
            finally:
                self._alone = None

    def _open_positions(self) -> list[int]:
        done = self._record.done
        return [position for position in range(len(self.slice.tasks)) if not done >> position & 1]

    async def _step(self, position: int) -> None:
        task = self._place(position)
        context = TaskContext(task.job, ids.task_id(task.job, task.index), task.attempt)
        # Since this step took its slot, the event loop may have stood still for longer than a session.
        await self._shared.gate.may_start()
        announce = asyncio.get_running_loop().call_later(CONSUMED_AFTER_SECONDS, self._announce, task)
        try:
            answer = await self._shared.runner.run(self.slice.tasks[position].callback, context)
        finally:
            announce.cancel()
        await self._end(position, answer)

    async def _end(self, position: int, answer: Answer) -> None:
        outcome = results.encode(answer, self._place(position), self._next_version(), self._shared.result_bytes)
        await self._put_on_record(outcome)

    def _place(self, position: int) -> TaskPlace:
        return TaskPlace(self.slice.job, self.slice.first + position, type=self.slice.type)

    def _announce(self, task: TaskPlace) -> None:
        if self._shared.gate.writable:
            started = TaskStarted(task.job, task.index, self._next_version(), task.attempt, type=task.type)
            self._shared.events.send(task.job, encode_event(started))

    def _next_version(self) -> Version:
        self.seq += 1
        return Version(self.slice.run, self._store.epoch, self.seq)

    async def _abort_from(self, position: int) -> None:
        index = self.slice.first + position
        count = len(self.slice.tasks) - position
        aborted = TasksAborted(self.slice.job, index, self._next_version(), count, type=self.slice.type)
        await self._put_on_record(results.encode_aborted(aborted))

    async def _put_on_record(self, outcome: Encoded) -> None:
        """Record an outcome, together with all others of this lane that came while the last write was under way."""
        self._unrecorded.append(outcome)
        self._arrived += 1
        ticket = self._arrived
        async with self._writing:
            if ticket <= self._recorded:
                # It was in the group of another one. If writing that has failed, so has the lane: nothing follows.
                return
            # Steps that end in this very turn of the event loop share the record.
            await asyncio.sleep(0)
            group, self._unrecorded = self._unrecorded, []
            self._recorded = self._arrived
            group = await self._write_large(group)
            try:
                await self._write_record(group)
            except MessageTooLarge as error:
                large = set(self._large.values())
                group = [one if one.text in large else results.too_large(error, one.event) for one in group]
                await self._write_record(group)
            for recorded in group:
                self._send(recorded.text)

    async def _write_record(self, group: list[Encoded]) -> None:
        record = self._record
        for outcome in group:
            record = replace(record, done=record.done | self._bits(outcome), failed=record.failed or _failed(outcome))
        carried = [*self._unacknowledged(), *(outcome.text for outcome in group)]
        large = set(self._large.values())
        small = tuple(text for text in carried if text not in large)
        record = replace(record, seq=self.seq, outcomes=small, large=tuple(self._large), due=None, turn=False)
        await self._store.put(self._name.key, record.encode())
        self._record = record

    def _bits(self, outcome: Encoded) -> int:
        count = outcome.event.count if isinstance(outcome.event, TasksAborted) else 1
        return ((1 << count) - 1) << (outcome.event.index - self.slice.first)

    def _unacknowledged(self) -> list[bytes]:
        return self._carried.unacknowledged()

    async def _write_large(self, group: list[Encoded]) -> list[Encoded]:
        """Write what does not go into the record; return the group, with a failure for what Kafka does not take."""
        unacknowledged = set(self._unacknowledged())
        for tag in [tag for tag, text in self._large.items() if text not in unacknowledged]:
            await self._store.delete(self._name.outcome_key(tag))
            del self._large[tag]
        room = RECORD_BYTES - sum(map(len, unacknowledged.difference(self._large.values())))
        written = []
        for outcome in group:
            if len(outcome.text) > min(LARGE_OUTCOME_BYTES, room):
                written.append(await self._written_large(outcome))
            else:
                room -= len(outcome.text)
                written.append(outcome)
        return written

    async def _written_large(self, outcome: Encoded) -> Encoded:
        tag = outcome_tag(outcome.event)
        try:
            await self._store.put(self._name.outcome_key(tag), outcome.text)
        except MessageTooLarge as error:
            return results.too_large(error, outcome.event)
        self._large[tag] = outcome.text
        return outcome

    def _send(self, text: bytes) -> None:
        self._carried.add(text, self._shared.events.send(self.slice.job, text))

    def _send_carried(self) -> None:
        for tag in self._record.large:
            text = self._store.get(self._name.outcome_key(tag))
            if text is not None:
                self._large[tag] = self._reversion(text)
        for text in (*map(self._reversion, self._record.outcomes), *self._large.values()):
            self._send(text)

    def _reversion(self, text: bytes) -> bytes:
        """Give an outcome of a former owner a version of this one.

        Its record may have come so late that an owner in between has run the step once more, and has said so.
        """
        outcome = event_from_json(json_codec.decode(text))
        if not isinstance(outcome, Outcome) or outcome.version.epoch == self._store.epoch:
            return text
        return encode_event(replace(outcome, version=self._next_version()))

    async def _finish(self) -> None:
        """Wait until every event is acknowledged, then leave nothing but a marker."""
        await self._await_acknowledgements()
        for tag in self._large:
            await self._store.delete(self._name.outcome_key(tag))
        async with self._writing:
            adopted = self._record.adopted
            marker = replace(self._record, seq=self.seq).marker(self._shared.now())
            await self._store.put(self._name.key, marker.encode())
            self._record = marker
        if adopted:
            # Only now: a slice that is gone before its marker stands would be lost.
            await self._store.delete(self._name.slice_key)

    async def _await_acknowledgements(self) -> None:
        """Wait until every event is acknowledged; a task whose outcome Kafka does not take for its size has failed."""
        while self._carried:
            carried = dict(self._carried)
            told = await asyncio.gather(*carried.values(), return_exceptions=True)
            for text, answer in zip(carried, told, strict=True):
                if isinstance(answer, MessageTooLarge):
                    await self._tell_instead(text, answer)
                elif isinstance(answer, BaseException):
                    raise answer
                self._carried.forget(text)

    async def _tell_instead(self, text: bytes, error: MessageTooLarge) -> None:
        outcome = event_from_json(json_codec.decode(text))
        if not isinstance(outcome, Outcome):
            raise error
        failed = results.too_large(error, replace(outcome, version=self._next_version()))
        if len(failed.text) >= len(text):
            # Kafka would not take this either.
            raise error
        await self._put_on_record(failed)

    # A sequential job of several slices: its record says whose turn it is.

    async def _await_turn(self) -> None:
        if self.slice.n_slices == 1:
            return
        while not self._record.failed:
            job = job_record(self._store, self._name.job_key, self.slice.n_slices)
            if job.failed:
                self._record = replace(self._record, failed=True)
            elif job.next >= self.slice.k:
                return
            elif self.adopted:
                raise Parked
            else:
                self.waits_for_turn = True
                await self._turns.changed(self._name.job_key)
                self.waits_for_turn = False

    async def _pass_turn(self) -> None:
        if self.slice.n_slices > 1:
            await self._turns.pass_on(self._store, self.slice, failed=self._record.failed)


def _failed(outcome: Encoded) -> bool:
    return TASK_TRANSITIONS[type(outcome.event)].target in UNSUCCESSFUL
