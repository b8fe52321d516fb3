"""A simulated worker process: the real engine, and around it what Faust and aiokafka would do."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Mapping
from contextlib import suppress
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

from aiokafka.structs import OffsetAndMetadata
from faust.types import TP

from agents import control, tasks
from agents.standstill import Extent, Standstill
from agents.starts import Found, start_of
from agents.worker import Ownership
from jabba.callbacks import TaskContext
from jabba.dead_letters import UNKNOWN_OFFSET, dead_letter
from jabba.emitter import Emitter
from jabba.kafka import KafkaAccess
from jabba.lanes import answers
from jabba.lanes.answers import Answer
from jabba.lanes.engine import Engine
from jabba.lanes.forgetting import Window
from jabba.lanes.gate import Gate
from jabba.lanes.lane import Shared
from jabba.lanes.lease import Lease
from jabba.lanes.policy import Policy
from jabba.lanes.store import Batch
from jabba.lanes.tracker import Start
from jabba.log import Log
from jabba.log_reader import LogMessage
from jabba.marks import Known, known_of
from jabba.models import Callback
from jabba.room import Room
from jabba.settings import Settings
from jabba.slices import Slice
from tables.lanes import LaneTable
from tests.simulation.group import Assignment, Coordinator
from tests.simulation.kafka import Kafka, Message
from tests.simulation.loop import Process
from tests.simulation.member import Member
from tests.simulation.rules import TOPICS
from tests.simulation.world import EPOCH_SECONDS, SETTINGS, World

LARGE_OUTCOME_BYTES = 400
"""Stands for ``lane.LARGE_OUTCOME_BYTES``: simulated results are short."""


class Signal:
    """A signal of Faust with one receiver."""

    def __init__(self, app: "SimulatedApp") -> None:
        self._app = app

    def connect(self, receiver: Callable[..., Awaitable[None]]) -> None:
        """Set the receiver."""
        self._receiver = receiver

    async def send(self, *arguments: Any) -> None:
        """Call the receiver."""
        await self._receiver(self._app, *arguments)


class SimulatedTable:
    """The real table's ``take``, on a simulated changelog."""

    take: Any = LaneTable.take
    _changelog: Any = LaneTable._changelog
    _append: Any = LaneTable._append
    _pass: Any = LaneTable._pass

    def __init__(self, kafka: Kafka, log: Log, now: Callable[[], float]) -> None:
        self._kafka = kafka
        self._topic = TOPICS.changelog
        self._log = log
        self._now = now
        self._handover_seconds = SETTINGS.handover_seconds
        self._reading = asyncio.Semaphore(2)
        self.records = 0
        self.passed: dict[int, int] = {}

    def _read(self, partition: int, start: int) -> AsyncIterator[Batch]:
        return self._kafka.read(self._topic, partition, start)

    async def _follow(self, partition: int, start: int, seconds: float) -> AsyncGenerator[Batch, None]:
        world = self._kafka.world
        until = world.now + seconds
        while world.now < until:
            async for batch in self._read(partition, start):
                start = batch[-1][0] + 1
                yield batch
            with suppress(TimeoutError):
                async with asyncio.timeout(until - world.now):
                    await self._kafka.news()


class SimulatedRunner:
    """Callbacks that take their time, succeed, fail or raise; a stubborn one ignores its cancellation."""

    def __init__(self, world: World, process: Process) -> None:
        self._world = world
        self._process = process
        self.running = 0

    async def run(self, callback: Callback, context: TaskContext) -> Answer:
        """Run a step."""
        world, profile = self._world, self._world.profile
        world.strike(self._process)
        if not self._process.alive:
            await world.loop.create_future()
        execution = world.rules.started(self._process, (context.job_id, int(str(callback.args[0]))))
        stubborn = world.chance(profile.stubborn)
        seconds = (
            world.rng.uniform(0.2, 9)
            if world.chance(profile.long_steps)
            else world.rng.uniform(0, profile.step_seconds)
        )
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            if not stubborn:
                world.rules.ended(execution, None)
                raise
        answer = self._answer(execution.number)
        world.rules.ended(execution, answer)
        world.strike(self._process)
        return answer

    def _answer(self, number: int) -> Answer:
        rng, profile = self._world.rng, self._world.profile
        result: dict[str, Any] = {"execution": number}
        if rng.random() < profile.large:
            result["text"] = "x" * rng.choice((350, 450, 800))
        if rng.random() >= profile.unsuccessful:
            return answers.returned(("ok", result))
        return answers.returned(("error", result)) if rng.random() < 0.7 else answers.raised(ValueError(f"{number}"))


