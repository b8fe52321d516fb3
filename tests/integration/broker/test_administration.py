"""Topics, their configurations, and what Jabba makes of them."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.metadata import MetadataRequest

from jabba.errors import NotReady
from jabba.kafka import admin as kafka_admin
from jabba.settings import Settings
from tests.integration.broker.conftest import MakeTopic
from tests.support.processes import eventually

SET_FOR_THE_TOPIC = 1


@pytest.fixture
def settings(bootstrap: str) -> Settings:
    return Settings(kafka=bootstrap, prefix=f"jabba-{uuid4().hex}", partitions=3)


def topic_resource(name: str, configs: dict[str, str] | None = None) -> ConfigResource:
    return ConfigResource(ConfigResourceType.TOPIC, name, configs)


async def overrides(admin: AIOKafkaAdminClient, name: str) -> dict[str, str]:
    (described,) = await admin.describe_configs([topic_resource(name)])
    ((error, _, _, _, entries),) = described.resources
    assert error == 0
    return {entry[0]: entry[1] for entry in entries if entry[3] == SET_FOR_THE_TOPIC}


async def test_topics_are_listed_and_described(admin: AIOKafkaAdminClient, make_topic: MakeTopic) -> None:
    name = await make_topic(3)

    assert name in await admin.list_topics()
    (described,) = await admin.describe_topics([name])
    partitions = {(one["partition"], one["leader"], tuple(one["isr"])) for one in described["partitions"]}
    assert partitions == {(number, 1, (1,)) for number in range(3)}
    assert (described["error_code"], described["is_internal"]) == (0, False)


@pytest.mark.parametrize(
    "error, changed",
    [
        (36, {"name": "known"}),
        (37, {"num_partitions": 0}),
        (38, {"replication_factor": 3}),
        (40, {"topic_configs": {"colour": "blue"}}),
        (40, {"topic_configs": {"retention.ms": "soon"}}),
        (17, {"name": "no/name"}),
    ],
)
async def test_topics_that_cannot_be_are_refused(
    admin: AIOKafkaAdminClient, make_topic: MakeTopic, error: int, changed: dict[str, Any]
) -> None:
    asked: dict[str, Any] = {"name": f"new-{uuid4().hex}", "num_partitions": 1, "replication_factor": 1, **changed}
    if asked["name"] == "known":
        asked["name"] = await make_topic()

    answer = await admin.create_topics([NewTopic(**asked)])

    ((name, code, message),) = answer.topic_errors
    assert (name, code) == (asked["name"], error)
    assert message


async def test_checking_a_topic_does_not_create_it(admin: AIOKafkaAdminClient) -> None:
    name = f"new-{uuid4().hex}"

    answer = await admin.create_topics([NewTopic(name, 1, 1)], validate_only=True)

    assert answer.topic_errors[0][1] == 0
    assert name not in await admin.list_topics()


async def test_asking_for_a_topic_does_not_create_it(bootstrap: str, admin: AIOKafkaAdminClient) -> None:
    name = f"new-{uuid4().hex}"
    client = AIOKafkaClient(bootstrap_servers=bootstrap)
    await client.bootstrap()

    answer = await client.send(1, MetadataRequest([name]))

    await client.close()
    assert [(topic[0], topic[1]) for topic in answer.topics] == [(3, name)]
    assert name not in await admin.list_topics()


async def test_configurations_are_told_and_set(admin: AIOKafkaAdminClient, make_topic: MakeTopic) -> None:
    name = await make_topic(retention_ms="5000", cleanup_policy="delete")
    assert await overrides(admin, name) == {"retention.ms": "5000", "cleanup.policy": "delete"}

    (answer,) = await admin.alter_configs([topic_resource(name, {"max.message.bytes": "77"})])

    assert answer.resources[0][0] == 0

    async def changed() -> bool:
        return await overrides(admin, name) == {"max.message.bytes": "77"}

    await eventually(changed, what="the new configuration")


async def test_only_what_is_asked_for_is_told(admin: AIOKafkaAdminClient, make_topic: MakeTopic) -> None:
    name = await make_topic()

    (described,) = await admin.describe_configs([topic_resource(name, {"cleanup.policy": "", "segment.ms": ""})])

    entries = {entry[0]: entry[1] for entry in described.resources[0][4]}
    assert entries == {"cleanup.policy": "delete", "segment.ms": str(7 * 24 * 3600 * 1000)}


async def test_wrong_configurations_are_refused(admin: AIOKafkaAdminClient, make_topic: MakeTopic) -> None:
    name = await make_topic()

    for wrong in ({"retention.ms": "soon"}, {"colour": "blue"}):
        (answer,) = await admin.alter_configs([topic_resource(name, wrong)])
        assert answer.resources[0][0] == 40
    (unknown,) = await admin.describe_configs([topic_resource("not-there")])
    assert unknown.resources[0][0] == 3
    assert await overrides(admin, name) == {}


async def test_jabba_installs_itself_and_finds_itself_installed(settings: Settings) -> None:
    with pytest.raises(NotReady, match="missing topics"):
        await kafka_admin.check_topics(settings.cluster)

    for _ in range(2):
        await kafka_admin.create_topics(settings.cluster)
        assert await kafka_admin.check_topics(settings.cluster) == 3

    places = [TopicPartition(settings.topics.tasks, number) for number in range(3)]
    async with AIOKafkaConsumer(bootstrap_servers=settings.kafka) as consumer:
        assert await consumer.end_offsets(places) == dict.fromkeys(places, 1)


async def test_jabba_sets_what_an_older_installation_set_otherwise(
    settings: Settings, admin: AIOKafkaAdminClient
) -> None:
    name = settings.topics.tasks
    await admin.create_topics([NewTopic(name, 3, 1, topic_configs={"segment.ms": "1000000", "retention.ms": "5"})])
    await asyncio.sleep(0)

    await kafka_admin.create_topics(settings.cluster)

    expected = {"segment.ms": "1000000", **kafka_admin.topic_configs(settings.topics)[name]}

    async def is_set() -> bool:
        return await overrides(admin, name) == expected

    await eventually(is_set, what="the configuration")
