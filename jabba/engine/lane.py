"""A lane: the run of one slice, step by step or all at once, each step recorded before anyone hears of it."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any

from jabba.callbacks import results
from jabba.callbacks.registry import TaskContext
from jabba.callbacks.results import Answer, Encoded, TaskPlace
from jabba.callbacks.transport import Accepted, Reply, Runner, Unanswered
from jabba.engine import attempts as decisions
from jabba.engine.attempts import Attempts
from jabba.engine.carried import UnacknowledgedEvents
from jabba.engine.changelog import Store
from jabba.engine.gate import Gate
from jabba.engine.parking import Parked
from jabba.engine.ports import Events
from jabba.engine.records import LaneName, LaneRecord, outcome_tag
from jabba.engine.turns import Turns, job_record
from jabba.errors import JabbaError, MessageTooLarge
from jabba.jobs import ids, json_codec
from jabba.jobs.lifecycle import (
    TASK_TRANSITIONS,
    UNSUCCESSFUL,
    Outcome,
    Strategy,
    TaskAttempted,
    TasksAborted,
    TaskStarted,
    TaskSucceeded,
    Version,
)
from jabba.jobs.models import Callback
from jabba.jobs.retry import NO_DEFAULTS, Defaults, Policy
from jabba.messages.events import encode_event, event_from_json
from jabba.messages.slices import Slice

logger = logging.getLogger(__name__)

OTHER_JOB = "another job has this id"

LARGE_OUTCOME_BYTES = 16 * 1024
"""Outcomes larger than this are recorded under keys of their own, so that a record stays small."""

RECORD_BYTES = 256 * 1024
"""So are those for which a record has no more room."""

SHORT_SECONDS = 2.0
"""A lane waits for so long in memory; for longer it waits in the table."""

CANCEL_SECONDS = 1.0
"""How long an attempt that has taken too long may take to end when it is cancelled."""

FIRST_ATTEMPT = Attempts()

CONSUMED_AFTER_SECONDS = 0.25
"""A step that runs longer is announced as CONSUMED; announcing every step would double the events."""


class OtherJob(JabbaError):
    """The slice belongs to another job than the record under its id."""


async def _nobody(_slice: Slice, _reason: str) -> None:
    """Put a slice that is refused nowhere."""


@dataclass(frozen=True, slots=True)
class LaneContext:
    """What all lanes of a worker share.

    ``refuse`` puts a slice aside that does not belong to the job whose id it has. ``defaults`` returns the policy of a
    callback or its service, which those of a job and a task overrule. ``worker`` is this process, for the history of
    attempts.
    """

    gate: Gate
    events: Events
    runner: Runner
    result_bytes: int
    crash_limit: int
    now: Callable[[], float]
    alone: asyncio.Lock = field(default_factory=asyncio.Lock)
    refuse: Callable[[Slice, str], Awaitable[object]] = _nobody
    defaults: Callable[[Callback], Defaults] = lambda _: NO_DEFAULTS
    worker: str | None = None
    random: Callable[[], float] = random.random


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
        # Ahead of the record by what has not been written yet.
        self._attempts_now = dict(self._record.attempts)
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
            if not self._record.adopted:
                try:
                    await self._store.put(self._name.slice_key, text)
                except MessageTooLarge as error:
                    logger.warning("lane %s stays in the log: %s", self._name.key, error)
                    self._stays = True
                    return 0
            await self._forget_large()
            record = self._carrying(replace(self._record, adopted=True, due=due, turn=self.waits_for_turn))
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
        while open_positions := self._open_positions():
            position = open_positions[0]
            if self._record.failed:
                await self._abort_from(position)
                break
            await self._until_due([position])
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
        while open_positions := self._open_positions():
            await self._until_due(open_positions)
            due = [position for position in open_positions if self._due(position) <= self._shared.now()]
            if self._suspect:
                for position in due:
                    await self._carried.wait_below_limit()
                    await self._step_alone(position)
            else:
                await self._run_together(due)

    async def _run_together(self, positions: list[int]) -> None:
        try:
            async with asyncio.TaskGroup() as steps:
                for position in positions:
                    await self._carried.wait_below_limit()
                    await self._shared.gate.enter()
                    slot = _Slot(self._shared.gate)
                    step = steps.create_task(self._step_and_repeat(position, slot))
                    # One that is cancelled before its first line gives its slot back as well.
                    step.add_done_callback(slot.leave)
        except ExceptionGroup as errors:
            # Whoever runs the lane tells a lost partition from a defect by the type of the error.
            raise errors.exceptions[0] from errors

    async def _step_and_repeat(self, position: int, slot: "_Slot") -> None:
        """Run a step; again after a short delay, for which no other step of the slice is waited for."""
        await self._step(position)
        slot.leave()
        while self._is_open(position) and (delay := self._due(position) - self._shared.now()) <= SHORT_SECONDS:
            await asyncio.sleep(max(0.0, delay))
            async with self._shared.gate.step():
                await self._step(position)

    def _due(self, position: int) -> float:
        """Return when a task's next attempt may begin, in seconds since the epoch."""
        return self._attempts(position).due

    def _attempts(self, position: int) -> Attempts:
        return self._attempts_now.get(self._index(position), FIRST_ATTEMPT)

    async def _until_due(self, positions: list[int]) -> None:
        """Wait until one of the tasks is due: shortly in memory, for longer in the table.

        Raises:
            Parked: the table holds the lane until then.
        """
        if not self._attempts_now:
            return
        due = min(map(self._due, positions))
        delay = due - self._shared.now()
        if delay > SHORT_SECONDS:
            await self._await_acknowledgements()
            if await self.adopt(due):
                raise Parked(due)
        if delay > 0:
            await asyncio.sleep(delay)

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
        return [position for position in range(len(self.slice.tasks)) if self._is_open(position)]

    def _is_open(self, position: int) -> bool:
        return not self._record.done >> position & 1

    # One attempt: begin, call, decide what follows, record it.

    async def _step(self, position: int) -> None:
        # Since this step took its slot, the event loop may have stood still for longer than a session.
        await self._shared.gate.may_start()
        began = round(self._shared.now(), 3)
        if reason := self._too_late(position, began):
            await self._end(position, results.failed(reason))
            return
        reply = await self._call(position, began)
        await self._follow(position, began, reply)

    def _too_late(self, position: int, now: float) -> str:
        """Return why no attempt may begin any more, empty when one may."""
        task, deadline = self.slice.tasks[position], self.slice.deadline
        if deadline is not None and now >= deadline:
            return "deadline: the job's time was over before this attempt began"
        if task.expires is not None and self._attempts(position).first is None:
            waited = now - ids.job_seconds(self.slice.job)
            if waited > task.expires:
                return f"expired: it waited for {waited:.0f} s to start, and the limit is {task.expires:g} s"
        return ""

    async def _call(self, position: int, began: float) -> Reply:
        """Call the callback, for as long as one attempt may take."""
        place, task = self._place(position, began), self.slice.tasks[position]
        timeout = task.timeout or self._shared.defaults(task.callback).timeout
        context = TaskContext(
            place.job,
            ids.task_id(place.job, place.index),
            place.attempt,
            run=self.slice.run,
            type=self.slice.type,
            meta=self.slice.meta,
            timeout=timeout,
            deadline=self.slice.deadline,
        )
        announce = asyncio.get_running_loop().call_later(CONSUMED_AFTER_SECONDS, self._announce, place)
        try:
            if timeout is None:
                return await self._shared.runner.run(task.callback, context)
            return await _within(timeout, self._shared.runner.run(task.callback, context))
        finally:
            announce.cancel()

    async def _follow(self, position: int, began: float, reply: Reply) -> None:
        """Record what follows from a reply: the end of the task, another attempt, or a wait."""
        if isinstance(reply, Answer) and reply.event is TaskSucceeded:
            # Most steps end so, and need no policy.
            await self._end(position, reply, began)
            return
        if isinstance(reply, Accepted):
            reply = Unanswered("the service has accepted the call, and completion is not available", final=True)
        attempts = self._attempts(position)
        moment = decisions.Moment(began, self._shared.now(), self.slice.deadline, self._shared.random())
        match decisions.after(reply, self._policy(position), attempts, moment):
            case decisions.Ended(answer):
                await self._end(position, answer, began)
            case decisions.Again(following, outcome, error):
                await self._repeat(position, began, following, outcome=outcome, error=error, reply=reply)
            case decisions.Waits(following, reason):
                self._attempts_now[self._index(position)] = following
                logger.info("task waits: %s", reason, extra={"job": self.slice.job, "task": self._index(position)})

    async def _end(self, position: int, answer: Answer, began: float | None = None) -> None:
        place = self._place(position, began)
        outcome = results.encode(answer, place, self._next_version(), self._shared.result_bytes)
        await self._put_on_record(outcome)

    async def _repeat(
        self, position: int, began: float, following: Attempts, *, outcome: str, error: str, reply: Reply
    ) -> None:
        place = self._place(position)
        attempted = TaskAttempted(
            place.job,
            place.index,
            self._next_version(),
            place.attempt,
            outcome,
            json_codec.storable(error),
            began,
            round(self._shared.now(), 3),
            round(following.due, 3),
            self._shared.worker,
            getattr(reply, "address", None),
            getattr(reply, "status_code", None),
            self._attempts(position).waits,
            type=place.type,
        )
        await self._put_on_record(Encoded(attempted, encode_event(attempted), following))

    def _policy(self, position: int) -> Policy:
        task = self.slice.tasks[position]
        return Policy.of(self._shared.defaults(task.callback).retry, self.slice.retry, task.retry)

    def _index(self, position: int) -> str:
        return str(self.slice.first + position)

    def _place(self, position: int, began: float | None = None) -> TaskPlace:
        attempt = self._attempts(position).number
        worker = None if began is None else self._shared.worker
        waits = self._attempts(position).waits
        return TaskPlace(self.slice.job, self.slice.first + position, attempt, self.slice.type, began, worker, waits)

    def _announce(self, task: TaskPlace) -> None:
        if self._shared.gate.writable:
            started = TaskStarted(
                task.job,
                task.index,
                self._next_version(),
                task.attempt,
                type=task.type,
                began=task.began,
                worker=task.worker,
            )
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
                group = [one if one.text in large else _too_large(error, one) for one in group]
                await self._write_record(group)
            for recorded in group:
                self._send(recorded.text)

    async def _write_record(self, group: list[Encoded]) -> None:
        record = self._record
        for outcome in group:
            index = str(outcome.event.index)
            if isinstance(outcome.event, TaskAttempted):
                self._attempts_now[index] = outcome.attempts
                continue
            self._attempts_now.pop(index, None)
            record = replace(record, done=record.done | self._bits(outcome), failed=record.failed or _failed(outcome))
        record = self._carrying(replace(record, due=None, turn=False), *(outcome.text for outcome in group))
        await self._store.put(self._name.key, record.encode())
        self._record = record

    def _carrying(self, record: LaneRecord, *more: bytes) -> LaneRecord:
        """Return a record with all that is not acknowledged, and where the tasks stand that have not ended."""
        large = set(self._large.values())
        small = tuple(text for text in (*self._unacknowledged(), *more) if text not in large)
        attempts = dict(self._attempts_now)
        return replace(record, seq=self.seq, outcomes=small, large=tuple(self._large), attempts=attempts)

    def _bits(self, outcome: Encoded) -> int:
        count = outcome.event.count if isinstance(outcome.event, TasksAborted) else 1
        return ((1 << count) - 1) << (outcome.event.index - self.slice.first)

    def _unacknowledged(self) -> list[bytes]:
        return self._carried.unacknowledged()

    async def _write_large(self, group: list[Encoded]) -> list[Encoded]:
        """Write what does not go into the record; return the group, with a failure for what Kafka does not take."""
        unacknowledged = await self._forget_large()
        room = RECORD_BYTES - sum(map(len, unacknowledged.difference(self._large.values())))
        written = []
        for outcome in group:
            if len(outcome.text) > min(LARGE_OUTCOME_BYTES, room):
                written.append(await self._written_large(outcome))
            else:
                room -= len(outcome.text)
                written.append(outcome)
        return written

    async def _forget_large(self) -> set[bytes]:
        """Delete large outcomes whose events are acknowledged; return what is not."""
        unacknowledged = set(self._unacknowledged())
        for tag in [tag for tag, text in self._large.items() if text not in unacknowledged]:
            await self._store.delete(self._name.outcome_key(tag))
            del self._large[tag]
        return unacknowledged

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
        if not isinstance(outcome, Outcome | TaskAttempted) or outcome.version.epoch == self._store.epoch:
            return text
        return encode_event(replace(outcome, version=self._next_version()))

    async def _finish(self) -> None:
        """Wait until every event is acknowledged, then leave nothing but a marker."""
        await self._await_acknowledgements()
        async with self._writing:
            # An adoption that came first has deleted some of them.
            for tag in list(self._large):
                await self._store.delete(self._name.outcome_key(tag))
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


class _Slot:
    """A slot of the gate, given back once."""

    def __init__(self, gate: Gate) -> None:
        self._gate: Gate | None = gate

    def leave(self, _: object = None) -> None:
        if self._gate is not None:
            self._gate.leave()
            self._gate = None


async def _within(seconds: float, call: Coroutine[Any, Any, Reply]) -> Reply:
    """Run a call for so many seconds at most; one that does not end when it is cancelled is left behind."""
    task = asyncio.create_task(call)
    try:
        await asyncio.wait([task], timeout=seconds)
        if not task.done():
            task.cancel()
            await asyncio.wait([task], timeout=CANCEL_SECONDS)
            return Unanswered(f"timeout: the attempt took longer than {seconds:g} s", "timeout")
    except asyncio.CancelledError:
        task.cancel()
        raise
    return task.result()


def _too_large(error: MessageTooLarge, one: Encoded) -> Encoded:
    return one if isinstance(one.event, TaskAttempted) else results.too_large(error, one.event)


def _failed(outcome: Encoded) -> bool:
    return TASK_TRANSITIONS[type(outcome.event)].target in UNSUCCESSFUL
