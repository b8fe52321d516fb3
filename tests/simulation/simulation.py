"""One run: a seed, the world it draws, trouble, rest, and the verdict."""

import asyncio
import gc
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from unittest.mock import Mock, patch

from jabba.engine import lane
from tests.simulation.app import commit, commit_outside, found_of, leave_group, rejoin, starts
from tests.simulation.closer import Closer
from tests.simulation.faults import Faults
from tests.simulation.group import Coordinator
from tests.simulation.jobs import Callers
from tests.simulation.kafka import Kafka, SimulatedProducer
from tests.simulation.loop import SimulatedLoop, Stuck
from tests.simulation.projector import Projector
from tests.simulation.rules import TOPICS, Rules
from tests.simulation.verdict import judge, slices_of
from tests.simulation.worker import LARGE_OUTCOME_BYTES, Worker
from tests.simulation.world import World

REST_SECONDS = 900.0
"""Simulated time in which everything must have ended once nothing goes wrong any more."""

_LOOK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Report:
    """What a run was, and which rules it broke."""

    seed: int
    violations: list[str]
    fingerprint: str
    jobs: int
    steps: int
    messages: int
    crashes: int
    rebalances: int
    seconds: float


def run(seed: int, tell: Callable[[str], object] | None = None) -> Report:
    """Run one seed; ``tell`` is given all that happens, line by line."""
    loop = SimulatedLoop()
    rules = Rules()
    rules.tell = tell
    world = World(seed, loop, rules)
    SimulatedProducer.kafka = rules.kafka = Kafka(world, world.profile.partitions)
    gc.disable()
    try:
        with _shrunk(), _listening(rules):
            simulation = Simulation(world)
            simulation.run()
            fingerprint = rules.fingerprint
            violations = list(rules.violations)
        with _deaf():
            loop.unwind()
    finally:
        loop.close()
        gc.enable()
    return Report(
        seed,
        violations,
        fingerprint,
        len(simulation.callers.jobs),
        rules.steps,
        rules.messages,
        simulation.crashes,
        rules.rebalances,
        world.now,
    )


class Simulation:
    """All parts of a run."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.rules = world.rules
        self.kafka = world.rules.kafka
        self.group = self.rules.group = Coordinator(world, self.kafka.partitions)
        for number in range(self.kafka.partitions):
            for topic in (TOPICS.tasks, TOPICS.control):
                self.kafka.partition(topic, number).append(None, b"[]", 0)
        self.callers = Callers(world)
        self.rules.jobs = {job.id: job for job in self.callers.jobs}
        self.projector = Projector(world, self.kafka)
        Closer(world, self.kafka, self.projector)
        self.workers: list[Worker] = []
        self.crashes = 0

    def run(self) -> None:
        """Run to the end, or to the first violation."""
        running = self.world.loop.start_outside(self._run())
        running.add_done_callback(lambda _: self.rules.end())
        try:
            self.world.loop.run_forever()
        except Stuck as stuck:
            self.rules.violate(str(stuck))

    def living_workers(self) -> list[Worker]:
        """Return the workers that are alive, asleep or not."""
        return [worker for worker in self.workers if worker.process.alive]

    async def _run(self) -> None:
        self.world.loop.set_exception_handler(self._exception)
        started = [self.world.loop.start_outside(one) for one in (self._supervise(), Faults(self).strike())]
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            if self._rests():
                await asyncio.sleep(5)
                judge(self)
                break
            if self.world.now > self.world.profile.trouble_seconds + REST_SECONDS:
                self.rules.violate(
                    f"not at rest {REST_SECONDS:.0f} s after the last trouble: {list(self._unfinished())}"
                )
        for one in started:
            one.cancel()

    def _rests(self) -> bool:
        if self.world.trouble or not self.callers.ended():
            return False
        living = self.living_workers()
        awake = all(worker.process.runs for worker in living)
        return awake and self.group.settled({worker.member.name for worker in living}) and not any(self._unfinished())

    def _unfinished(self) -> Iterator[str]:
        """Say what has not come to its end."""
        rows = self.projector.database.jobs
        for job in slices_of(self):
            if job not in rows or rows[job]["ended_at"] is None:
                yield f"job {job}"
        if not self.projector.caught_up(TOPICS.tasks, TOPICS.events):
            yield "the projector"
        for (topic, number), committed in self.group.committed.items():
            end = self.kafka.partition(topic, number).end
            if committed.offset != end:
                yield f"{topic} {number} is committed to {committed.offset} of {end}"
        for worker in self.living_workers():
            held = {"steps": worker.engine.running, "lanes": worker.engine.lanes, "room": worker.room._used_count}
            yield from (f"{worker.process} holds {count} {what}" for what, count in held.items() if count)

    async def _supervise(self) -> None:
        """Start what is dead, after a while."""
        names = 0
        while True:
            if not self.projector.process.alive:
                self.projector.start()
            missing = self.world.profile.workers - len(self.living_workers())
            for _ in range(missing):
                names += 1
                self.crashes += names > self.world.profile.workers
                self.workers.append(Worker(self.world, self.kafka, self.group, f"worker-{names}"))
            await asyncio.sleep(self.world.rng.uniform(0.1, 6))

    def _exception(self, _: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        self.rules.violate(f"{context.get('message')}: {context.get('exception')!r}")


@contextmanager
def _shrunk() -> Iterator[None]:
    with (
        patch("jabba.kafka.writer.AIOKafkaProducer", SimulatedProducer),
        patch("agents.worker.Watchdog", Mock()),
        patch("agents.worker.leave_group", leave_group),
        patch("agents.worker.commit_outside", commit_outside),
        patch("agents.worker.commit", commit),
        patch("agents.worker.starts", starts),
        patch("agents.worker.found_of", found_of),
        patch("agents.worker.rejoin", rejoin),
        patch.object(lane, "LARGE_OUTCOME_BYTES", LARGE_OUTCOME_BYTES),
    ):
        yield


class _Listener(logging.Handler):
    def __init__(self, rules: Rules) -> None:
        super().__init__(logging.ERROR)
        self._rules = rules

    def emit(self, record: logging.LogRecord) -> None:
        self._rules.violate(f"logged: {self.format(record)}")


@contextmanager
def _listening(rules: Rules) -> Iterator[None]:
    """Take every error that the engine logs for a violation, and keep the rest quiet."""
    listener = _Listener(rules)
    loggers = [logging.getLogger(name) for name in ("jabba", "agents", "tables")]
    for logger in loggers:
        logger.addHandler(listener)
        logger.propagate = False
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(listener)
            logger.propagate = True
            logger.setLevel(logging.NOTSET)


@contextmanager
def _deaf() -> Iterator[None]:
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with _shrunk():
            yield
    finally:
        logging.disable(disabled)
