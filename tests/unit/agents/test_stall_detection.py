import asyncio
from dataclasses import dataclass, field

import pytest
from faust.types import TP

from agents.stall_detection import Extent, Standstill
from jabba.engine.offsets import Start
from jabba.errors import Unavailable

END = 30


def at(topic: str, *offsets: int) -> dict[TP, int]:
    return {TP(topic, partition): offset for partition, offset in enumerate(offsets)}


BEHIND, DONE = at("tasks", 10, END), at("tasks", END, END)
DISOBEYED, OBEYED = at("control", 10, END), at("control", END, END)


@dataclass
class Work:
    lanes: int = 0
    ready: int = 0
    running: int = 0
    full: bool = False
    unloaded: list[int] = field(default_factory=list)
    rebalances: int = 1
    ended: dict[int, int] = field(default_factory=dict)
    obeyed: dict[int, int] = field(default_factory=dict)
    taken: dict[int, int] = field(default_factory=lambda: {0: END, 1: END, 2: END})

    def reached(self) -> dict[int, Start]:
        return {partition: Start(offset, offset) for partition, offset in self.taken.items()}

    def committable(self) -> dict[int, int]:
        return self.ended

    def committable_commands(self) -> dict[int, int]:
        return self.obeyed


class Kafka:
    def __init__(self) -> None:
        self.beginning = 0
        self.answers = True
        self.silent = False
        self.failing = False
        self.loaded: dict[int, int] = {}

    async def extent(self) -> Extent:
        if self.silent:
            await asyncio.Event().wait()
        if not self.answers:
            raise Unavailable("no answer")
        topics = ("tasks", "control")
        beginnings = [at(topic, self.beginning, 0, 0) for topic in topics]
        ends = [at(topic, END, END, END) for topic in topics]
        return Extent(beginnings[0] | beginnings[1], ends[0] | ends[1])


@pytest.fixture
def work() -> Work:
    return Work()


@pytest.fixture
def kafka() -> Kafka:
    return Kafka()


def judge(work: Work, kafka: Kafka, patience: float = 0.0) -> Standstill:
    def loaded(partition: int) -> int:
        return kafka.loaded.get(partition, 0)

    return Standstill(work, kafka.extent, lambda: kafka.failing, 0.1, loaded=loaded, patience=patience)


@pytest.fixture
def standstill(work: Work, kafka: Kafka) -> Standstill:
    return judge(work, kafka)


def found(standstill: Standstill, slices: dict[TP, int] = DONE, commands: dict[TP, int] = OBEYED) -> str:
    return ", ".join(wrong.partition(" ")[0] for wrong in standstill.found(slices, commands))


async def found_later(standstill: Standstill, slices: dict[TP, int] = DONE, commands: dict[TP, int] = OBEYED) -> str:
    found(standstill, slices, commands)
    await asyncio.sleep(0.001)
    return found(standstill, slices, commands)


async def test_work_is_found_while_messages_wait_and_nothing_runs(standstill: Standstill) -> None:
    await standstill.ask()
    assert found(standstill, BEHIND) == "work"


async def test_a_lane_that_nobody_else_holds_up_is_work(standstill: Standstill, work: Work) -> None:
    work.lanes, work.ready = 2, 1
    await standstill.ask()
    assert found(standstill) == "work"


async def test_lanes_that_wait_for_their_turn_alone_are_none(standstill: Standstill, work: Work) -> None:
    work.lanes, work.ready = 2, 0
    await standstill.ask()
    assert found(standstill, BEHIND) == ""


async def test_without_work_nothing_is_found(standstill: Standstill) -> None:
    await standstill.ask()
    assert found(standstill) == ""


async def test_partitions_of_others_are_no_work(standstill: Standstill) -> None:
    await standstill.ask()
    assert found(standstill, {TP("tasks", 1): END}) == ""
    assert found(standstill, {}, {}) == ""


async def test_a_long_step_is_no_standstill_though_memory_is_full(standstill: Standstill, work: Work) -> None:
    work.lanes, work.ready, work.running, work.full = 2000, 2000, 1, True
    await standstill.ask()
    assert found(standstill, BEHIND, DISOBEYED) == ""


async def test_what_retention_has_taken_is_no_work(standstill: Standstill, kafka: Kafka) -> None:
    kafka.beginning = END
    await standstill.ask()
    assert found(standstill, BEHIND, DISOBEYED) == ""


async def test_what_is_done_changes_what_is_found(standstill: Standstill, work: Work) -> None:
    await standstill.ask()
    before = standstill.found(BEHIND, DISOBEYED)
    assert before == standstill.found(BEHIND, DISOBEYED)
    work.ended, work.obeyed = {0: 11}, {0: 11}
    after = standstill.found(BEHIND, DISOBEYED)
    assert before.keys() == after.keys()
    assert all(before[wrong] != after[wrong] for wrong in before)


