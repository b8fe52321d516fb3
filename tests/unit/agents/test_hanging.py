from dataclasses import dataclass, field
from uuid import UUID

import pytest

from agents.hanging import Hanging
from jabba.callbacks.places import Capacity, Held
from tests.support.logged import logged


@dataclass
class World:
    now: float = 0.0
    waiting: int = 1
    held: list[Held] = field(default_factory=list)


def hanging(world: World, places: int = 2) -> Hanging:
    kind = Capacity("threads", places, lambda: world.held, lambda: world.waiting)
    return Hanging([kind], 10.0, lambda: world.now)


def test_steps_that_hold_all_places_for_long_while_others_wait_are_told(caplog: pytest.LogCaptureFixture) -> None:
    world = World(10.0, held=[Held("shop.charge", UUID(int=1), 0.0), Held("shop.mail", UUID(int=2), 0.0)])
    judge = hanging(world)
    assert judge.steps == 2
    judge.look()
    assert "all threads are held by long steps while others wait limit=2 seconds=10 waiting=1" in logged(caplog)
    assert f"shop.charge of job {UUID(int=1)}; shop.mail of job {UUID(int=2)}" in logged(caplog)


def test_the_same_is_told_once_in_a_while(caplog: pytest.LogCaptureFixture) -> None:
    world = World(held=[Held("shop.charge", UUID(int=number), 0.0) for number in range(7)])
    judge = hanging(world, 7)
    for second in range(36):
        world.now = float(second)
        judge.look()
    assert len(caplog.records) == 3
    assert "and 2 more" in logged(caplog)


@pytest.mark.parametrize(
    "world",
    [
        World(10.0, 0, [Held("a", UUID(int=1), 0.0)] * 2),
        World(10.0, 1, [Held("a", UUID(int=1), 0.0)]),
        World(10.0, 1, [Held("a", UUID(int=1), 0.0), Held("a", UUID(int=1), 0.5)]),
    ],
    ids=["nobody waits", "a place is free", "one is young"],
)
def test_nothing_is_told_otherwise(world: World, caplog: pytest.LogCaptureFixture) -> None:
    judge = hanging(world)
    judge.look()
    assert judge.steps == 0
    assert caplog.text == ""
