"""What becomes of many jobs when Kafka is away: one waits, the others do not."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable

import pytest

from jabba.errors import NotReady, Refused, Unavailable
from jabba.jobs.models import Limits
from jabba.producer.submission import Prepared, Submitted, prepare
from tests.support.processes import eventually
from web import circuit_breaker
from web.circuit_breaker import CircuitBreaker

JOB = prepare({"type": "t", "tasks": ["local", "m", "f"]}, Limits(), time.time())


class Kafka:
    """A Kafka that may be away, and answers a job when it is let."""

    def __init__(self) -> None:
        self.away = False
        self.lets_in = True
        self.forbids = False
        self.answers = asyncio.Event()
        self.answers.set()
        self.sent = 0
        self.said: list[Exception] = []

    async def send(self, prepared: Prepared) -> Submitted:
        self.sent += 1
        away = self.away
        await self.answers.wait()
        if self.forbids:
            raise Refused("no right to write")
        if away:
            raise Unavailable("not acknowledged")
        return Submitted(prepared.job.id, {}, prepared.job)

    async def ask(self) -> None:
        await asyncio.sleep(0.001)
        if not self.lets_in:
            raise Refused("wrong password")
        if self.said:
            raise self.said.pop(0)
        if self.away:
            raise Unavailable("no answer")


@pytest.fixture
def kafka() -> Kafka:
    return Kafka()


@pytest.fixture
async def sender(kafka: Kafka, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[CircuitBreaker]:
    monkeypatch.setattr(circuit_breaker, "_PAUSE_SECONDS", 0.001)
    async with CircuitBreaker(kafka.send, kafka.ask) as made:
        yield made


async def is_over(sender: CircuitBreaker) -> None:
    async def over() -> bool:
        return not sender.lasts

    await eventually(over, 10, "end of the outage")


async def _negated(asked: Awaitable[bool]) -> bool:
    return not await asked


async def test_behind_a_job_that_was_not_acknowledged_none_is_sent_until_kafka_answers(
    kafka: Kafka, sender: CircuitBreaker
) -> None:
    await sender.send(JOB)
    kafka.away = True
    for message in ["not acknowledged"] + [f"job {JOB.job.id} may be sent again"] * 5:
        with pytest.raises(Unavailable, match=message):
            await sender.send(JOB)
    assert kafka.sent == 2

    kafka.away = False
    await is_over(sender)
    await sender.send(JOB)
    assert kafka.sent == 3


async def test_a_job_that_was_sent_before_kafka_answered_says_nothing_of_it_now(
    kafka: Kafka, sender: CircuitBreaker
) -> None:
    kafka.away = True
    kafka.answers.clear()
    late = asyncio.create_task(sender.send(JOB))
    await asyncio.sleep(0)
    held, kafka.answers = kafka.answers, asyncio.Event()
    kafka.answers.set()
    with pytest.raises(Unavailable):
        await sender.send(JOB)
    kafka.away = False
    await is_over(sender)

    held.set()
    with pytest.raises(Unavailable):
        await late
    assert not sender.lasts
    await sender.send(JOB)


async def test_a_topic_that_is_missing_is_an_answer(kafka: Kafka, sender: CircuitBreaker) -> None:
    kafka.away = True
    kafka.said = [Unavailable("no answer"), NotReady("run init")]
    with pytest.raises(Unavailable):
        await sender.send(JOB)
    await is_over(sender)


async def test_while_kafka_lets_nobody_in_it_is_asked_on_and_callers_hear_of_that(
    kafka: Kafka, sender: CircuitBreaker
) -> None:
    kafka.away = True
    kafka.lets_in = False
    with pytest.raises(Unavailable, match="not acknowledged"):
        await sender.send(JOB)

    async def refused() -> bool:
        with pytest.raises(Unavailable) as told:
            await sender.send(JOB)
        return isinstance(told.value, Refused)

    await eventually(refused, 10, "refusal")
    kafka.lets_in = True
    await eventually(lambda: _negated(refused()), 10, "Kafka that is away only")
    assert kafka.sent == 1

    kafka.away = False
    await is_over(sender)
    await sender.send(JOB)


async def test_behind_a_job_that_kafka_does_not_allow_none_is_sent_at_once(
    kafka: Kafka, sender: CircuitBreaker
) -> None:
    """Asking tells only whether Kafka is there."""
    kafka.forbids = True
    for _ in range(5):
        with pytest.raises(Refused):
            await sender.send(JOB)
    assert kafka.sent == 1
    kafka.forbids = False
    await is_over(sender)
    await sender.send(JOB)


async def test_whoever_leaves_asks_no_more(kafka: Kafka) -> None:
    kafka.away = True
    async with CircuitBreaker(kafka.send, kafka.ask) as sender:
        with pytest.raises(Unavailable):
            await sender.send(JOB)
        assert sender.lasts
    assert not sender.lasts
