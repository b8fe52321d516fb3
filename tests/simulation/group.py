"""A simulated consumer group with eager rebalances: sessions, generations, assignments and committed offsets."""

import asyncio
from typing import NamedTuple

from aiokafka.structs import OffsetAndMetadata

from tests.simulation.loop import Process
from tests.simulation.rules import TOPICS
from tests.simulation.world import World

SESSION_SECONDS = 10.0
HEARTBEAT_SECONDS = SESSION_SECONDS / 5
REBALANCE_SECONDS = SESSION_SECONDS + 2


class Assignment(NamedTuple):
    """What a member owns in a generation."""

    generation: int
    partitions: frozenset[int]


class UnknownMember(Exception):
    """The coordinator has given this member up."""


class Coordinator:
    """The broker's side of the group."""

    def __init__(self, world: World, partitions: int) -> None:
        self._world = world
        self._partitions = partitions
        self._deadlines: dict[str, float] = {}
        self._processes: dict[str, Process] = {}
        self._joining: dict[str, asyncio.Future[Assignment]] = {}
        self._owners: dict[int, str] = {}
        self._holders: dict[int, Process] = {}
        self._preparing = False
        self._round = 0
        self.generation = 0
        places = [(topic, number) for topic in (TOPICS.tasks, TOPICS.control) for number in range(partitions)]
        self.committed = dict.fromkeys(places, OffsetAndMetadata(1, ""))

    def settled(self, names: set[str | None]) -> bool:
        """Return whether exactly these members have their assignments."""
        return not self._preparing and names == self._deadlines.keys()

    def owner(self, partition: int) -> Process | None:
        """Return who may record in a partition: its member, until it is given up or has joined the next generation."""
        name = self._owners.get(partition)
        if name is None or name not in self._deadlines or name in self._joining:
            return None
        return self._processes[name]

    def holder(self, partition: int) -> Process | None:
        """Return to whom a partition was last assigned: nobody else has read it or written to it since."""
        return self._holders.get(partition)

    def join(self, name: str, process: Process) -> asyncio.Future[Assignment]:
        """Wait for the next generation; everyone must have joined it, or be given up."""
        joined: asyncio.Future[Assignment] = self._world.loop.create_future()
        self._deadlines[name] = float("inf")
        self._processes[name] = process
        self._joining[name] = joined
        self.rebalance()
        self._complete_if_all_joined()
        return joined

    def sync(self, name: str, generation: int) -> bool:
        """Begin the session of a member that asks for its assignment; return whether it must join again instead."""
        if name not in self._deadlines or generation != self.generation:
            raise UnknownMember
        if not self._preparing:
            self._watch(name)
        return self._preparing

    def leave(self, name: str) -> None:
        """Give a member up because it says so."""
        if name in self._deadlines:
            self._remove(name)

    def heartbeat(self, name: str, generation: int) -> bool:
        """Keep a member alive; return whether it must join again."""
        if name not in self._deadlines or generation != self.generation:
            raise UnknownMember
        if name not in self._joining:
            self._watch(name)
        return self._preparing

    def commit(self, name: str, generation: int, offsets: dict[tuple[str, int], OffsetAndMetadata]) -> None:
        """Keep offsets, if they come from a member of the current generation."""
        if name not in self._deadlines or generation != self.generation:
            raise UnknownMember
        for (topic, partition), to in offsets.items():
            self._world.rules.committed(topic, partition, to.offset)
            self.committed[topic, partition] = to

    def rebalance(self) -> None:
        """Ask all members to join again."""
        if self._preparing or not self._deadlines:
            return
        self._preparing = True
        self._round += 1
        self._world.loop.later(REBALANCE_SECONDS, self._complete_without_missing, self._round)

    def _watch(self, name: str) -> None:
        self._deadlines[name] = self._world.now + SESSION_SECONDS
        self._world.loop.later(SESSION_SECONDS, self._expire, name)

    def _expire(self, name: str) -> None:
        if self._deadlines.get(name, float("inf")) <= self._world.now:
            self._world.rules.given_up(self._processes[name])
            self._remove(name)

    def _remove(self, name: str) -> None:
        del self._deadlines[name]
        self._joining.pop(name, None)
        if not self._deadlines:
            self._preparing = False
            self.generation += 1
            self._owners.clear()
            return
        self.rebalance()
        self._complete_if_all_joined()

    def _complete_if_all_joined(self) -> None:
        if self._preparing and self._joining.keys() == self._deadlines.keys():
            self._complete()

    def _complete_without_missing(self, round_: int) -> None:
        if not self._preparing or round_ != self._round:
            return
        for name in [name for name in self._deadlines if name not in self._joining]:
            del self._deadlines[name]
            self._world.rules.given_up(self._processes[name])
        if self._deadlines:
            self._complete()
        else:
            self._preparing = False
            self.generation += 1
            self._owners.clear()

    def _complete(self) -> None:
        self.generation += 1
        self._preparing = False
        self._world.rules.rebalances += 1
        names = sorted(self._joining)
        self._owners = self._dealt(names)
        self._holders = {partition: self._processes[name] for partition, name in self._owners.items()}
        joining, self._joining = self._joining, {}
        for name, joined in joining.items():
            mine = frozenset(partition for partition, owner in self._owners.items() if owner == name)
            self._watch(name)
            if not joined.done():
                joined.set_result(Assignment(self.generation, mine))

    def _dealt(self, names: list[str]) -> dict[int, str]:
        """Deal partitions to members: often as before where possible, otherwise anyhow."""
        keep = self._world.rng.random() < 0.5
        return {
            partition: self._owners[partition]
            if keep and self._owners.get(partition) in names
            else self._world.rng.choice(names)
            for partition in range(self._partitions)
        }
