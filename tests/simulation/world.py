"""What one run is made of: chance, time, how hard it is, and the rules that watch it."""

import asyncio
from dataclasses import dataclass, replace
from random import Random
from typing import TYPE_CHECKING, Self

from jabba.settings import Settings
from tests.simulation.loop import Process, SimulatedLoop

if TYPE_CHECKING:
    from tests.simulation.rules import Rules

SETTINGS = Settings(prefix="simulated", result_bytes=700)

EPOCH_SECONDS = 1_700_000_000.0
"""The moment at which every simulation begins, for ids and for messages."""

_FORGETFUL = 0.15


@dataclass(frozen=True, slots=True)
class Profile:
    """How hard a run is. Every seed draws another one, so that each kind of trouble also comes alone.

    Probabilities are per occasion: a message, a step, a call of a port. Rates are per simulated second.
    """

    partitions: int
    workers: int
    jobs: int
    slots: int
    lanes: int
    adopt_seconds: float
    adopt_bytes: int
    repeat_seconds: float
    trouble_seconds: float
    slow: float
    stalled: float
    refused: float
    unreadable: float
    step_seconds: float
    long_steps: float
    stubborn: float
    unsuccessful: float
    large: float
    repeated: float
    abandoned: float
    crashes_at_ports: float
    crashes: float
    chains: float
    pauses: float
    blocks: float
    cuts: float
    breaks: float
    restarts: float
    rebalances: float
    outages: float
    compactions: float
    dropped: float
    projector_crashes: float

    @classmethod
    def draw(cls, rng: Random) -> "Profile":
        """Draw how hard a run is."""

        def sometimes(how_often: float, most: float) -> float:
            return rng.uniform(0.1, 1) * most if rng.random() < how_often else 0.0

        drawn = cls(
            partitions=rng.randint(1, 4),
            workers=rng.choice((1, 2, 2, 3)),
            jobs=rng.randint(2, 7),
            slots=rng.choice((1, 2, 4, 100)),
            lanes=rng.choice((3, 8, 1000)),
            adopt_seconds=rng.choice((0.05, 1.0, 10.0)),
            adopt_bytes=rng.choice((0, 2000, 1_000_000)),
            repeat_seconds=120,
            trouble_seconds=rng.uniform(15, 60),
            slow=sometimes(0.5, 0.3),
            stalled=sometimes(0.3, 0.05),
            refused=sometimes(0.5, 0.1),
            unreadable=sometimes(0.2, 0.2),
            step_seconds=rng.choice((0.05, 0.5, 3.0)),
            long_steps=sometimes(0.5, 0.3),
            stubborn=sometimes(0.2, 0.5),
            unsuccessful=sometimes(0.7, 0.25),
            large=sometimes(0.3, 0.5),
            repeated=sometimes(0.5, 0.5),
            abandoned=sometimes(0.3, 0.5),
            crashes_at_ports=sometimes(0.4, 0.02),
            crashes=sometimes(0.4, 0.15),
            chains=sometimes(0.3, 0.1),
            pauses=sometimes(0.4, 0.15),
            blocks=sometimes(0.3, 0.2),
            cuts=sometimes(0.4, 0.15),
            breaks=sometimes(0.4, 0.4),
            restarts=sometimes(0.4, 0.15),
            rebalances=sometimes(0.5, 0.3),
            outages=sometimes(0.3, 0.15),
            compactions=sometimes(0.5, 1.0),
            dropped=sometimes(0.3, 0.2),
            projector_crashes=sometimes(0.5, 0.3),
        )
        return drawn._forgetful() if rng.random() < _FORGETFUL else drawn

    def _forgetful(self) -> Self:
        """Return the same with the shortest memory for ended jobs; so nobody may submit a job twice."""
        once = replace(self, repeated=0.0, abandoned=0.0, refused=0.0, breaks=0.0, outages=0.0, stalled=0.0, slow=0.0)
        return replace(once, repeat_seconds=1.0)


class World:
    """Chance and time of one run. Once trouble has ended, nothing goes wrong any more."""

    def __init__(self, seed: int, loop: SimulatedLoop, rules: "Rules") -> None:
        self.rng = Random(seed)
        self.loop = loop
        self.rules = rules
        self.profile = Profile.draw(self.rng)
        self.trouble = True

    @property
    def now(self) -> float:
        """Return simulated seconds."""
        return self.loop.time()

    def chance(self, probability: float) -> bool:
        """Return whether something goes wrong."""
        return self.trouble and self.rng.random() < probability

    def delay(self) -> float:
        """Return how long a message is on its way: milliseconds, now and then much longer."""
        if self.chance(self.profile.stalled):
            return self.rng.uniform(2, 12)
        if self.chance(self.profile.slow):
            return self.rng.uniform(0.01, 1.5)
        return self.rng.uniform(0.0005, 0.004)

    async def pause(self, seconds: float) -> None:
        """Let time pass."""
        await asyncio.sleep(seconds)

    def strike(self, process: Process) -> None:
        """Kill the process at a call of a port, now and then."""
        if self.chance(self.profile.crashes_at_ports):
            process.crash()
