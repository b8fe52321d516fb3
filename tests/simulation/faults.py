"""What goes wrong in a run, and when."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.simulation.rules import TOPICS

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation
    from tests.simulation.worker import Worker

_EVERY_SECONDS = 0.5


class Faults:
    """Strikes at random until trouble ends; whatever was struck comes back by itself."""

    def __init__(self, simulation: "Simulation") -> None:
        self._simulation = simulation
        self._world = simulation.world
        self._rng = simulation.world.rng

    async def strike(self) -> None:
        """Do harm for as long as the profile says."""
        profile = self._world.profile
        kinds: list[tuple[float, Callable[[], None]]] = [
            (profile.crashes, self._crash),
            (profile.chains, self._crash_in_turn),
            (profile.pauses, self._pause),
            (profile.blocks, self._block),
            (profile.cuts, self._cut),
            (profile.breaks, self._break),
            (profile.restarts, self._restart),
            (profile.rebalances, self._simulation.group.rebalance),
            (profile.outages, self._close_partition),
            (profile.compactions, self._compact),
            (profile.projector_crashes, self._crash_projector),
        ]
        while self._world.now < profile.trouble_seconds:
            await asyncio.sleep(self._rng.uniform(0, 2 * _EVERY_SECONDS))
            for rate, harm in kinds:
                if self._rng.random() < rate * _EVERY_SECONDS:
                    self._world.rules.trace(f"harm: {harm.__name__}")
                    harm()
        self._world.trouble = False

    def _any_worker(self) -> "Worker | None":
        living = self._simulation.living_workers()
        return self._rng.choice(living) if living else None

    def _crash(self) -> None:
        if worker := self._any_worker():
            worker.process.crash()

    def _crash_in_turn(self) -> None:
        """A worker dies as it sends a record, which lands when others own its partitions; and soon those die, too."""
        self._doom()
        self._world.loop.later(self._rng.uniform(10, 15), self._rng.choice((self._crash, self._doom)))

    def _doom(self) -> None:
        if worker := self._any_worker():
            self._simulation.kafka.dooms[worker.process] = self._rng.uniform(9, 16)

    def _pause(self) -> None:
        if worker := self._any_worker():
            worker.process.pause()
            self._world.loop.later(self._seconds(), worker.process.resume)

    def _block(self) -> None:
        if worker := self._any_worker():
            worker.process.block()
            self._world.loop.later(self._seconds(), worker.process.resume)

    def _cut(self) -> None:
        worker = self._any_worker()
        if worker is None:
            return
        kinds = self._rng.choice(("group", "log", "group and log"))
        if "group" in kinds:
            worker.member.cut_until = self._world.now + self._seconds()
        if "log" in kinds:
            self._simulation.kafka.cut(worker.process, self._seconds())
        if self._rng.random() < 0.5:
            self._simulation.group.rebalance()

    def _break(self) -> None:
        if worker := self._any_worker():
            self._simulation.kafka.break_connection(worker.process)

    def _restart(self) -> None:
        if (worker := self._any_worker()) and not worker.stopping:
            worker.stop()

    def _close_partition(self) -> None:
        topic = self._rng.choice((TOPICS.tasks, TOPICS.changelog, TOPICS.changelog, TOPICS.events))
        self._simulation.kafka.close_partition(topic, self._number(), self._seconds() / 2)

    def _compact(self) -> None:
        partition = self._simulation.kafka.partition(TOPICS.changelog, self._number())
        partition.compact(self._rng.randint(0, partition.end), tombstones=self._rng.random() < 0.5)

    def _crash_projector(self) -> None:
        self._simulation.projector.process.kill()

    def _number(self) -> int:
        return self._rng.randrange(self._world.profile.partitions)

    def _seconds(self) -> float:
        return self._rng.choice((self._rng.uniform(0.1, 2), self._rng.uniform(2, 9), self._rng.uniform(9, 25)))