class Stream:
    """A stream of Faust: what an agent reads."""

    def __init__(self) -> None:
        self._buffer: asyncio.Queue[Any] = asyncio.Queue(4)

    async def put(self, topic: str, partition: int, message: Message, generation: int) -> None:
        """Buffer a message, as fetched in a generation."""
        await self._buffer.put(
            SimpleNamespace(
                topic=topic,
                partition=partition,
                offset=message.offset,
                generation_id=generation,
                value=message.value,
                timestamp=message.at / 1000,
            )
        )

    def noack(self) -> "Stream":
        """Answer the same: nothing is acknowledged here."""
        return self

    async def events(self) -> AsyncIterator[Any]:
        """Answer what is in the buffer, for ever."""
        while True:
            yield SimpleNamespace(message=await self._buffer.get())


class SimulatedApp:
    """What ``Ownership`` uses of the Faust application and its consumer."""

    hand_over: Callable[[], Awaitable[None]]

    def __init__(self, member: "Member", kafka: Kafka) -> None:
        self.member = member
        self._kafka = kafka
        self._thread = SimpleNamespace(_consumer=SimpleNamespace(_coordinator=member))
        self.on_partitions_revoked = Signal(self)
        self.on_partitions_assigned = Signal(self)
        self.on_rebalance_complete = Signal(self)
        self.consumer = self
        self.consumer_generation_id = -1
        self.timers: list[tuple[float, Callable[[], Awaitable[None]]]] = []
        self.agents: dict[str, Callable[[Stream], Coroutine[Any, Any, None]]] = {}

    def timer(self, seconds: float, **_: Any) -> Callable[[Callable[[], Awaitable[None]]], None]:
        """Keep a periodic call."""
        return lambda call: self.timers.append((seconds, call))

    def topic(self, name: str, **_: Any) -> str:
        """Answer the channel of a topic: its name."""
        return name

    def agent(self, channel: str, **_: Any) -> Callable[[Callable[[Stream], Coroutine[Any, Any, None]]], None]:
        """Keep the agent of a channel."""
        return partial(self.agents.__setitem__, channel)

    def assignment(self) -> list[TP]:
        """Answer nothing of use."""
        return []

    async def found(self, known: Mapping[TP, Known | None]) -> dict[TP, Found]:
        """Answer the extents of partitions, and what is later than known."""
        await asyncio.sleep(self._kafka.world.delay())
        return {place: self._found(place, one) for place, one in known.items()}

    def _found(self, place: TP, known: Known | None) -> Found:
        partition = self._kafka.partition(*place)
        latest = known.latest if known else 0
        later = (message.offset for message in partition.messages if latest and message.at > latest)
        return Found(0, partition.end, next(later, None))

    async def committed(self, places: Iterable[TP]) -> dict[TP, Known | None]:
        """Answer what the group has committed."""
        await asyncio.sleep(self._kafka.world.delay())
        return {place: known_of(self.member.committed(place)) for place in places}

    def violate(self, text: str) -> None:
        """Note what must not happen."""
        self._kafka.world.rules.violate(text)


async def starts(consumer: Any, places: Iterable[TP]) -> dict[TP, Start]:
    """Stand for ``agents.worker.starts``, which calls into aiokafka's thread."""
    known = await consumer.committed(places)
    found = await consumer.found(known)
    return {place: start_of(place, one, found[place]) for place, one in known.items()}


