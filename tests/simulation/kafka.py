"""A simulated Kafka: partitions, producers whose messages are delayed, lost or repeated, readers, compaction."""

import asyncio
from bisect import bisect_left
from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, NamedTuple, Self, cast

from aiokafka.errors import KafkaConnectionError

from jabba.engine.changelog import Batch
from tests.simulation.loop import Process, current_process
from tests.simulation.rules import TOPICS
from tests.simulation.world import EPOCH_SECONDS, World

_STEP = 1e-7
"""Seconds between messages of one producer that would land at the same moment."""

_MOST_AT_ONCE = 10
"""How many messages a reader gets at a time, at most."""


class Message(NamedTuple):
    """A message of the log; ``at`` is its LogAppendTime in milliseconds."""

    offset: int
    key: bytes | None
    value: bytes | None
    at: int


@dataclass(slots=True)
class Partition:
    """One partition; compaction leaves holes."""

    messages: list[Message] = field(default_factory=list)
    end: int = 0

    def append(self, key: bytes | None, value: bytes | None, at: int) -> Message:
        """Append a message."""
        message = Message(self.end, key, value, at)
        self.messages.append(message)
        self.end += 1
        return message

    def since(self, offset: int) -> list[Message]:
        """Return the messages from an offset on."""
        return self.messages[bisect_left(self.messages, offset, key=lambda message: message.offset) :]

    def compact(self, end: int, *, tombstones: bool) -> None:
        """Keep the last message of each key below ``end``, without the tombstones among them if so told."""
        last = {message.key: message.offset for message in self.messages if message.offset < end}
        self.messages = [
            message
            for message in self.messages
            if message.offset >= end
            or (last[message.key] == message.offset and not (tombstones and message.value is None))
        ]


@dataclass(slots=True)
class _Flight:
    """A message on its way."""

    producer: "SimulatedProducer"
    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    answer: asyncio.Future[Any]
    lands: bool = True
    refused: bool = False
    timer: asyncio.TimerHandle | None = None


class Kafka:
    """All topics of one run.

    What one producer sends to a partition lands in order. A message may land though its sender is told otherwise, and
    be sent again by a sender who was not told; of what a dead process had sent, a first part lands.
    """

    def __init__(self, world: World, partitions: int) -> None:
        self.world = world
        self.partitions = partitions
        self._partitions: dict[tuple[str, int], Partition] = defaultdict(Partition)
        self._landing: dict[tuple[SimulatedProducer, str, int], float] = {}
        self._broken_pipes: set[tuple[SimulatedProducer, str, int]] = set()
        self._closed_until: dict[tuple[str, int], float] = {}
        self._cut_until: dict[Process, float] = {}
        self.dooms: dict[Process, float] = {}
        self._flights: dict[int, _Flight] = {}
        self._waiting: list[asyncio.Future[None]] = []

    def partition(self, topic: str, partition: int) -> Partition:
        """Return a partition."""
        return self._partitions[topic, partition]

    def all_of(self, topic: str) -> list[list[Message]]:
        """Return the messages of a topic, by partition."""
        return [self._partitions[topic, partition].messages for partition in range(self.partitions)]

    def close_partition(self, topic: str, partition: int, seconds: float) -> None:
        """Let nothing land in a partition for so long."""
        self._closed_until[topic, partition] = self.world.now + seconds

    def cut(self, process: Process, seconds: float) -> None:
        """Let nothing that a process sends arrive for so long."""
        self._cut_until[process] = self.world.now + seconds

    def was_cut(self, process: Process, since: float) -> bool:
        """Tell whether what a process has sent since then may not have arrived before now."""
        return self._cut_until.get(process, 0.0) > since

    def produce(
        self, producer: "SimulatedProducer", topic: str, partition: int, key: bytes | None, value: bytes | None
    ) -> asyncio.Future[Any]:
        """Send a message on its way; the future answers its metadata or raises a KafkaError."""
        answer: asyncio.Future[Any] = self.world.loop.create_future()
        self.world.strike(producer.process)
        if producer.process.alive:
            self.world.rules.sent(producer.process, topic, key, value)
            flight = _Flight(producer, topic, partition, key, value, answer)
            if self.world.chance(self.world.profile.refused):
                flight.refused, flight.lands = True, self.world.rng.random() < 0.5
            if topic == TOPICS.changelog and (seconds := self.dooms.pop(producer.process, None)):
                producer.process.crash()
                self._take_off(flight, seconds)
            else:
                self._take_off(flight, self._reserve(flight))
        return answer

    def break_connection(self, process: Process) -> None:
        """Fail all that a process is sending; what is on its way may still come, much later and in any order."""
        for flight in [one for one in self._flights.values() if one.producer.process is process and one.timer]:
            cast("asyncio.TimerHandle", flight.timer).cancel()
            del self._flights[id(flight)]
            flight.refused = True
            self._answer(flight, -1)
            if self.world.rng.random() < 0.7:
                self._take_off(flight, self.world.rng.uniform(0.1, 15))

    def _take_off(self, flight: _Flight, seconds: float) -> None:
        self._flights[id(flight)] = flight
        flight.timer = self.world.loop.later(seconds, self._land, flight)

    async def news(self) -> None:
        """Wait until something lands."""
        waiting = self.world.loop.create_future()
        self._waiting.append(waiting)
        await waiting

    def read(self, topic: str, partition: int, start: int) -> AsyncIterator[Batch]:
        """Read a partition from an offset to its end at this time."""
        return _Reading(self, topic, partition, start)

    def _reserve(self, flight: _Flight) -> float:
        pipe = (flight.producer, flight.topic, flight.partition)
        landing = max(
            self.world.now + self.world.delay(),
            self._landing.get(pipe, 0.0) + _STEP,
            self._closed_until.get(pipe[1:], 0.0),
            self._cut_until.get(flight.producer.process, 0.0),
        )
        self._landing[pipe] = landing
        return landing - self.world.now

    def _land(self, flight: _Flight) -> None:
        flight.timer = None
        self._flights.pop(id(flight), None)
        if not flight.producer.process.alive and self._breaks(flight):
            return
        offset = -1
        if flight.lands:
            at = int((EPOCH_SECONDS + self.world.now) * 1000)
            message = self._partitions[flight.topic, flight.partition].append(flight.key, flight.value, at)
            offset = message.offset
            self.world.rules.landed(flight.producer.process, flight.topic, flight.partition, message)
            waiting, self._waiting = self._waiting, []
            for one in waiting:
                if not one.done():
                    one.set_result(None)
        until = self._cut_until.get(flight.producer.process, 0.0) - self.world.now
        self.world.loop.later(max(until, 0.0) + self.world.delay(), self._answer, flight, offset)

    def _breaks(self, flight: _Flight) -> bool:
        """Of what was on its way when its sender died, the rest is lost after the first message that is."""
        pipe = (flight.producer, flight.topic, flight.partition)
        if pipe not in self._broken_pipes and self.world.rng.random() < 0.5:
            self._broken_pipes.add(pipe)
        return pipe in self._broken_pipes

    def _answer(self, flight: _Flight, offset: int) -> None:
        self.world.strike(flight.producer.process)
        if flight.answer.done() or not flight.producer.process.alive:
            return
        if flight.refused:
            flight.answer.set_exception(KafkaConnectionError("simulated"))
        else:
            self.world.rules.acknowledged(flight.producer.process, flight.topic, flight.key, flight.value)
            flight.answer.set_result(SimpleNamespace(offset=offset))


