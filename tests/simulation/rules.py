"""What must hold at every moment of a run.

A step is **recorded** once its record has landed in the changelog before anyone but its writer has claimed the
partition there: the next owner reads it. From then on:

- the step never starts again, anywhere;
- its outcome may be announced by its writer once that has been told, and by whoever has read the record;
- every outcome that is ever announced for the task tells the same, zombies not excepted: a worker whose record landed
  after it lost the partition must not take it for recorded, so it has nothing to announce. An owner that announces
  what a former one has recorded does so under its own epoch; one version never tells two things.

A step starts only in a worker that the consumer group counts as the partition's owner. One that was not recorded may
run again only if something happened to the worker that ran it: it died, was given up by its group, or had to hand over
while the step would not end.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING
from uuid import UUID

from jabba.callbacks.results import Answer
from jabba.engine.changelog import CLEAN_KEY, EPOCH_KEY
from jabba.engine.records import JobRecord, LaneRecord, Parting, Stamp
from jabba.jobs import json_codec
from jabba.jobs.lifecycle import Event, JobClosed, Strategy, TasksAborted, TaskStarted
from jabba.messages.slices import Slice, decode_message
from jabba.messages.topics import Topics, decode_events, partition_of

if TYPE_CHECKING:
    from tests.simulation.group import Coordinator
    from tests.simulation.jobs import SubmittedJob
    from tests.simulation.kafka import Kafka, Message
    from tests.simulation.loop import Process

TOPICS = Topics("simulated")

IMPOSTOR = "impostor"
"""The digest of submissions under the id of another job."""

TaskKey = tuple[UUID, int]


@dataclass(slots=True)
class Execution:
    """One run of a callback: ``alone`` if its crash would be counted, ``answer`` is None unless it returned one."""

    number: int
    task: TaskKey
    process: "Process"
    started_at: float
    alone: bool = False
    running: bool = True
    answer: Answer | None = None


@dataclass(slots=True)
class Standing:
    """What is known of a worker process."""

    open: bool = False
    shaken_at: float = -1.0
    given_up: bool = False
    known: set[TaskKey] = field(default_factory=set)


class Rules:
    """Watches every port."""

    kafka: "Kafka"
    group: "Coordinator"
    tell: Callable[[str], object] | None = None

    def __init__(self) -> None:
        self.over = False
        self.violations: list[str] = []
        self.jobs: dict[UUID, SubmittedJob] = {}
        self.executions: dict[TaskKey, list[Execution]] = defaultdict(list)
        self.recorded: set[TaskKey] = set()
        self.announceable: set[TaskKey] = set()
        self.announced: dict[TaskKey, Event] = {}
        self.safe_slices: set[tuple[UUID, int]] = set()
        self.put_aside: set[tuple[int, int]] = set()
        self.standings: dict[Process, Standing] = defaultdict(Standing)
        self.tried_alone: dict[TaskKey, list[Process]] = defaultdict(list)
        self._stamps: dict[str, Stamp] = {}
        self._epochs: dict[int, int] = defaultdict(int)
        self._claimants: dict[int, Process] = {}
        self._finishing: dict[int, tuple[Process, float]] = {}
        self.steps = self.crashes = self.rebalances = self.messages = 0
        self._checked: dict[int, int] = defaultdict(int)
        self._trace = hashlib.sha256()

    def violate(self, what: str) -> None:
        """Note that a rule was broken, and end the run."""
        if self.over:
            return
        self.violations.append(f"{self._now:.3f} s: {what}")
        self.trace(f"VIOLATION {what}")
        self.end()

    def end(self) -> None:
        """Stop the loop: the run is over."""
        if not self.over:
            self.over = True
            self.kafka.world.loop.stop()

    def trace(self, what: str) -> None:
        """Add to the fingerprint of the run: two runs of one seed must agree on it."""
        line = f"{self._now:.9f} {what}\n"
        self._trace.update(line.encode())
        if self.tell is not None:
            self.tell(line)

    @property
    def fingerprint(self) -> str:
        """Return what identifies all that happened."""
        return self._trace.hexdigest()[:16]

    @property
    def _now(self) -> float:
        return self.kafka.world.now

    # What workers do.

    def started(self, process: "Process", task: TaskKey) -> Execution:
        """Check that a step may start."""
        self.steps += 1
        self.trace(f"{process} starts {task}")
        standing = self.standings[process]
        if not standing.open:
            self.violate(f"{process} starts {task} while partitions change hands")
        if self.group.owner(self.partition_of(task)) is not process:
            self.violate(f"{process} starts {task} without owning its partition")
        if task in self.recorded:
            self.violate(f"{process} starts {task}, which is recorded")
        for before in self.executions[task]:
            self._check_repeat(before, process)
        self._check_order(task, standing)
        alone = bool(tried := self.tried_alone[task]) and tried[-1] is process
        execution = Execution(self.steps, task, process, self._now, alone)
        self.executions[task].append(execution)
        return execution

    def ended(self, execution: Execution, answer: Answer | None) -> None:
        """Note that a callback has returned, or was cancelled."""
        self.trace(f"{execution.process} ends {execution.task}")
        execution.running, execution.answer = False, answer

    def shaken(self, process: "Process") -> None:
        """Note that a worker could not hand over in time."""
        self.standings[process].shaken_at = self._now

    def given_up(self, process: "Process") -> None:
        """Note that the group has given a member up."""
        self.trace(f"{process} is given up")
        self.standings[process].shaken_at = self._now
        self.standings[process].given_up = True

    def _check_repeat(self, before: Execution, process: "Process") -> None:
        if before.running and before.process is process and process.alive:
            self.violate(f"{process} runs {before.task} twice at a time")
        if before.process.alive and self.standings[before.process].shaken_at < before.started_at:
            self.violate(f"{before.task} runs again, though nothing happened to {before.process}")

    def _check_order(self, task: TaskKey, standing: Standing) -> None:
        job, index = task
        sequential = self.jobs[job].strategy is Strategy.SEQUENTIAL
        if sequential and index > 0 and (job, index - 1) not in standing.known:
            self.violate(f"{task} starts before the record of the step before it is acknowledged")

    # What reaches Kafka, and what comes back.

    def sent(self, process: "Process", topic: str, key: bytes | None, value: bytes | None) -> None:
        """Check what is sent, at the moment it is."""
        self.trace(f"{process} sends {topic} {key!r}")
        self.messages += 1
        if topic == TOPICS.events:
            for event in decode_events(value or b""):
                if not isinstance(event, TaskStarted | JobClosed):
                    self._check_announcement(process, event)

    def landed(self, process: "Process", topic: str, partition: int, message: "Message") -> None:
        """Learn from what is in the log now."""
        self.trace(f"{process} appends {topic} {partition} {message.offset} {message.key!r} {shown(message.value)}")
        if topic == TOPICS.dead_letters and message.value:
            letter = json_codec.decode(message.value)
            self.put_aside.add((letter["partition"], letter["offset"]))
        if topic != TOPICS.changelog:
            return
        self._note_suspects(process, message)
        safe, tasks = self._told(message.key, message.value)
        if safe:
            self.safe_slices.add(safe)
        self._note_claim(process, partition, message)
        if self._claimants.get(partition) is process:
            self.recorded |= tasks
            self.announceable |= tasks

    def acknowledged(self, process: "Process", topic: str, key: bytes | None, value: bytes | None) -> None:
        """Learn what a worker knows to be recorded."""
        if topic == TOPICS.changelog:
            self.standings[process].known |= self._told(key, value)[1]

    def read(self, process: "Process", topic: str, partition: int, message: "Message") -> None:
        """Learn what a worker finds when it takes a partition over."""
        if topic == TOPICS.changelog:
            tasks = self._told(message.key, message.value)[1]
            self.standings[process].known |= tasks
            if self.group.holder(partition) is process:
                self.announceable |= tasks

    def committed(self, topic: str, partition: int, offset: int) -> None:
        """Check that nothing below a committed offset is unfinished."""
        self.trace(f"commit {topic} {partition} {offset}")
        if topic != TOPICS.tasks:
            return
        for message in self.kafka.partition(TOPICS.tasks, partition).since(self._checked[partition]):
            if message.offset >= offset:
                return
            self._checked[partition] = message.offset + 1
            for slice_ in genuine_slices(message.value):
                if (slice_.job, slice_.k) not in self.safe_slices:
                    self.violate(
                        f"offset {offset} of {partition} is committed, but slice {slice_.k} at {message.offset}"
                        f" of {slice_.job} has not ended"
                    )
            if not readable(message.value) and (partition, message.offset) not in self.put_aside:
                self.violate(f"offset {offset} of {partition} is committed, but {message.offset} was not put aside")

    def _check_announcement(self, process: "Process", event: Event) -> None:
        for task in tasks_of(event):
            known = self.announced.setdefault(task, event)
            if content_of(known) != content_of(event):
                self.violate(f"{process} announces {event}, but it was {known}")
            if task not in self.announceable or task not in self.standings[process].known:
                self.violate(f"{process} announces {event} before it is recorded")

    def _note_claim(self, process: "Process", partition: int, message: "Message") -> None:
        name, _, text = (message.key or b"").decode().rpartition("/")
        epoch = Stamp(*map(int, text.split("."))).epoch
        if name == EPOCH_KEY and epoch > self._epochs[partition]:
            former, until = self._finishing.pop(partition, (process, self._now))
            if self._now > until:
                # It had all the time that it had asked for, and was held up itself.
                self.shaken(former)
            self._epochs[partition], self._claimants[partition] = epoch, process
        if name == CLEAN_KEY and message.value and self._claimants.get(partition) is process:
            self._finishing.pop(partition, None)
            if seconds := Parting.decode(message.value).finishing:
                self._finishing[partition] = (process, self._now + seconds)

    def _note_suspects(self, process: "Process", message: "Message") -> None:
        found = _lane_record(message.key, message.value)
        if found is None or self._outranked((message.key or b"").decode()):
            return
        for index, crashes in found[2].suspects.items():
            self._note_crashes((found[0], int(index)), crashes, process)

    def _outranked(self, key: str) -> bool:
        """Return whether a record comes so late that it does not count."""
        name, _, text = key.rpartition("/")
        stamp = Stamp(*map(int, text.split(".")))
        self._stamps[name] = max(stamp, self._stamps.get(name, stamp))
        return stamp < self._stamps[name]

    def _note_crashes(self, task: TaskKey, crashes: int, process: "Process") -> None:
        """Keep who ran a step alone: its end counts as a crash of the step, unless it is taken back."""
        tried = self.tried_alone[task]
        if crashes > len(tried):
            for other in [one for tasks in self.executions.values() for one in tasks if one.task != task]:
                if other.alone and other.running and other.process is process:
                    self.violate(f"{process} runs {other.task} and {task} alone at a time")
            tried.append(process)
        del tried[crashes:]

    def partition_of(self, task: TaskKey) -> int:
        """Return the partition of a task's slice."""
        slice_ = next(one for one in self.jobs[task[0]].slices if one.first <= task[1] < one.first + len(one.tasks))
        return partition_of(slice_.key, self.kafka.partitions)

    def _told(self, key: bytes | None, value: bytes | None) -> tuple[tuple[UUID, int] | None, frozenset[TaskKey]]:
        """Read a record: the slice that needs the log no more, if so, and the tasks that have ended."""
        found = _lane_record(key, value)
        if found is None:
            return None, self._passed(key, value)
        job, k, record = found
        slice_ = self.jobs[job].slices[k]
        tasks = range(slice_.first, slice_.first + len(slice_.tasks))
        ended = record.ended is not None
        done = frozenset((job, index) for index in tasks if ended or record.done >> (index - slice_.first) & 1)
        return ((job, k) if ended or record.adopted else None), done

    def _passed(self, key: bytes | None, value: bytes | None) -> frozenset[TaskKey]:
        """Read the record of a job: the tasks of the slices whose turn is over."""
        name, _, _ = (key or b"").decode().rpartition("/")
        if value is None or not name.startswith("job/"):
            return frozenset()
        job = UUID(name.split("/")[1])
        record = JobRecord.decode(value)
        end = self.jobs[job].slices[record.next].first if record.next < record.n_slices else self.jobs[job].total
        return frozenset((job, index) for index in range(end))


