"""Whether a worker gets nothing done though it could: what its watchdog has to know."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from typing import NamedTuple, Protocol

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from faust.types import TP

from jabba.engine.offsets import Start
from jabba.errors import Unavailable
from jabba.kafka.security import KafkaAccess

_ASK_SECONDS = 10.0
"""How often Kafka is asked where the log ends, at most; its answer is waited for as long."""

_STOP_SECONDS = 3.0

SILENT_SECONDS = 60.0
"""How long nothing may come of a changelog: a client of Kafka's waits 40 s for an answer before it asks again."""

_WORK = "work waits and none is done"
_INTAKE = "messages wait and none is taken in"
_COMMANDS = "commands wait and none is obeyed"


class Extent(NamedTuple):
    """What Kafka has of some topics: the first offset of each partition, and the one behind its last."""

    beginnings: Mapping[TP, int]
    ends: Mapping[TP, int]


class Work(Protocol):
    """What the engine says of itself."""

    @property
    def lanes(self) -> int: ...  # noqa: D102 — as its name says
    @property
    def ready(self) -> int: ...  # noqa: D102
    @property
    def running(self) -> int: ...  # noqa: D102
    @property
    def full(self) -> bool: ...  # noqa: D102
    @property
    def unloaded(self) -> list[int]: ...  # noqa: D102
    @property
    def rebalances(self) -> int: ...  # noqa: D102
    def reached(self) -> dict[int, Start]: ...  # noqa: D102
    def committable(self) -> dict[int, int]: ...  # noqa: D102
    def committable_commands(self) -> dict[int, int]: ...  # noqa: D102


class Standstill:
    """A judge, as long as somebody calls ``ask`` every ``ask_seconds``.

    Four things of a worker may stand still, and none does while Kafka does not answer, or does not acknowledge
    (``failing``): a new process could do no more.

    - Work: no step runs though a lane waits that nothing but this worker holds up, or, if there is no lane at all, a
      message that is not committed. While a changelog is loaded it may wait.
    - Intake: a message of the tasks topic is not taken in, whatever runs. While memory is full it may wait.
    - Commands: a message of the control topic is not obeyed though its partition is loaded. While memory is full it
      may wait: Faust's consumer goes on only when the message of the tasks topic that it holds is taken in.
    - Loading: for ``patience`` seconds nothing has come of any changelog that is loaded.

    Args:
        work: the engine.
        extent: asks Kafka for the extent of all that a worker reads.
        failing: whether the last write was not acknowledged.
        seconds: after which a standstill ends the process.
        loaded: answers how many records of a partition's changelog have come.
        patience: must be longer than a partition may wait for the running steps of its former owner.
    """

    def __init__(
        self,
        work: Work,
        extent: Callable[[], Awaitable[Extent]],
        failing: Callable[[], bool],
        seconds: float,
        *,
        loaded: Callable[[int], int] = lambda _: 0,
        patience: float = math.inf,
    ) -> None:
        self._work = work
        self._extent = extent
        self._failing = failing
        self._loaded = loaded
        self._patience = patience
        self._known: Extent | None = None
        self._came: object = None
        self._came_at = 0.0
        self.ask_seconds = min(_ASK_SECONDS, seconds / 4)

    async def ask(self) -> None:
        """Ask Kafka once."""
        try:
            async with asyncio.timeout(self.ask_seconds):
                self._known = await self._extent()
        except (Unavailable, TimeoutError):
            self._known = None

    def found(self, slices: Mapping[TP, int], commands: Mapping[TP, int]) -> dict[str, object]:
        """Return what stands still, each with a value that changes as soon as something of it is done.

        The worker owns these partitions of both topics, and has committed these offsets.
        """
        known = self._known
        if known is None or self._failing():
            self._came = None
            return {}
        work, found = self._work, dict[str, object]()
        if self._work_waits(known, slices):
            found[_WORK] = work.committable(), slices
        taken = {partition: at.offset for partition, at in work.reached().items()}
        if not work.full and _behind(known, slices, taken):
            found[_INTAKE] = taken, slices
        obeyed = work.committable_commands()
        if not work.full and _behind(known, self._loaded_of(commands), obeyed):
            found[_COMMANDS] = obeyed, commands
        if work.unloaded and self._nothing_comes():
            partitions = ", ".join(map(str, sorted(work.unloaded)))
            found[f"nothing comes of the changelog of partition {partitions}"] = self._came
        return found

    def _work_waits(self, known: Extent, slices: Mapping[TP, int]) -> bool:
        work = self._work
        if work.running or work.unloaded:
            return False
        return work.ready > 0 if work.lanes else _behind(known, slices)

    def _loaded_of(self, commands: Mapping[TP, int]) -> dict[TP, int]:
        unloaded = set(self._work.unloaded)
        return {place: offset for place, offset in commands.items() if place.partition not in unloaded}

    def _nothing_comes(self) -> bool:
        """Return whether nothing has come for too long of all that is loaded.

        One changelog alone says nothing: only a few are read at a time, and the others wait for those.
        """
        came = self._work.rebalances, {partition: self._loaded(partition) for partition in self._work.unloaded}
        now = asyncio.get_running_loop().time()
        if came != self._came:
            self._came, self._came_at = came, now
        return now - self._came_at > self._patience


def _behind(known: Extent, committed: Mapping[TP, int], done: Mapping[int, int] | None = None) -> bool:
    """Return whether Kafka has messages behind what was committed, or done and not committed yet."""
    done = done or {}
    return any(
        # What retention has taken can be committed by nobody.
        known.ends.get(place, 0) > max(offset, done.get(place.partition, 0), known.beginnings.get(place, 0))
        for place, offset in committed.items()
    )


async def extent_of(access: KafkaAccess, group: str, places: Iterable[TP]) -> Extent:
    """Ask Kafka, over a connection of its own: Faust's consumer may be what is stuck.

    Each partition's leader is asked, and the coordinator of the group, without which a worker can do nothing either.

    Raises:
        Unavailable: one of them does not answer.
    """
    asked = [TopicPartition(*place) for place in places]
    consumer = AIOKafkaConsumer(**access.client_options(), group_id=group, enable_auto_commit=False)
    try:
        await consumer.start()
        consumer.assign(asked)
        consumer.pause(*asked)
        await consumer.committed(asked[0])
        return Extent(await consumer.beginning_offsets(asked), await consumer.end_offsets(asked))
    except (KafkaError, OSError) as error:
        raise Unavailable(f"Kafka does not answer: {error!r}") from error
    finally:
        with suppress(TimeoutError):
            await asyncio.wait_for(consumer.stop(), _STOP_SECONDS)
