"""Two brokers for the same tests, so that differences show: Apache Kafka, and the embedded one."""

import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from jabba.local.broker import EmbeddedBroker

MakeTopic = Callable[..., Awaitable[str]]


@pytest.fixture(scope="session")
def embedded() -> Iterator[EmbeddedBroker]:
    """An embedded broker; create the topics you use under names of your own."""
    with tempfile.TemporaryDirectory(prefix="jabba-broker-") as directory:
        broker = EmbeddedBroker(Path(directory))
        broker.start()
        yield broker
        broker.stop()


@pytest.fixture(params=["kafka", "embedded"])
def bootstrap(request: pytest.FixtureRequest) -> str:
    """The address of a broker, of the one and of the other."""
    return str(request.getfixturevalue(request.param).bootstrap)


@pytest.fixture
async def admin(bootstrap: str) -> AsyncIterator[AIOKafkaAdminClient]:
    """An administrator of the broker."""
    client = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await client.start()
    yield client
    await client.close()


@pytest.fixture
def make_topic(bootstrap: str, admin: AIOKafkaAdminClient) -> MakeTopic:
    """Create a topic of a new name with so many partitions and this configuration; return its name."""

    async def make(partitions: int = 1, **config: str) -> str:
        name = f"topic-{uuid4().hex}"
        configs = {key.replace("_", "."): value for key, value in config.items()}
        answer = await admin.create_topics([NewTopic(name, partitions, 1, topic_configs=configs)])
        assert [code for _, code, *_ in answer.topic_errors] == [0]
        # A broker takes its partitions over a moment later, and tells whoever asks before that it has none.
        async with AIOKafkaConsumer(bootstrap_servers=bootstrap) as consumer:
            await consumer.end_offsets([TopicPartition(name, partition) for partition in range(partitions)])
        return name

    return make
