"""What never came to an agent is read from Apache Kafka once more."""

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete

from agents.gaps import reread
from jabba.kafka import KafkaAccess, KafkaSecurity
from jabba.log import Log
from tests.support.kafka import KafkaServer

MESSAGES = 50


@pytest.fixture
def access(kafka: KafkaServer) -> KafkaAccess:
    return KafkaAccess(kafka.bootstrap, KafkaSecurity())


@pytest.fixture
async def admin(kafka: KafkaServer) -> AsyncIterator[AIOKafkaAdminClient]:
    client = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await client.start()
    yield client
    await client.close()


@pytest.fixture
async def topic(access: KafkaAccess, admin: AIOKafkaAdminClient) -> str:
    name = f"gaps-{uuid4().hex[:8]}"
    await admin.create_topics([NewTopic(name, 2, 1)])
    async with Log(access) as log:
        for number in range(MESSAGES):
            await log.append(name, 1, b"%d" % number)
    return name


async def read(access: KafkaAccess, topic: str, offsets: range) -> list[tuple[int, bytes]]:
    return [message async for message in reread(access, topic, 1, offsets)]


async def test_just_these_offsets_are_read(access: KafkaAccess, topic: str) -> None:
    assert await read(access, topic, range(7, 9)) == [(7, b"7"), (8, b"8")]
    assert await read(access, topic, range(MESSAGES)) == [(n, b"%d" % n) for n in range(MESSAGES)]


async def test_what_retention_has_taken_is_passed_over(
    access: KafkaAccess, topic: str, admin: AIOKafkaAdminClient
) -> None:
    await admin.delete_records({TopicPartition(topic, 1): RecordsToDelete(10)})
    assert [offset for offset, _ in await read(access, topic, range(8, 12))] == [10, 11]
    assert await read(access, topic, range(2, 5)) == []
