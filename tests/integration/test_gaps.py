"""What never came to an agent is read from Apache Kafka once more."""

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete

from agents.replay import reread
from jabba.kafka.reader import LogReader
from jabba.kafka.security import KafkaAccess, KafkaSecurity
from jabba.kafka.writer import Log
from jabba.messages.topics import EMPTY_MESSAGE
from tests.support.kafka import KafkaServer
from tests.support.logged import logged
from tests.support.processes import eventually

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
    return [(message.offset, message.value) async for message in reread(access, topic, 1, offsets)]


async def test_just_these_offsets_are_read(access: KafkaAccess, topic: str) -> None:
    assert await read(access, topic, range(7, 9)) == [(7, b"7"), (8, b"8")]
    assert await read(access, topic, range(MESSAGES)) == [(n, b"%d" % n) for n in range(MESSAGES)]


async def test_what_retention_has_taken_is_told_as_lost(
    access: KafkaAccess, topic: str, admin: AIOKafkaAdminClient, caplog: pytest.LogCaptureFixture
) -> None:
    await admin.delete_records({TopicPartition(topic, 1): RecordsToDelete(10)})
    assert [offset for offset, _ in await read(access, topic, range(8, 12))] == [10, 11]
    assert f"topic={topic} partition=1 lost_from=8 offset=10" in logged(caplog)
    assert await read(access, topic, range(2, 5)) == [(4, EMPTY_MESSAGE)]
    assert "lost_from=2 " in logged(caplog)
    caplog.clear()
    assert len(await read(access, topic, range(10, 12))) == 2
    assert "lost" not in logged(caplog)


async def test_the_end_of_a_transaction_is_not_waited_for(access: KafkaAccess, topic: str, kafka: KafkaServer) -> None:
    """Only somebody else's producer leaves one: it is no message, and nothing may ever come behind it."""
    async with (
        AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, transactional_id=topic) as producer,
        producer.transaction(),
    ):
        await producer.send_and_wait(topic, b"foreign", partition=1)

    async def is_marked() -> bool:
        async with LogReader(access, topic) as reader:
            return (await reader.ends())[1] == MESSAGES + 2

    await eventually(is_marked, what="end of the transaction, which its producer does not wait for")
    end = (MESSAGES + 1, EMPTY_MESSAGE)
    assert await read(access, topic, range(MESSAGES, MESSAGES + 2)) == [(MESSAGES, b"foreign"), end]
    assert await read(access, topic, range(MESSAGES + 1, MESSAGES + 2)) == [end]


async def test_what_a_log_has_lost_is_not_waited_for(access: KafkaAccess, topic: str) -> None:
    assert await read(access, topic, range(MESSAGES - 1, MESSAGES + 9)) == [(MESSAGES - 1, b"%d" % (MESSAGES - 1))]
    assert await read(access, topic, range(MESSAGES + 1, MESSAGES + 9)) == []
