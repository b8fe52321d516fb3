"""A worker: the Faust application, its table and agent, and the engine between them."""

import asyncio
import logging
import os
import platform
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import Any, cast

from aiokafka.errors import KafkaError
from aiokafka.structs import OffsetAndMetadata
from faust.transport.consumer import Consumer
from faust.types import TP

from agents import control, tasks
from agents.consumer import (
    PromptConsumer,
    SteadyFlow,
    commit,
    commit_outside,
    follow_heartbeats,
    leave_group,
    positions,
    rejoin,
    uncommitted,
)
from agents.hanging import Hanging
from agents.metrics import monitor_of
from agents.replay import Intake, reread
from agents.stall_detection import SILENT_SECONDS, Standstill, extent_of
from agents.starts import found_of, is_another_log, starts
from jabba.callbacks import registry
from jabba.callbacks.http import HttpRunner
from jabba.callbacks.instrumented import MeasuredRunner
from jabba.callbacks.local import LocalRunner
from jabba.callbacks.places import Capacity
from jabba.callbacks.results import Bounds
from jabba.callbacks.routing import Router
from jabba.clock import SystemClock
from jabba.concurrency.memory_budget import MemoryBudget
from jabba.engine.dedup_markers import Window
from jabba.engine.engine import Engine
from jabba.engine.gate import Gate
from jabba.engine.lane import LaneContext
from jabba.engine.lease import Lease
from jabba.engine.policy import Policy
from jabba.errors import NotReady
from jabba.faust_app import JabbaApp, worker_app
from jabba.kafka.admin import REMEDY
from jabba.kafka.committed_offsets import CommittedOffset, marked
from jabba.kafka.dead_letters import UNKNOWN_OFFSET, dead_letter, put_aside
from jabba.kafka.writer import Emitter, Log
from jabba.messages.slices import Slice, encode_message
from jabba.messages.topics import partition_of
from jabba.monitoring.watchdog import Watchdog
from jabba.settings import Settings
from tables.lanes import LaneTable

logger = logging.getLogger(__name__)

_TICK_SECONDS = 1.0
"""How often due lanes are woken, old ones adopted and markers forgotten."""

_LOOK_SECONDS = 3.0
"""What has not come for so long, though the log has it, is read again; a false alarm costs a second reading."""

_RETRY_SECONDS = 0.5

_FINISH_SECONDS = 1.0
"""How much longer than running steps may take it may take to say that none is left."""


