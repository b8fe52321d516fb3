"""Brokers that have just started: they know of no broker, themselves included, or still load a group's offsets."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import aiokafka.client
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.errors import GroupAuthorizationFailedError, KafkaConnectionError
from aiokafka.protocol.commit import OffsetFetchResponse_v3
from aiokafka.protocol.metadata import MetadataResponse_v1
from faust.types import TP

from agents.stall_detection import extent_of
from jabba.errors import Unavailable
from jabba.kafka import aiokafka_patches
from jabba.kafka.security import KafkaAccess
from jabba.kafka.writer import Log


class Connection:
    """One to such a broker."""

    def __init__(self) -> None:
        self.closed = False

    async def send(self, _request: Any) -> MetadataResponse_v1:
        return MetadataResponse_v1([], 0, [])

    def connected(self) -> bool:
        return not self.closed

    def close(self, **_: Any) -> asyncio.Future[None]:
        self.closed = True
        closed = asyncio.get_running_loop().create_future()
        closed.set_result(None)
        return closed


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> list[Connection]:
    """Let every client find such a broker."""
    made: list[Connection] = []

    async def connect(*_: Any, **__: Any) -> Connection:
        made.append(Connection())
        return made[-1]

    monkeypatch.setattr(aiokafka.client, "create_conn", connect)
    return made


@pytest.fixture
def as_own_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Correct aiokafka as a process of Jabba's own does."""
    monkeypatch.setattr(AIOKafkaClient, "bootstrap", AIOKafkaClient.bootstrap)
    monkeypatch.setattr(GroupCoordinator, "_send_req", GroupCoordinator._send_req)
    aiokafka_patches.apply()


@pytest.mark.usefixtures("as_own_process")
async def test_a_client_that_gets_to_know_no_broker_has_not_started(connections: list[Connection]) -> None:
    consumer = AIOKafkaConsumer(bootstrap_servers="127.0.0.1:1", group_id="any")
    with pytest.raises(KafkaConnectionError):
        await consumer.start()
    await consumer.stop()
    assert [one.closed for one in connections] == [True]


@pytest.mark.usefixtures("as_own_process", "connections")
async def test_a_worker_that_asks_it_for_the_extent_of_the_log_asks_again_later() -> None:
    with pytest.raises(Unavailable):
        await extent_of(KafkaAccess("127.0.0.1:1"), "any", [TP("tasks", 0)])


async def test_a_producer_in_any_process_does_not_start_either(connections: list[Connection]) -> None:
    async with Log(KafkaAccess("127.0.0.1:1")) as log:
        with pytest.raises(Unavailable):
            await log.partitions("any", within=0.1)
    assert connections
    assert all(one.closed for one in connections)


PLACE = TopicPartition("tasks", 0)
LOADING, NOT_COORDINATOR, NOT_AVAILABLE, NOT_ALLOWED = 14, 16, 15, 30
KNOWN = OffsetFetchResponse_v3(0, [("tasks", [(0, 7, "", 0)])], 0)


def coordinator(*answers: Any) -> tuple[GroupCoordinator, list[Any]]:
    """Make one that gets these answers, and knows its node again whenever it has lost it."""
    left = list(answers)

    async def send(*_: Any, **__: Any) -> Any:
        return left.pop(0)

    made = cast("Any", object.__new__(GroupCoordinator))
    made.__dict__.update(group_id="g", coordinator_id=1, _retry_backoff_ms=1, _client=SimpleNamespace(send=send))

    async def know() -> None:
        if made.coordinator_id is None:
            made.coordinator_id = 1
        made._coordinator_dead_fut = asyncio.get_running_loop().create_future()

    made.ensure_coordinator_known = know
    return made, left


@pytest.mark.usefixtures("as_own_process")
@pytest.mark.parametrize("code", [LOADING, NOT_COORDINATOR, NOT_AVAILABLE])
async def test_they_are_asked_for_again_until_they_are_known(code: int) -> None:
    asked, left = coordinator(OffsetFetchResponse_v3(0, [], code), OffsetFetchResponse_v3(0, [], code), KNOWN)
    offsets = await asked.fetch_committed_offsets([PLACE])
    assert offsets[PLACE].offset == 7
    assert left == []


@pytest.mark.usefixtures("as_own_process")
async def test_a_refusal_is_told() -> None:
    asked, _ = coordinator(OffsetFetchResponse_v3(0, [], NOT_ALLOWED), KNOWN)
    with pytest.raises(GroupAuthorizationFailedError):
        await asked.fetch_committed_offsets([PLACE])
