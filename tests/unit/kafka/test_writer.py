"""The producer behind the log: when it is replaced, and what becomes of those who wait for it."""

import asyncio
from typing import Any, ClassVar, NamedTuple

import pytest
from aiokafka.errors import KafkaError, TopicAuthorizationFailedError, UnknownTopicOrPartitionError

import jabba.kafka.writer
from jabba.errors import Refused
from jabba.kafka.security import KafkaAccess
from jabba.kafka.writer import Log

SECONDS = 5.0


class Acknowledged(NamedTuple):
    offset: int


class Client:
    async def bootstrap(self) -> None: ...

    async def close(self) -> None: ...


class Sender:
    def __init__(self) -> None:
        self.sender_task = asyncio.create_task(asyncio.Event().wait())


class FakeProducer:
    """Answers as ``answers`` tells for each topic: an offset, an error, or None for ever; ``flushes`` when it may."""

    made: ClassVar[list["FakeProducer"]] = []
    answers: ClassVar[dict[str, int | KafkaError | None]] = {}
    flushes: ClassVar[asyncio.Event]

    def __init__(self, **_: Any) -> None:
        self.client = Client()
        self.closed = False
        self._flushes = FakeProducer.flushes
        FakeProducer.made.append(self)

    async def start(self) -> None:
        self._sender = Sender()

    async def stop(self) -> None:
        flushing = asyncio.create_task(self._flushes.wait())
        sender = self._sender.sender_task
        await asyncio.wait({flushing, sender}, return_when=asyncio.FIRST_COMPLETED)
        sender.cancel()
        flushing.cancel()
        self.closed = True

    async def send_and_wait(self, topic: str, *_: Any, **__: Any) -> Acknowledged:
        answer = FakeProducer.answers[topic]
        if answer is None:
            await asyncio.get_running_loop().create_future()
        if isinstance(answer, KafkaError):
            raise answer
        assert isinstance(answer, int)
        return Acknowledged(answer)


@pytest.fixture
async def log(monkeypatch: pytest.MonkeyPatch) -> Log:
    FakeProducer.made.clear()
    FakeProducer.answers.clear()
    FakeProducer.flushes = asyncio.Event()
    monkeypatch.setattr(jabba.kafka.writer, "AIOKafkaProducer", FakeProducer)
    return Log(KafkaAccess("nowhere:1"))


async def test_who_waits_for_a_producer_that_is_discarded_is_served_by_the_next_one(log: Log) -> None:
    FakeProducer.flushes.set()
    FakeProducer.answers |= {"unknown": None, "failing": UnknownTopicOrPartitionError()}
    waiting = asyncio.create_task(log.append("unknown", 0, b""))
    await until(lambda: len(FakeProducer.made) == 1)
    failing = asyncio.create_task(log.append("failing", 0, b""))
    await until(lambda: FakeProducer.made[0].closed)
    FakeProducer.answers |= {"unknown": 1, "failing": 2}
    async with asyncio.timeout(SECONDS):
        assert (await waiting, await failing) == (1, 2)


async def test_a_discarded_producer_that_is_slow_to_flush_is_closed_once_it_has(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jabba.kafka.writer, "_DISCARD_SECONDS", 0.01)
    FakeProducer.answers["topic"] = UnknownTopicOrPartitionError()
    appending = asyncio.create_task(log.append("topic", 0, b""))
    await until(lambda: len(FakeProducer.made) > 1)
    appending.cancel()
    FakeProducer.flushes.set()
    await until(lambda: FakeProducer.made[0].closed)


async def test_stopping_gives_up_what_is_not_acknowledged(
    log: Log, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(jabba.kafka.writer, "_STOP_SECONDS", 0.01)
    FakeProducer.answers["topic"] = 1
    await log.append("topic", 0, b"")
    async with asyncio.timeout(SECONDS):
        await log.stop()
    assert FakeProducer.made[0].closed
    assert "closing without the acknowledgement of all messages" in caplog.text


async def test_who_may_not_write_and_tries_again_at_once_makes_few_producers(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept = list[float]()
    sleep = asyncio.sleep

    async def briefly(seconds: float) -> None:
        slept.append(seconds)
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", briefly)
    FakeProducer.flushes.set()
    FakeProducer.answers |= {"forbidden": TopicAuthorizationFailedError(), "allowed": 7}
    for _ in range(6):
        with pytest.raises(Refused):
            await log.append("forbidden", 0, b"", within=SECONDS, once=True)
        assert await log.append("allowed", 0, b"") == 7
    assert slept == [0.2, 0.4, 0.8, 1.6, 2.0, 2.0]

    FakeProducer.answers["forbidden"] = 8
    assert await log.append("forbidden", 0, b"") == 8
    FakeProducer.answers["forbidden"] = TopicAuthorizationFailedError()
    with pytest.raises(Refused):
        await log.append("forbidden", 0, b"", within=SECONDS)
    assert slept[6:] == [0.2]


async def until(condition: Any) -> None:
    async with asyncio.timeout(SECONDS):
        while not condition():  # noqa: ASYNC110 — a producer tells nobody
            await asyncio.sleep(0.01)