async def found_of(consumer: Any, known: Mapping[TP, Known | None]) -> dict[TP, Found]:
    """Stand for ``agents.worker.found_of``, in the same way."""
    found: dict[TP, Found] = await consumer.found(known)
    return found


async def commit(consumer: Any, offsets: Mapping[TP, OffsetAndMetadata]) -> bool:
    """Stand for ``agents.worker.commit``, in the same way."""
    await consumer.member.commit({(place.topic, place.partition): to for place, to in offsets.items()})
    return True


def rejoin(consumer: Any) -> None:
    """Stand for ``agents.worker.rejoin``: no log is replaced here."""
    consumer.violate("a log counts as another")


async def leave_group(consumer: Any, seconds: float) -> bool:
    """Stand for ``agents.worker.leave_group``, which calls into aiokafka's thread."""
    try:
        await asyncio.wait_for(consumer.member.leave(), seconds)
    except TimeoutError:
        return False
    return True


async def commit_outside(_settings: Settings, _offsets: Mapping[TP, OffsetAndMetadata]) -> None:
    """Stand for ``agents.worker.commit_outside``: whoever comes next reads again what was not committed."""


class Worker:
    """One life of a worker process."""

    def __init__(self, world: World, kafka: Kafka, group: Coordinator, name: str) -> None:
        self.world = world
        self.kafka = kafka
        self.group = group
        self.process = Process(world.loop, name)
        self.stopping = False
        self._assigned = False
        self.process.call(self._build)
        self.process.start(self._follow())
        for topic, agent in self.app.agents.items():
            self.process.start(agent(self._streams[topic]))
        for timer in self.app.timers:
            self.process.start(self._repeat(*timer))

    def _build(self) -> None:
        """Put a worker together, as ``agents.worker.build`` does."""
        profile = self.world.profile
        lease = Lease(SETTINGS.session_seconds, self.world.loop.time)
        self.member = Member(self.world, self.group, self.process, lease)
        self.app = SimulatedApp(self.member, self.kafka)
        self.log = Log(KafkaAccess("simulated"))
        gate = Gate(asyncio.Semaphore(profile.slots), lease.valid)
        gate.branch = self._watched(gate.branch)  # type: ignore[method-assign]
        self.emitter = Emitter(partial(self.log.append, TOPICS.events), self.kafka.partitions)
        table = SimulatedTable(self.kafka, self.log, self._now)
        runner = SimulatedRunner(self.world, self.process)
        shared = Shared(
            gate, self.emitter, runner, SETTINGS.result_bytes, SETTINGS.crash_limit, self._now, refuse=self._refuse
        )
        self.room = Room(profile.lanes, 1_000_000)
        policy = Policy(profile.adopt_seconds, profile.adopt_bytes, Window(profile.repeat_seconds), profile.lanes)
        self.engine = Engine(cast("Any", table), shared, self.room, policy)
        self.engine.release = self._noted(self.engine.release)  # type: ignore[assignment,method-assign]
        put_aside = partial(self.log.append, TOPICS.dead_letters)
        app = cast("Any", self.app)
        intakes = [one.attach(app, SETTINGS, self.engine, put_aside, self._reread) for one in (tasks, control)]
        standstill = Standstill(self.engine, self._extent, lambda: False, SETTINGS.stall_seconds)
        Ownership(
            app,
            SETTINGS,
            self.engine,
            lease,
            intakes=intakes,
            standstill=standstill,
            close=self._close,
            partitions=self.kafka.partitions,
        ).attach()
        self._streams = {topic: Stream() for topic in self.app.agents}

    @staticmethod
    async def _extent() -> Extent:
        """Stand for ``agents.standstill.extent_of``; watchdogs know real time only."""
        return Extent({}, {})

    async def _reread(self, topic: str, partition: int, offsets: range) -> AsyncIterator[LogMessage]:
        """Stand for ``agents.gaps.reread``."""
        for message in self.kafka.partition(topic, partition).since(offsets.start):
            if message.offset not in offsets:
                break
            await asyncio.sleep(self.world.delay())
            yield LogMessage(partition, message.offset, message.value or b"", message.at)

    def _noted(self, waits: Callable[[float], Awaitable[int]]) -> Callable[[float], Coroutine[Any, Any, int]]:
        """Note when steps did not end in time for a hand-over."""

        async def wait_and_note(seconds: float) -> int:
            if running := await waits(seconds):
                self.world.rules.shaken(self.process)
            return running

        return wait_and_note

    def _watched(self, branch: Callable[[], Gate]) -> Callable[[], Gate]:
        """Make the gates of partitions so that they tell this, too."""

        def branch_and_watch() -> Gate:
            gate = branch()
            gate.quiet = self._noted(gate.quiet)  # type: ignore[assignment,method-assign]
            return gate

        return branch_and_watch

    async def _refuse(self, slice_: Slice, reason: str) -> None:
        letter = dead_letter(TOPICS.tasks, 0, UNKNOWN_OFFSET, slice_.digest.encode(), reason)
        await self.log.append(TOPICS.dead_letters, 0, letter)

    def stop(self) -> None:
        """Ask the process to end, as SIGTERM does."""
        self.stopping = True
        self.process.start(self._stop())

    async def _stop(self) -> None:
        began = self.world.now
        await self.app.hand_over()
        if self.kafka.was_cut(self.process, began):
            # It may have had no means to say that it leaves in peace: to its successor it has crashed.
            self.world.rules.given_up(self.process)
        self.process.kill()

    async def _close(self) -> None:
        await self.emitter.close()
        await self.log.stop()

    async def _follow(self) -> None:
        """Be a member of the group for ever."""
        working: list[asyncio.Task[None]] = []
        while True:
            assignment = await self.member.join()
            # From the thread of the group's member to the one that runs everything else.
            await asyncio.sleep(self.world.delay())
            for one in working:
                one.cancel()
            self.world.rules.trace(f"{self.process} is assigned {assignment}")
            self.app.consumer_generation_id = assignment.generation
            await self.app.on_partitions_assigned.send({TP(TOPICS.tasks, number) for number in assignment.partitions})
            self._assigned = True
            working = [asyncio.create_task(self._complete())]
            working += [asyncio.create_task(self._fetch(topic, assignment)) for topic in self._streams]
            await self.member.must_join.wait()
            self._assigned = self._standing.open = False
            self.world.rules.trace(f"{self.process} revokes")
            await self.app.on_partitions_revoked.send()

    async def _complete(self) -> None:
        """Say that the rebalance is complete; as Faust does it, that may come after the next one has begun."""
        await asyncio.sleep(self.world.delay())
        self.world.rules.trace(f"{self.process} completes")
        self._standing.open = self._assigned and not self.stopping
        await self.app.on_rebalance_complete.send()

    async def _fetch(self, topic: str, assignment: Assignment) -> None:
        positions = {
            partition: self.group.committed[topic, partition].offset for partition in sorted(assignment.partitions)
        }
        while True:
            ready = [p for p, at in positions.items() if self.kafka.partition(topic, p).end > at]
            if not ready:
                await self.kafka.news()
                continue
            partition = self.world.rng.choice(ready)
            message = self.kafka.partition(topic, partition).since(positions[partition])[0]
            positions[partition] = message.offset + 1
            await asyncio.sleep(self.world.rng.uniform(0.0002, 0.003))
            if self.world.chance(self.world.profile.dropped):
                self.world.rules.trace(f"{self.process} loses {topic} {partition} {message.offset}")
                continue
            await self._streams[topic].put(topic, partition, message, assignment.generation)

    @staticmethod
    async def _repeat(seconds: float, call: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(seconds)
            await call()

    def _now(self) -> float:
        return EPOCH_SECONDS + self.world.now

    @property
    def _standing(self) -> Any:
        return self.world.rules.standings[self.process]