def build(settings: Settings, partitions: int) -> JabbaApp:
    """Put a worker together; ``partitions`` is what each topic was created with."""
    registry.load(settings.callbacks)
    app = worker_app(settings, partitions)
    app.flow_control = SteadyFlow()
    log = Log(settings.kafka_access, client_id=f"{settings.prefix}-worker")
    clock = SystemClock()
    lease = Lease(settings.session_seconds, clock.boottime)
    # Faust names the class once for all applications.
    read = (settings.topics.tasks, settings.topics.control)
    app.transport.Consumer = partial(PromptConsumer, lease=lease, topics=read)  # type: ignore[misc,assignment]
    gate = Gate(asyncio.Semaphore(settings.slots), lease.valid)
    emitter = Emitter(partial(log.append, settings.topics.events), partitions)
    bounds = Bounds(settings.result_bytes, settings.traceback_bytes)
    local = LocalRunner(settings.threads, clock.monotonic, bounds, unknown_seconds=settings.unknown_callback_seconds)
    services = settings.open_services(clock.monotonic)
    http = HttpRunner(clock, bounds)
    router = Router(services.current, local, http)
    runner = MeasuredRunner(router, clock.monotonic)
    table = LaneTable(app, settings=settings, partitions=partitions, log=log, now=clock.now)
    app.tables.add(table)

    # Those that cannot be written must not have the producer of all records and events replaced again and again.
    letters = Log(settings.kafka_access, client_id=f"{settings.prefix}-worker-letters")
    append_letter = partial(letters.append, settings.topics.dead_letters)

    async def refuse(slice_: Slice, reason: str) -> None:
        value = encode_message([slice_.model_dump_json(exclude_defaults=True).encode()])
        partition = partition_of(slice_.key, partitions)
        letter = partial(dead_letter, settings.topics.tasks, partition, UNKNOWN_OFFSET, value, reason)
        await put_aside(partial(append_letter, partition), letter)

    shared = LaneContext(
        gate,
        emitter,
        runner,
        settings.result_bytes,
        settings.crash_limit,
        clock.now,
        refuse=refuse,
        defaults=router.defaults,
        worker=settings.instance or f"{platform.node()}-{os.getpid()}",
    )
    window = Window(settings.repeat_seconds, settings.repeat_lanes)
    policy = Policy(settings.adopt_seconds, settings.adopt_bytes, window, settings.lanes)
    engine = Engine(table, shared, MemoryBudget(settings.lanes, settings.lanes_bytes), policy)
    read_again = partial(reread, settings.kafka_access)
    intakes = [one.attach(app, settings, engine, append_letter, read_again) for one in (tasks, control)]

    async def close() -> None:
        await emitter.close()
        local.close()
        await asyncio.gather(log.stop(), letters.stop(), http.close())

    topics = settings.topics
    places = [TP(topic, n) for topic in (topics.tasks, topics.control, topics.changelog) for n in range(partitions)]
    standstill = Standstill(
        engine,
        partial(extent_of, settings.kafka_access, topics.worker_group, places),
        lambda: log.failing or letters.failing,
        settings.stall_seconds,
        loaded=lambda partition: table.passed.get(partition, 0),
        patience=settings.handover_seconds + SILENT_SECONDS,
    )
    slots = Capacity("slots", settings.slots, lambda: runner.running, lambda: engine.waiting)
    hanging = Hanging([slots, local.places], settings.stall_seconds, clock.monotonic)

    async def look() -> None:
        hanging.look()

    app.timer(_TICK_SECONDS, name="hanging")(look)
    ownership = Ownership(
        app, settings, engine, lease, intakes=intakes, standstill=standstill, close=close, partitions=partitions
    )
    ownership.attach()
    app.beside = monitor_of(
        settings,
        engine=engine,
        runner=runner,
        http=http,
        emitter=emitter,
        table=table,
        watchdog=ownership.watchdog,
        hanging=hanging,
        lag=ownership.lag,
        unready=ownership.unready,
    )
    return app