class SimulatedProducer:
    """What ``jabba.kafka.writer`` uses of ``AIOKafkaProducer``."""

    kafka: Kafka
    """The one of the run, set before anything is built."""

    def __init__(self, **_: Any) -> None:
        self.process = current_process()
        # What is sent is on its way at once: there is no sender that could be told to end.
        self._sender = SimpleNamespace(sender_task=asyncio.get_running_loop().create_future())

    @property
    def client(self) -> Self:
        """Return who sends requests: the producer itself."""
        return self

    def get_random_node(self) -> int:
        """Return the only broker."""
        return 0

    async def send(self, _node: int, request: Any) -> Any:
        """Return a metadata request."""
        await asyncio.sleep(0.001)
        listed = [object()] * self.kafka.partitions
        return SimpleNamespace(topics=[(0, "topic", False, listed)])

    async def bootstrap(self) -> None:
        """Get to know the brokers, as a client of a producer does."""

    async def start(self) -> None:
        """Connect."""
        await asyncio.sleep(self.kafka.world.delay())

    async def close(self) -> None:
        """Close the sockets of ``client``."""

    async def stop(self) -> None:
        """Disconnect; what is on its way lands all the same."""
        await asyncio.sleep(self.kafka.world.delay())

    async def send_and_wait(
        self, topic: str, value: bytes | None, *, key: bytes | None = None, partition: int = 0
    ) -> Any:
        """Send a message and wait for its acknowledgement."""
        return await self.kafka.produce(self, topic, partition, key, value)


class _Reading:
    """A reader of a partition up to where it ended when the reading began."""

    def __init__(self, kafka: Kafka, topic: str, partition: int, start: int) -> None:
        self._kafka = kafka
        self._partition = kafka.partition(topic, partition)
        self._topic = topic
        self._number = partition
        self._position = start
        self._end: int | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Batch:
        world = self._kafka.world
        if self._end is None:
            await asyncio.sleep(world.delay())
            if world.chance(world.profile.unreadable):
                raise KafkaConnectionError("simulated")
            self._end = self._partition.end
        elif world.rng.random() < 0.1:
            await asyncio.sleep(world.delay())
        batch = self._partition.since(self._position)[: world.rng.randint(1, _MOST_AT_ONCE)]
        batch = [message for message in batch if message.offset < self._end]
        if not batch:
            raise StopAsyncIteration
        self._position = batch[-1].offset + 1
        for message in batch:
            world.rules.read(current_process(), self._topic, self._number, message)
        return [(message.offset, message.key or b"", message.value) for message in batch]
