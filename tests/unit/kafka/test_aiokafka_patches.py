"""A broker that was held up knows of no broker for a moment, itself included, and says so to whoever comes then."""

import asyncio
from typing import Any

import aiokafka.client
import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.metadata import MetadataResponse_v1
from faust.types import TP

from agents.stall_detection import extent_of
from jabba.errors import Unavailable
from jabba.kafka.security import KafkaAccess


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


@pytest.fixture(autouse=True)
def connections(monkeypatch: pytest.MonkeyPatch) -> list[Connection]:
    """Let every client find such a broker."""
    made: list[Connection] = []

    async def connect(*_: Any, **__: Any) -> Connection:
        made.append(Connection())
        return made[-1]

    monkeypatch.setattr(aiokafka.client, "create_conn", connect)
    return made


async def test_a_client_that_gets_to_know_no_broker_has_not_started(connections: list[Connection]) -> None:
    consumer = AIOKafkaConsumer(bootstrap_servers="127.0.0.1:1", group_id="any")
    with pytest.raises(KafkaConnectionError):
        await consumer.start()
    await consumer.stop()
    assert [one.closed for one in connections] == [True]


async def test_a_worker_that_asks_it_for_the_extent_of_the_log_asks_again_later() -> None:
    with pytest.raises(Unavailable):
        await extent_of(KafkaAccess("127.0.0.1:1"), "any", [TP("tasks", 0)])
