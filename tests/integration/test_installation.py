"""What `jabba init` makes of topics that are there already, and what nobody may change of them."""

import asyncio
import logging
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from jabba.errors import NotReady
from jabba.kafka import admin as kafka_admin
from jabba.kafka.admin import RETENTION, topic_configs
from jabba.settings import Settings
from tests.support.kafka import KafkaServer
from tests.support.processes import jabba_process


@pytest.fixture
async def settings(kafka: KafkaServer) -> Settings:
    made = settings_of(kafka, prefix=f"i-{uuid4().hex[:12]}")
    await kafka_admin.create_topics(made.cluster)
    return made


def settings_of(kafka: KafkaServer, **given: Any) -> Settings:
    return Settings(kafka=kafka.bootstrap, **{"partitions": 2, **given})


async def configs(settings: Settings, topic: str, changed: dict[str, str] | None = None) -> dict[str, str]:
    """Return the configuration of a topic, once these values, and no others, were set for it."""
    resource = (ConfigResourceType.TOPIC, topic)
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka)
    await admin.start()
    try:
        if changed is not None:
            await admin.alter_configs([ConfigResource(*resource, changed)])
        (answer,) = await admin.describe_configs([ConfigResource(*resource)])
    finally:
        await admin.close()
    return {entry[0]: entry[1] for entry in answer.resources[0][4]}


WEEK = str(7 * 24 * 3600 * 1000)


@pytest.mark.parametrize("given, kept", [("999999999", "999999999"), ("-1", "-1"), ("604799999", WEEK)])
async def test_a_retention_is_raised_and_never_shortened(
    settings: Settings, given: str, kept: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "jabba.kafka.admin")
    topic = settings.topics.tasks
    await configs(settings, topic, {RETENTION: given})
    await kafka_admin.create_topics(settings.cluster)
    expected = topic_configs(settings.topics)[topic] | {RETENTION: kept}
    assert (await configs(settings, topic)).items() >= expected.items()
    assert ("topic keeps messages for longer" in caplog.text) == (given == kept)


async def grow(settings: Settings, *topics: str) -> None:
    """Give topics a partition more, as Kafka's own tools do."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka)
    await admin.start()
    try:
        await admin.create_partitions({topic: NewPartitions(3) for topic in topics})
    finally:
        await admin.close()


async def test_another_number_of_partitions_is_refused_where_topics_have_one(
    kafka: KafkaServer, settings: Settings
) -> None:
    with pytest.raises(NotReady, match=r"JABBA_PARTITIONS is 3, but the topics have 2 .* Set it to 2"):
        await kafka_admin.create_topics(settings_of(kafka, prefix=settings.prefix, partitions=3).cluster)
    await kafka_admin.create_topics(Settings(kafka=kafka.bootstrap, prefix=settings.prefix).cluster)
    assert await kafka_admin.check_topics(settings.cluster) == 2


async def test_a_topic_that_is_missing_gets_as_many_partitions_as_the_others(
    kafka: KafkaServer, settings: Settings
) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka)
    await admin.start()
    try:
        await admin.delete_topics([settings.topics.dead_letters])
    finally:
        await admin.close()
    await kafka_admin.create_topics(Settings(kafka=kafka.bootstrap, prefix=settings.prefix).cluster)
    assert (await kafka_admin.partition_counts(settings.kafka_access))[settings.topics.dead_letters] == 2


async def test_partitions_that_were_added_are_refused_at_every_start(settings: Settings) -> None:
    await grow(settings, settings.topics.tasks)
    for start in (kafka_admin.create_topics, kafka_admin.check_topics):
        with pytest.raises(NotReady, match=r"the same number of partitions: .*: 3.*docs/deploy\.md has what to do"):
            await start(settings.cluster)
    await grow(settings, *(topic_configs(settings.topics).keys() - {settings.topics.tasks}))
    anyhow = Settings(kafka=settings.kafka, prefix=settings.prefix)
    for start in (kafka_admin.create_topics, kafka_admin.check_topics):
        with pytest.raises(NotReady, match=rf"{settings.topics.tasks} has 3 partitions, and had 2; .*docs/deploy\.md"):
            await start(anyhow.cluster)


def test_a_worker_that_is_given_a_partition_more_ends_before_it_commits_there(
    kafka: KafkaServer, tmp_path: Path
) -> None:
    settings = settings_of(kafka, prefix=f"i-{uuid4().hex[:12]}")
    asyncio.run(kafka_admin.create_topics(settings.cluster))
    # So soon Kafka's client looks whether there are more.
    environment = settings.as_environ() | {"CONSUMER_METADATA_MAX_AGE_MS": "500"}
    with jabba_process("worker", environment=environment, log=tmp_path / "worker.log").start() as worker:
        worker.wait_for_line("worker ready", 60)
        asyncio.run(grow(settings, *topic_configs(settings.topics)))
        assert worker.wait_for_exit(60) == 1
    assert "the topics had 2 partitions, and have more" in worker.output()
    with pytest.raises(NotReady, match="has 3 partitions, and had 2"):
        asyncio.run(kafka_admin.check_topics(settings.cluster))
