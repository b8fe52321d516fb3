import asyncio
from typing import cast

import pytest

from jabba.errors import Unavailable
from jabba.models import Limits
from jabba.pacing import PORTION_BYTES, UNREAD_BYTES, Paced
from jabba.positions import Position
from jabba.producer import Prepared, Producer, Submitted, prepare

NOW = 1_700_000_000.0


class Broker:
    """Takes portions for partition 0, and shows them in the database when told to."""

    def __init__(self) -> None:
        self.sent: list[int] = []
        self.waiting: list[asyncio.Future[bool]] = []

    async def send(self, portion: Prepared) -> Submitted:
        self.sent.append(sum(len(one.text) for one in portion.slices))
        return Submitted(portion.job.id, {0: len(self.sent), len(self.sent): 7}, portion.job)

    async def follow(self, _position: Position) -> bool:
        self.waiting.append(asyncio.get_running_loop().create_future())
        return await self.waiting[-1]

    def paced(self) -> Paced:
        return Paced(cast("Producer", self), self.follow)


def submission(count: int, size: int) -> Prepared:
    tasks = [["local", "shop", "ship", ["x" * size]] for _ in range(count)]
    return prepare({"type": "t", "tasks": tasks}, Limits(), NOW)


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_small_submission_goes_out_at_once_and_is_answered_once_it_is_shown() -> None:
    broker = Broker()
    sending = asyncio.create_task(broker.paced().send(submission(3, 10)))
    await settle()

    assert len(broker.sent) == 1
    assert not sending.done()
    broker.waiting[0].set_result(True)
    assert (await sending).position == {0: 1, 1: 7}


async def test_a_large_one_goes_out_in_portions_each_after_the_one_before_is_shown() -> None:
    broker = Broker()
    sending = asyncio.create_task(broker.paced().send(submission(40, 100_000)))
    for shown in range(4):
        await settle()
        assert len(broker.sent) == shown + 1
        broker.waiting[shown].set_result(True)

    assert (await sending).position == {0: 4, 1: 7, 2: 7, 3: 7, 4: 7}
    assert max(broker.sent) <= PORTION_BYTES
    assert sum(broker.sent) > 4_000_000


async def test_all_submissions_together_stay_below_what_the_broker_keeps() -> None:
    broker = Broker()
    paced = broker.paced()
    sending = [asyncio.create_task(paced.send(submission(9, 100_000))) for _ in range(5)]
    await settle()

    assert len(broker.sent) == 2
    assert sum(broker.sent) <= UNREAD_BYTES
    broker.waiting[0].set_result(True)
    await settle()
    assert len(broker.sent) == 3
    for one in sending:
        one.cancel()
    await asyncio.gather(*sending, return_exceptions=True)


async def test_a_task_larger_than_a_portion_travels_alone() -> None:
    broker = Broker()
    limits = Limits(task_args_bytes=4_000_000)
    tasks = [["local", "shop", "ship", ["x" * size]] for size in (10, 3_000_000, 10)]
    sending = asyncio.create_task(broker.paced().send(prepare({"type": "t", "tasks": tasks}, limits, NOW)))
    for shown in range(3):
        await settle()
        broker.waiting[shown].set_result(True)
    await sending

    assert [size > 3_000_000 for size in broker.sent] == [False, True, False]


async def test_a_database_that_does_not_follow_makes_it_unavailable_and_frees_the_room() -> None:
    broker = Broker()
    paced = broker.paced()
    for _ in range(5):
        sending = asyncio.create_task(paced.send(submission(9, 100_000)))
        await settle()
        broker.waiting[-1].set_result(False)
        with pytest.raises(Unavailable, match="the database does not show it yet"):
            await sending
