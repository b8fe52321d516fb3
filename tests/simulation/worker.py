"""A simulated worker process: the real engine, and around it what Faust and aiokafka would do."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any, cast

from faust.types import TP

from agents import control, tasks
from agents.stall_detection import Extent, Standstill
from agents.worker import Ownership
from jabba.callbacks import results
from jabba.callbacks.registry import TaskContext
from jabba.callbacks.results import Answer
from jabba.concurrency.memory_budget import MemoryBudget
from jabba.engine.changelog import Batch
from jabba.engine.dedup_markers import Window
from jabba.engine.engine import Engine
from jabba.engine.gate import Gate
from jabba.engine.lane import LaneContext
from jabba.engine.lease import Lease
from jabba.engine.policy import Policy
from jabba.jobs.models import Callback
from jabba.kafka.dead_letters import UNKNOWN_OFFSET, dead_letter
from jabba.kafka.reader import LogMessage
from jabba.kafka.security import KafkaAccess
from jabba.kafka.writer import Emitter, Log
from jabba.messages.slices import Slice
from tables.lanes import LaneTable
from tests.simulation.app import SimulatedApp, Stream
from tests.simulation.group import Assignment, Coordinator
from tests.simulation.kafka import Kafka
from tests.simulation.loop import Process
from tests.simulation.member import Member
from tests.simulation.rules import TOPICS
from tests.simulation.world import EPOCH_SECONDS, SETTINGS, World

LARGE_OUTCOME_BYTES = 400
"""Stands for ``lane.LARGE_OUTCOME_BYTES``: simulated results are short."""


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
            return results.returned(("ok", result))
        return results.returned(("error", result)) if rng.random() < 0.7 else results.raised(ValueError(f"{number}"))


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
        shared = LaneContext(
            gate, self.emitter, runner, SETTINGS.result_bytes, SETTINGS.crash_limit, self._now, refuse=self._refuse
        )
        self.room = MemoryBudget(profile.lanes, 1_000_000)
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
        """Stand for ``agents.stall_detection.extent_of``; watchdogs know real time only."""
        return Extent({}, {})

    async def _reread(self, topic: str, partition: int, offsets: range) -> AsyncIterator[LogMessage]:
        """Stand for ``agents.replay.reread``."""
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
