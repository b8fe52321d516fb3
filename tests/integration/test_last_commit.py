"""What a worker commits once it has left its group."""

from uuid import uuid4

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from faust.types import TP

from agents.consumer import commit_outside
from jabba.kafka.committed_offsets import marked
from jabba.kafka.writer import Log
from jabba.settings import Settings
from tests.support.kafka import KafkaServer


@pytest.mark.parametrize("known, own, left", [(None, 3, 3), (2, 3, 3), (3, 3, 3), (4, 3, 4)])
async def test_it_never_takes_back_what_others_have_committed(
    kafka: KafkaServer, known: int | None, own: int, left: int
) -> None:
    settings = Settings(kafka=kafka.bootstrap, prefix=f"last_{uuid4().hex[:8]}")
    topic = settings.topics.tasks
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(topic, 1, 1)])
    await admin.close()
    async with Log(settings.kafka_access) as log:
        for _ in range(4):
            await log.append(topic, 0, b"{}")
    place = TopicPartition(topic, 0)
    async with AIOKafkaConsumer(
        bootstrap_servers=kafka.bootstrap, group_id=settings.topics.worker_group, enable_auto_commit=False
    ) as consumer:
        consumer.assign([place])
        if known is not None:
            await consumer.commit({place: known})
        await commit_outside(settings, {TP(topic, 0): marked(own, 0)})
        assert await consumer.committed(place) == left
