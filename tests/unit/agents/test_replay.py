from collections.abc import AsyncIterator

import pytest

from agents.replay import Found, Intake, Message
from jabba.engine.engine import Origin
from jabba.kafka.reader import LogMessage


class Log:
    """A partition whose messages come to the agent, or do not."""

    def __init__(self) -> None:
        self.next = 5
        self.taken: list[int] = []
        self.intake = Intake("tasks", self.take_in, self.missing, self.reread)

    async def take_in(self, message: Message) -> None:
        self.taken.append(message.offset)
        self.next = max(self.next, message.offset + 1)

    async def missing(self, origin: Origin) -> range:
        return range(self.next, origin.offset)

    async def reread(self, _partition: int, offsets: range) -> AsyncIterator[LogMessage]:
        for offset in offsets:
            yield LogMessage(0, offset, b"[]", 1000)

    async def comes(self, offset: int) -> None:
        await self.intake.take(Found("tasks", 0, offset, 1, b"[]", 1.0))

    async def look(self, end: int, generation: int = 1) -> None:
        await self.intake.look(generation, {0: end})


@pytest.fixture
def log() -> Log:
    return Log()


async def test_what_comes_in_order_is_taken_in_once(log: Log) -> None:
    for offset in (5, 6, 7):
        await log.comes(offset)
    assert log.taken == [5, 6, 7]


async def test_what_did_not_come_is_taken_in_before_what_is_behind_it(log: Log) -> None:
    await log.comes(5)
    await log.comes(8)
    assert log.taken == [5, 6, 7, 8]


async def test_the_first_message_of_a_generation_may_be_missing_too(log: Log) -> None:
    await log.comes(6)
    assert log.taken == [5, 6]


async def test_a_last_message_that_does_not_come_is_taken_in_at_the_second_look(log: Log) -> None:
    await log.comes(5)
    await log.look(7)
    assert log.taken == [5]
    await log.look(7)
    assert log.taken == [5, 6]


async def test_while_messages_come_none_is_read_again(log: Log) -> None:
    for offset in (5, 6, 7):
        await log.comes(offset)
        await log.look(1_000_000)
    assert log.taken == [5, 6, 7]


async def test_a_look_of_another_generation_is_the_first(log: Log) -> None:
    await log.look(7, generation=1)
    await log.look(7, generation=2)
    assert log.taken == []


async def test_a_stuck_backlog_is_read_in_parts(log: Log) -> None:
    await log.look(1_000_000)
    await log.look(1_000_000)
    assert log.taken == list(range(5, 105))
