import asyncio
from dataclasses import dataclass

import pytest

from agents.standstill import Extent, Standstill
from jabba.errors import Unavailable

END = 30
BEHIND, DONE = {0: 10, 1: END}, {0: END, 1: END}


@dataclass
class Work:
    lanes: int = 0
    ready: int = 0
    running: int = 0
    loading: bool = False


class Kafka:
    def __init__(self) -> None:
        self.beginning = 0
        self.answers = True
        self.silent = False
        self.failing = False

    async def extent(self) -> Extent:
        if self.silent:
            await asyncio.Event().wait()
        if not self.answers:
            raise Unavailable("no answer")
        return Extent({0: self.beginning, 1: 0, 2: 0}, {0: END, 1: END, 2: END})


@pytest.fixture
def work() -> Work:
    return Work()


@pytest.fixture
def kafka() -> Kafka:
    return Kafka()


@pytest.fixture
def standstill(work: Work, kafka: Kafka) -> Standstill:
    return Standstill(work, kafka.extent, lambda: kafka.failing, 0.1)


async def test_it_holds_while_messages_wait_and_nothing_runs(standstill: Standstill) -> None:
    await standstill.ask()
    assert standstill.holds(BEHIND)


async def test_a_lane_that_nobody_else_holds_up_is_work(standstill: Standstill, work: Work) -> None:
    work.lanes, work.ready = 2, 1
    await standstill.ask()
    assert standstill.holds(DONE)


async def test_lanes_that_wait_for_their_turn_alone_are_none(standstill: Standstill, work: Work) -> None:
    work.lanes, work.ready = 2, 0
    await standstill.ask()
    assert not standstill.holds(BEHIND)


async def test_without_work_it_does_not_hold(standstill: Standstill) -> None:
    await standstill.ask()
    assert not standstill.holds(DONE)


async def test_partitions_of_others_are_no_work(standstill: Standstill) -> None:
    await standstill.ask()
    assert not standstill.holds({1: END})
    assert not standstill.holds({})


async def test_a_long_step_is_no_standstill_though_memory_is_full(standstill: Standstill, work: Work) -> None:
    work.lanes, work.ready, work.running = 2000, 2000, 1
    await standstill.ask()
    assert not standstill.holds(BEHIND)


async def test_loading_is_none(standstill: Standstill, work: Work) -> None:
    work.lanes, work.ready, work.loading = 5, 5, True
    await standstill.ask()
    assert not standstill.holds(BEHIND)


async def test_what_retention_has_taken_is_no_work(standstill: Standstill, kafka: Kafka) -> None:
    kafka.beginning = END
    await standstill.ask()
    assert not standstill.holds(BEHIND)


async def test_before_kafka_has_answered_it_does_not_hold(standstill: Standstill) -> None:
    assert not standstill.holds(BEHIND)


@pytest.mark.parametrize("how", ["answers", "silent", "failing"])
async def test_while_kafka_is_away_it_does_not_hold(standstill: Standstill, kafka: Kafka, work: Work, how: str) -> None:
    work.lanes, work.ready = 2, 2
    await standstill.ask()
    setattr(kafka, how, how != "answers")
    await standstill.ask()
    assert not standstill.holds(BEHIND)
    setattr(kafka, how, how == "answers")
    await standstill.ask()
    assert standstill.holds(BEHIND)