class Ownership:
    """Follows the consumer group: what Faust says of partitions becomes calls of the engine."""

    def __init__(
        self,
        app: JabbaApp,
        settings: Settings,
        engine: Engine,
        lease: Lease,
        *,
        intakes: Iterable[Intake],
        standstill: Standstill,
        close: Callable[[], Awaitable[None]],
        partitions: int,
    ) -> None:
        self._app = app
        self._settings = settings
        self._engine = engine
        self._lease = lease
        self._intakes = list(intakes)
        self._standstill = standstill
        self._close = close
        self._partitions = partitions
        self._starting: asyncio.Task[None] | None = None
        self._telling: asyncio.Task[None] | None = None
        self.watchdog = Watchdog(settings.stall_seconds, SystemClock().monotonic)
        self._committed: dict[TP, int] = {}
        self._assigned = False
        self._ready = False
        self._leaving = False
        self._joins_since = lease.now()

    def attach(self) -> None:
        """Connect to the application's signals and add the committer."""
        # Faust's types know no methods as receivers.
        self._app.on_partitions_revoked.connect(cast("Any", self._on_revoked))
        self._app.on_partitions_assigned.connect(cast("Any", self._on_assigned))
        self._app.on_rebalance_complete.connect(cast("Any", self._on_complete))
        self._app.timer(self._settings.commit_seconds, name="commit")(self._commit_now_and_then)
        self._app.timer(_TICK_SECONDS, name="tick")(self._tick)
        self._app.timer(_LOOK_SECONDS, name="look")(self._look)
        self._app.timer(self._standstill.ask_seconds, name="ask")(self._standstill.ask)
        self._app.hand_over = self.hand_over
        settings = self._settings
        self._app.stop_seconds = settings.handover_seconds + 2 * settings.session_seconds + settings.exit_seconds

    def lag(self) -> dict[int, int]:
        """Return how many messages of the tasks topic are not committed, by partition, as far as that is known."""
        consumer = cast("Consumer", self._app.consumer)
        topic = self._settings.topics.tasks
        return {place.partition: n for place, n in uncommitted(consumer, self._committed) if place.topic == topic}

    def unready(self) -> str:
        """Return why this worker does not work on all of its partitions, empty while it does."""
        if self._leaving:
            return "it hands its partitions over"
        if self._ready:
            return ""
        if self._assigned and (unloaded := self._engine.unloaded):
            return f"it loads partition {', '.join(map(str, sorted(unloaded)))}"
        return "it waits for its partitions"

    async def commit(self) -> bool:
        """Commit what the engine has finished; return whether Kafka was there, in so far as it was asked."""
        offsets = self._uncommitted()
        if not offsets:
            return True
        # aiokafka tries for ever. One that goes on is not given up: it could land later, and undo the next one.
        seconds = self._settings.session_seconds if self._leaving else None
        try:
            async with asyncio.timeout(seconds):
                committed = await commit(cast("Consumer", self._app.consumer), self._marked(offsets))
        except TimeoutError:
            unanswered = {"partitions": len(offsets), "seconds": seconds}
            logger.warning("offsets not committed, Kafka does not answer", extra=unanswered)
            return False
        except KafkaError as error:
            logger.warning("offsets not committed, trying again", extra={"error": repr(error)})
            return True
        # Not if the group goes by another generation already: nothing may be forgotten then.
        if committed:
            self._committed |= offsets
            tasks_topic = self._settings.topics.tasks
            self._engine.committed(
                {place.partition: offset for place, offset in offsets.items() if place.topic == tasks_topic}
            )
        return True

    async def _commit_now_and_then(self) -> None:
        if not self._leaving:
            await self.commit()

    def _uncommitted(self) -> dict[TP, int]:
        """Return the offsets that may be committed and are not."""
        done = {TP(self._settings.topics.tasks, n): offset for n, offset in self._engine.committable().items()}
        obeyed = self._engine.committable_commands()
        done |= {TP(self._settings.topics.control, n): offset for n, offset in obeyed.items()}
        return {place: offset for place, offset in done.items() if self._committed.get(place) != offset}

    def _marked(self, offsets: Mapping[TP, int]) -> dict[TP, OffsetAndMetadata]:
        """Add what tells another log from this one."""
        topics, engine = self._settings.topics, self._engine
        latest = {topics.tasks: engine.latest(), topics.control: engine.latest(commands=True)}
        return {place: marked(at, latest[place.topic].get(place.partition, 0)) for place, at in offsets.items()}

    async def hand_over(self) -> None:
        """Leave the group, let running steps finish meanwhile, commit, and cancel the rest."""
        self._leaving = True
        self.watchdog.stop()
        try:
            await self._leave()
        finally:
            await self._engine.stop()
            await self._close()

    async def _leave(self) -> None:
        answered = await self._release_and_commit()
        # One that keeps its place in the group for a restart stays in it for as long as it can: nobody takes over.
        if answered and not self._settings.instance:
            answered = await self._leave_group()
        await self._engine.finish(self._settings.handover_seconds + _FINISH_SECONDS)
        if not answered:
            logger.warning("stopping without Kafka, uncommitted messages will be read again")
        elif self._settings.instance:
            await self.commit()
            await self._leave_group()
        elif offsets := self._uncommitted():
            await commit_outside(self._settings, self._marked(offsets))

    async def _leave_group(self) -> bool:
        return await leave_group(cast("Consumer", self._app.consumer), self._settings.session_seconds)

    async def _tick(self) -> None:
        topics = self._settings.topics
        reached = dict(positions(cast("Consumer", self._app.consumer), self._committed))
        slices, commands = (
            {place: offset for place, offset in reached.items() if place.topic == topic}
            for topic in (topics.tasks, topics.control)
        )
        self.watchdog.beat(self._standstill.found(slices, commands) if self._assigned else {})
        self._engine.tick()

    async def _release_and_commit(self) -> bool:
        self._ready = False
        if self._telling is not None:
            self._telling.cancel()
        running = await self._engine.release(self._settings.handover_seconds)
        if running:
            logger.warning("stopping beside running steps, which will run again", extra={"steps": running})
        return await self.commit()

    async def _on_revoked(self, _app: Any, *_: Any, **__: Any) -> None:
        self._assigned = False
        await self._release_and_commit()
        self._engine.forget_offsets()
        self._committed.clear()
        self._joins_since = self._lease.now()

    async def _on_assigned(self, _app: Any, assigned: set[TP], *_: Any, **__: Any) -> None:
        if self._leaving:
            return
        if any(place.partition >= self._partitions for place in assigned):
            # Before anything is committed there: every start refuses partitions that are not like the others.
            await self._app.crash(NotReady(f"the topics had {self._partitions} partitions, and have more: {REMEDY}"))
            return
        follow_heartbeats(cast("Consumer", self._app.consumer), self._lease)
        # The session lasts from when the group answered, which may be long ago if this process was held up since.
        self._lease.renew(self._joins_since)
        self._assigned = True
        partitions = {place.partition for place in assigned if place.topic == self._settings.topics.tasks}
        generation = self._app.consumer_generation_id
        self._engine.assign(generation, partitions)
        if self._starting is not None:
            self._starting.cancel()
        self._starting = asyncio.create_task(self._start(generation, partitions))

    async def _start(self, generation: int, partitions: set[int]) -> None:
        """Let the messages of a generation in, once it is known with which it begins."""
        topics = self._settings.topics
        places = [TP(topic, n) for topic in (topics.tasks, topics.control) for n in sorted(partitions)]
        while True:
            try:
                found = await starts(cast("Consumer", self._app.consumer), places)
            except KafkaError as error:
                retrying = {"retry_in": _RETRY_SECONDS, "error": repr(error)}
                logger.warning("committed offsets cannot be fetched, trying again", extra=retrying)
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                of_topic = [
                    {place.partition: at for place, at in found.items() if place.topic == topic}
                    for topic in (topics.tasks, topics.control)
                ]
                return self._engine.start_at(generation, *of_topic)

    async def _look(self) -> None:
        """See whether the log has what did not come: nothing behind it may ever tell."""
        if not self._assigned or self._leaving or self._engine.full:
            return
        consumer, generation = cast("Consumer", self._app.consumer), self._app.consumer_generation_id
        partitions = self._engine.owned
        for intake in self._intakes:
            reached = intake.reached()
            known = {
                TP(intake.topic, n): CommittedOffset(at.offset, at.latest)
                for n, at in reached.items()
                if n in partitions
            }
            try:
                found = await found_of(consumer, known)
            except KafkaError as error:
                failed = {"topic": intake.topic, "error": repr(error)}
                logger.warning("log ends cannot be fetched, trying again", extra=failed)
                continue
            if generation != self._app.consumer_generation_id:
                return
            if others := [place for place, one in known.items() if is_another_log(one, found[place])]:
                # A generation begins with nothing of what was read before: neither here nor in Faust's buffers.
                replaced = {"topic": intake.topic, "partitions": [place.partition for place in others]}
                logger.warning("the log was replaced, joining the group again", extra=replaced)
                rejoin(consumer)
                return
            await intake.look(generation, {place.partition: one.end for place, one in found.items()})

    async def _on_complete(self, _app: Any, *_: Any, **__: Any) -> None:
        # Faust also says so of a generation that is being revoked again, and while this worker hands over.
        if not self._assigned or self._leaving:
            return
        # Before the first step: one that has ended its worker before, by blocking it, may be the first to run again.
        self.watchdog.start()
        self._engine.open()
        self._telling = asyncio.create_task(self._tell_when_loaded())

    async def _tell_when_loaded(self) -> None:
        """Say that this worker is ready: whoever restarts workers one by one waits for that before the next one."""
        began = self._lease.now()
        await self._engine.loaded()
        self._ready = True
        loaded = {"partitions": self._engine.partitions, "seconds": round(self._lease.now() - began, 3)}
        logger.info("worker ready", extra=loaded)
