import asyncio
from collections.abc import Mapping

import pytest

from jabba.errors import Unavailable
from web.waiting import Progress, covers, until_answered


class Projection:
    """A projection whose offsets the test moves; it counts how often it is asked."""

    def __init__(self) -> None:
        self.offsets: Mapping[int, int] = {}
        self.asked = 0
        self.error: Exception | None = None

    async def __call__(self) -> Mapping[int, int]:
        self.asked += 1
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        return self.offsets


async def test_an_answer_ends_the_asking() -> None:
    answers = iter([None, None, "here"])

    async def ask() -> str | None:
        return next(answers)

    assert await until_answered(ask, 5.0) == "here"


@pytest.mark.parametrize("within", [0.0, 0.03])
async def test_asking_ends_with_its_time(within: float) -> None:
    async def ask() -> str | None:
        return None

    assert await until_answered(ask, within) is None


def test_a_position_is_covered_when_the_next_offset_of_each_partition_lies_behind_it() -> None:
    assert covers({0: 5, 1: 1}, {0: 4, 1: 0})
    assert not covers({0: 5, 1: 1}, {0: 5})
    assert not covers({0: 5}, {0: 4, 1: 0})
    assert covers({}, {})


async def test_however_many_wait_one_asks() -> None:
    projection = Projection()
    progress = Progress(projection)
    waiting = [asyncio.create_task(progress.reaches({0: number}, 5.0)) for number in range(200)]
    await asyncio.sleep(0.05)
    projection.offsets = {0: 100}
    assert await asyncio.gather(*waiting[:100]) == [True] * 100
    assert not any(one.done() for one in waiting[100:])
    projection.offsets = {0: 200}
    assert await asyncio.gather(*waiting) == [True] * 200
    assert projection.asked < 40


async def test_who_has_waited_long_enough_is_told_so() -> None:
    projection = Projection()
    assert not await Progress(projection).reaches({0: 0}, 0.05)


async def test_who_gives_up_takes_nothing_from_the_others() -> None:
    projection = Projection()
    progress = Progress(projection)
    patient = asyncio.create_task(progress.reaches({0: 0}, 5.0))
    hasty = asyncio.create_task(progress.reaches({0: 0}, 5.0))
    await asyncio.sleep(0)
    hasty.cancel()
    projection.offsets = {0: 1}
    assert await patient


async def test_a_database_that_is_away_is_told_to_all_who_wait_and_asked_again_by_the_next() -> None:
    projection = Projection()
    progress = Progress(projection)
    projection.error = Unavailable("PostgreSQL is away")
    answers = await asyncio.gather(*(progress.reaches({0: 0}, 5.0) for _ in range(3)), return_exceptions=True)
    assert [type(one) for one in answers] == [Unavailable] * 3
    projection.error, projection.offsets = None, {0: 1}
    assert await progress.reaches({0: 0}, 5.0)