def tasks_of(event: Event) -> Iterator[TaskKey]:
    """Return the tasks that an event is about."""
    count = event.count if isinstance(event, TasksAborted) else 1
    return ((event.job, index) for index in range(event.index, event.index + count))


def content_of(event: Event) -> tuple[object, ...]:
    """Return what an outcome tells of a task, whoever tells it."""
    return type(event), getattr(event, "attempt", None), getattr(event, "result", None)


def shown(value: bytes | None) -> str:
    """Return a value for the trace."""
    return "" if value is None else value.decode(errors="replace")[:400]


def readable(value: bytes | None) -> bool:
    """Return whether a message is a list of slices."""
    try:
        decode_message(value or b"")
    except ValueError:
        return False
    return True


def genuine_slices(value: bytes | None) -> list[Slice]:
    """Return the slices of a message that belong to the jobs whose ids they bear; none if it is not readable."""
    return [one for one in decode_message(value or b"") if one.digest != IMPOSTOR] if readable(value) else []


@lru_cache(maxsize=1024)
def _lane_record(key: bytes | None, value: bytes | None) -> tuple[UUID, int, LaneRecord] | None:
    name, _, _ = (key or b"").decode().rpartition("/")
    if value is None or not name.startswith("lane/"):
        return None
    _, job, _, k = name.split("/")
    return UUID(job), int(k), LaneRecord.decode(value)
