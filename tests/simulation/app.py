"""What stands for Faust's application and consumer in the simulator."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Mapping
from functools import partial
from types import SimpleNamespace
from typing import Any

from aiokafka.structs import OffsetAndMetadata
from faust.types import TP

from agents.starts import Found, start_of
from jabba.engine.offsets import Start
from jabba.kafka.committed_offsets import CommittedOffset, decode_offset
from jabba.settings import Settings
from tests.simulation.kafka import Kafka, Message
from tests.simulation.member import Member


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
        """Return the same: nothing is acknowledged here."""
        return self

    async def events(self) -> AsyncIterator[Any]:
        """Return what is in the buffer, for ever."""
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
        """Return the channel of a topic: its name."""
        return name

    def agent(self, channel: str, **_: Any) -> Callable[[Callable[[Stream], Coroutine[Any, Any, None]]], None]:
        """Keep the agent of a channel."""
        return partial(self.agents.__setitem__, channel)

    def assignment(self) -> list[TP]:
        """Return nothing of use."""
        return []

    async def found(self, known: Mapping[TP, CommittedOffset | None]) -> dict[TP, Found]:
        """Return the extents of partitions, and what is later than known."""
        await asyncio.sleep(self._kafka.world.delay())
        return {place: self._found(place, one) for place, one in known.items()}

    def _found(self, place: TP, known: CommittedOffset | None) -> Found:
        partition = self._kafka.partition(*place)
        latest = known.latest if known else 0
        later = (message.offset for message in partition.messages if latest and message.at > latest)
        return Found(0, partition.end, next(later, None))

    async def committed(self, places: Iterable[TP]) -> dict[TP, CommittedOffset | None]:
        """Return what the group has committed."""
        await asyncio.sleep(self._kafka.world.delay())
        return {place: decode_offset(self.member.committed(place)) for place in places}

    def violate(self, text: str) -> None:
        """Note what must not happen."""
        self._kafka.world.rules.violate(text)


async def starts(consumer: Any, places: Iterable[TP]) -> dict[TP, Start]:
    """Stand for ``agents.worker.starts``, which calls into aiokafka's thread."""
    known = await consumer.committed(places)
    found = await consumer.found(known)
    return {place: start_of(place, one, found[place]) for place, one in known.items()}


async def found_of(consumer: Any, known: Mapping[TP, CommittedOffset | None]) -> dict[TP, Found]:
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
