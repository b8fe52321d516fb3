"""A simulated projector: the real fold, and the rows that PostgreSQL would hold."""

import asyncio
from typing import Any

from jabba.messages.slices import decode_message
from jabba.messages.topics import decode_events
from jabba.projection.fold import Fact, ImpossibleFact, fold
from jabba.projection.reference import Rows
from tests.simulation.kafka import Kafka, Message
from tests.simulation.loop import Process
from tests.simulation.rules import TOPICS
from tests.simulation.world import World

Place = tuple[str, int]


class Projector:
    """Reads slices and events in batches of any mixture, and may die between a transaction and its commit."""

    def __init__(self, world: World, kafka: Kafka) -> None:
        self._world = world
        self._kafka = kafka
        self._committed: dict[Place, int] = {}
        self._lives = 0
        self.database = Rows()
        self.start()

    def start(self) -> None:
        """Begin a life."""
        self._lives += 1
        self.process = Process(self._world.loop, f"projector.{self._lives}")
        self.process.start(self._live())

    def caught_up(self, *topics: str) -> bool:
        """Return whether everything in these topics is in the database."""
        return not any(topic in topics for topic, _ in self._ready(self._committed))

    async def _live(self) -> None:
        positions = dict(self._committed)
        while True:
            ready = self._ready(positions)
            if not ready:
                await self._kafka.news()
                continue
            chosen = self._world.rng.sample(ready, self._world.rng.randint(1, len(ready)))
            facts = [fact for place in chosen for fact in self._take(place, positions)]
            await asyncio.sleep(self._world.delay())
            self._write(facts)
            await asyncio.sleep(self._world.delay())
            self._committed.update(positions)

    def _write(self, facts: list[Fact]) -> None:
        """Write facts, without those that nobody in Jabba has sent."""
        try:
            self.database.write(fold(facts))
        except ImpossibleFact:
            if len(facts) > 1:
                for fact in facts:
                    self._write([fact])

    def _ready(self, positions: dict[Place, int]) -> list[Place]:
        places = [(topic, n) for topic in (TOPICS.tasks, TOPICS.events) for n in range(self._kafka.partitions)]
        return [place for place in places if self._kafka.partition(*place).end > positions.get(place, 0)]

    def _take(self, place: Place, positions: dict[Place, int]) -> list[Fact]:
        messages = self._kafka.partition(*place).since(positions.get(place, 0))
        taken = messages[: self._world.rng.randint(1, len(messages))]
        positions[place] = taken[-1].offset + 1
        return [fact for message in taken for fact in facts_in(place[0], message)]


def facts_in(topic: str, message: Message) -> list[Fact]:
    """Return the facts of a message; none if nobody can read it."""
    decode: Any = decode_message if topic == TOPICS.tasks else decode_events
    try:
        return [Fact(content, message.at) for content in decode(message.value or b"")]
    except ValueError:
        return []