async def test_messages_that_are_not_taken_in_are_found_whatever_runs(standstill: Standstill, work: Work) -> None:
    work.running, work.taken = 1, {0: 12}
    await standstill.ask()
    assert found(standstill, BEHIND) == "messages"
    before = standstill.found(BEHIND, OBEYED)
    assert before == standstill.found(BEHIND, OBEYED)
    work.taken = {0: 13}
    assert before != standstill.found(BEHIND, OBEYED)
    work.full = True
    assert found(standstill, BEHIND) == ""


async def test_before_a_generation_has_begun_nothing_is_taken_in(standstill: Standstill, work: Work) -> None:
    work.running, work.taken = 1, {}
    await standstill.ask()
    assert found(standstill, BEHIND) == "messages"
    assert found(standstill, DONE) == ""


async def test_commands_are_found_while_they_are_not_obeyed_whatever_runs(standstill: Standstill, work: Work) -> None:
    work.running = 1
    await standstill.ask()
    assert found(standstill, commands=DISOBEYED) == "commands"


async def test_commands_that_are_obeyed_and_not_committed_yet_are_not_found(standstill: Standstill, work: Work) -> None:
    work.obeyed = {0: END}
    await standstill.ask()
    assert found(standstill, commands=DISOBEYED) == ""


async def test_commands_wait_for_their_own_partition_to_be_loaded(standstill: Standstill, work: Work) -> None:
    await standstill.ask()
    work.unloaded = [0]
    assert found(standstill, commands=DISOBEYED) == ""
    work.unloaded = [1]
    assert found(standstill, commands=DISOBEYED) == "commands"


async def test_work_waits_while_changelogs_are_loaded_of_which_something_comes(
    standstill: Standstill, work: Work, kafka: Kafka
) -> None:
    work.lanes, work.ready, work.unloaded = 5, 5, [0, 1]
    await standstill.ask()
    for records in range(3):
        # One of them waits for the other.
        kafka.loaded[0] = 10_000 * records
        assert found(standstill, BEHIND) == ""
        await asyncio.sleep(0.001)


async def test_a_changelog_of_which_nothing_comes_is_found_though_others_work(
    standstill: Standstill, work: Work, kafka: Kafka
) -> None:
    work.running, work.unloaded, kafka.loaded = 1, [1], {1: 10}
    await standstill.ask()
    found(standstill)
    for records in range(3):
        kafka.loaded[0] = records
        assert await found_later(standstill) == "nothing"


async def test_a_partition_that_is_loaded_now_is_something(standstill: Standstill, work: Work) -> None:
    work.unloaded = [0, 1]
    await standstill.ask()
    assert await found_later(standstill) == "nothing"
    work.unloaded = [1]
    assert found(standstill) == ""
    assert await found_later(standstill) == "nothing"


async def test_a_changelog_may_say_nothing_for_as_long_as_a_hand_over_takes(work: Work, kafka: Kafka) -> None:
    standstill = judge(work, kafka, patience=600.0)
    work.unloaded = [0]
    await standstill.ask()
    assert await found_later(standstill) == ""


async def test_waiting_for_a_changelog_begins_anew_with_a_rebalance(standstill: Standstill, work: Work) -> None:
    work.unloaded = [0]
    await standstill.ask()
    assert await found_later(standstill) == "nothing"
    work.rebalances += 1
    assert found(standstill) == ""


async def test_before_kafka_has_answered_nothing_is_found(standstill: Standstill) -> None:
    assert found(standstill, BEHIND, DISOBEYED) == ""


@pytest.mark.parametrize("how", ["answers", "silent", "failing"])
async def test_while_kafka_is_away_nothing_is_found(standstill: Standstill, kafka: Kafka, work: Work, how: str) -> None:
    work.lanes, work.ready = 2, 2
    await standstill.ask()
    setattr(kafka, how, how != "answers")
    await standstill.ask()
    assert found(standstill, BEHIND, DISOBEYED) == ""
    setattr(kafka, how, how == "answers")
    await standstill.ask()
    assert found(standstill, BEHIND, DISOBEYED) == "work, commands"


@pytest.mark.parametrize("how", ["answers", "failing"])
async def test_waiting_for_a_changelog_begins_anew_when_kafka_is_back(
    standstill: Standstill, kafka: Kafka, work: Work, how: str
) -> None:
    work.unloaded = [0]
    await standstill.ask()
    assert await found_later(standstill) == "nothing"
    setattr(kafka, how, how != "answers")
    await standstill.ask()
    assert await found_later(standstill) == ""
    setattr(kafka, how, how == "answers")
    await standstill.ask()
    assert found(standstill) == ""
    assert await found_later(standstill) == "nothing"
