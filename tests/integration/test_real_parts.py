"""The real parts are real: they keep what they acknowledged when they are killed."""

from uuid import uuid4

import aiopg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from tests.support.kafka import KafkaServer
from tests.support.postgres import PostgresServer


@pytest.fixture
async def topic(kafka: KafkaServer) -> str:
    name = f"real-{uuid4().hex}"
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(name, num_partitions=1, replication_factor=1)])
    await admin.close()
    return name


async def send(kafka: KafkaServer, topic: str, *values: bytes) -> None:
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, acks="all", enable_idempotence=True) as producer:
        for value in values:
            await producer.send_and_wait(topic, value)


async def read(kafka: KafkaServer, topic: str) -> list[bytes]:
    async with AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest") as consumer:
        partition = TopicPartition(topic, 0)
        consumer.assign([partition])
        end = (await consumer.end_offsets([partition]))[partition]
        return [(await consumer.getone()).value for _ in range(end)]


async def query(dsn: str, sql: str) -> list[tuple[object, ...]]:
    async with aiopg.connect(dsn) as connection, connection.cursor() as cursor:
        await cursor.execute(sql)
        return list(await cursor.fetchall()) if cursor.description else []


async def test_kafka_answers_what_it_was_sent(kafka: KafkaServer, topic: str) -> None:
    await send(kafka, topic, b"one", b"two")

    assert await read(kafka, topic) == [b"one", b"two"]


async def test_kafka_keeps_its_data_and_address_when_killed(kafka: KafkaServer, topic: str) -> None:
    await send(kafka, topic, b"before")
    first = kafka.process.pid

    kafka.kill()
    kafka.start()
    await send(kafka, topic, b"after")

    assert kafka.process.pid != first
    assert await read(kafka, topic) == [b"before", b"after"]


async def test_kafka_restarts_in_order(kafka: KafkaServer, topic: str) -> None:
    await send(kafka, topic, b"before")

    kafka.restart()

    assert await read(kafka, topic) == [b"before"]


async def test_postgres_keeps_what_was_committed_when_killed(postgres: PostgresServer, database: str) -> None:
    await query(database, "create table kept (value text)")
    await query(database, "insert into kept values ('committed')")

    postgres.kill()
    postgres.start()

    assert await query(database, "select value from kept") == [("committed",)]


async def test_postgres_restarts_in_order(postgres: PostgresServer, database: str) -> None:
    await query(database, "create table kept (value text)")

    postgres.restart()

    assert await query(database, "select count(*) from kept") == [(0,)]


async def test_every_test_has_a_database_of_its_own(database: str) -> None:
    assert await query(database, "select count(*) from pg_tables where schemaname = 'public'") == [(0,)]


async def test_a_database_can_be_a_copy_of_another(postgres: PostgresServer, database: str) -> None:
    await query(database, "create table kept (value text)")
    name = f"copy_{uuid4().hex}"

    copy = postgres.create_database(name, template=database.rpartition("/")[2])

    assert await query(copy, "select count(*) from kept") == [(0,)]
    postgres.drop_database(name)
