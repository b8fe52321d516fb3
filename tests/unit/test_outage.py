"""What becomes of many jobs when Kafka is away: one waits, the others do not."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from jabba.errors import NotReady, Unavailable
from jabba.models import Limits
from jabba.submission import Prepared, Submitted, prepare
from tests.support.processes import eventually
from web import outage
from web.outage import Outage

JOB = prepare({"type": "t", "tasks": ["local", "m", "f"]}, Limits(), time.time())


class Kafka:
    """A Kafka that may be away, and answers a job when it is let."""

    def __init__(self) -> None:
        self.away = False
        self.answers = asyncio.Event()
        self.answers.set()
        self.sent = 0
        self.said: list[Exception] = []

    async def send(self, prepared: Prepared) -> Submitted:
        self.sent += 1
        away = self.away
        await self.answers.wait()
        if away:
            raise Unavailable("not acknowledged")
        return Submitted(prepared.job.id, {}, prepared.job)

    async def ask(self) -> None:
        await asyncio.sleep(0.001)
        if self.said:
            raise self.said.pop(0)
        if self.away:
            raise Unavailable("no answer")


@pytest.fixture
def kafka() -> Kafka:
    return Kafka()


@pytest.fixture
async def sender(kafka: Kafka, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Outage]:
    monkeypatch.setattr(outage, "_PAUSE_SECONDS", 0.001)
    async with Outage(kafka.send, kafka.ask) as made:
        yield made


async def is_over(sender: Outage) -> None:
    async def over() -> bool:
        return not sender.lasts

    await eventually(over, 10, "end of the outage")


async def test_behind_a_job_that_was_not_acknowledged_none_is_sent_until_kafka_answers(
    kafka: Kafka, sender: Outage
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


async def test_a_job_that_was_sent_before_kafka_answered_says_nothing_of_it_now(kafka: Kafka, sender: Outage) -> None:
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


async def test_a_topic_that_is_missing_is_an_answer(kafka: Kafka, sender: Outage) -> None:
    kafka.away = True
    kafka.said = [Unavailable("no answer"), NotReady("run init")]
    with pytest.raises(Unavailable):
        await sender.send(JOB)
    await is_over(sender)


async def test_whoever_leaves_asks_no_more(kafka: Kafka) -> None:
    kafka.away = True
    async with Outage(kafka.send, kafka.ask) as sender:
        with pytest.raises(Unavailable):
            await sender.send(JOB)
        assert sender.lasts
    assert not sender.lasts
