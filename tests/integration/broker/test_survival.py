"""What the embedded broker keeps when it is killed, and what it deletes when it should."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from jabba.local.broker import BrokerServer, EmbeddedBroker
from jabba.local.ports import free_port
from tests.integration.broker.members import member, member_process
from tests.support.processes import eventually

PARTITIONS = 4


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[EmbeddedBroker]:
    server = EmbeddedBroker(tmp_path / "broker")
    server.start()
    yield server
    server.stop()


async def create(bootstrap: str, topic: str, partitions: int = PARTITIONS, **config: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    configs = {name.replace("_", "."): value for name, value in config.items()}
    await admin.create_topics([NewTopic(topic, partitions, 1, topic_configs=configs)])
    await admin.close()


async def configure(bootstrap: str, topic: str, **config: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    configs = {name.replace("_", "."): value for name, value in config.items()}
    await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs)])
    await admin.close()


@asynccontextmanager
async def reader(bootstrap: str, topic: str, partitions: int = PARTITIONS) -> AsyncIterator[Any]:
    async with AIOKafkaConsumer(
        bootstrap_servers=bootstrap, auto_offset_reset="earliest", enable_auto_commit=False
    ) as consumer:
        consumer.assign([TopicPartition(topic, partition) for partition in range(partitions)])
        yield consumer


async def read_all(bootstrap: str, topic: str, partitions: int = PARTITIONS) -> list[Any]:
    """Read from the first to the last offset of all partitions."""
    messages: list[Any] = []
    async with reader(bootstrap, topic, partitions) as consumer, asyncio.timeout(60):
        ends = await consumer.end_offsets(list(consumer.assignment()))
        while any([await consumer.position(place) < end for place, end in ends.items()]):
            for found in (await consumer.getmany(timeout_ms=200)).values():
                messages += found
    return messages


async def test_a_killed_broker_has_all_it_acknowledged_and_nothing_twice(broker: EmbeddedBroker) -> None:
    """Idempotent producers go on sending while the broker is killed again and again."""
    await create(broker.bootstrap, "t")
    acknowledged: dict[bytes, tuple[int, int]] = {}
    stopping = asyncio.Event()

    async def produce(name: int) -> None:
        number = 0
        async with AIOKafkaProducer(
            bootstrap_servers=broker.bootstrap, acks="all", enable_idempotence=True, retry_backoff_ms=20
        ) as producer:
            while not stopping.is_set():
                values = [b"%d.%d.%d" % (name, number, one) for one in range(20)]
                sent = [await producer.send("t", value, partition=name % PARTITIONS) for value in values]
                for value, answer in zip(values, await asyncio.gather(*sent), strict=True):
                    acknowledged[value] = (answer.partition, answer.offset)
                number += 1

    producing = [asyncio.create_task(produce(name)) for name in range(2 * PARTITIONS)]
    for _ in range(4):
        before = len(acknowledged)
        await eventually(_more_than(acknowledged, before + 500), what="acknowledgements")
        broker.kill()
        await asyncio.to_thread(broker.start)
    await eventually(_more_than(acknowledged, len(acknowledged) + 500), what="acknowledgements")
    stopping.set()
    await asyncio.gather(*producing)

    messages = await read_all(broker.bootstrap, "t")
    found = {message.value: (message.partition, message.offset) for message in messages}
    assert len(found) == len(messages)
    assert found == acknowledged
    for partition in range(PARTITIONS):
        offsets = [message.offset for message in messages if message.partition == partition]
        assert offsets == list(range(len(offsets)))


def _more_than(counted: dict[bytes, Any], least: int) -> Any:
    async def reached() -> bool:
        await asyncio.sleep(0.05)
        return len(counted) > least

    return reached


async def test_members_go_on_without_a_new_round_when_the_broker_was_killed(broker: EmbeddedBroker) -> None:
    await create(broker.bootstrap, "t")
    async with (
        AIOKafkaProducer(bootstrap_servers=broker.bootstrap, acks="all") as producer,
        member(broker.bootstrap, "t") as consumer,
    ):
        await producer.send_and_wait("t", b"before", partition=2)
        assert (await consumer.getone()).value == b"before"
        await consumer.commit()
        joined = (consumer._coordinator.member_id, consumer._coordinator.generation)

        broker.kill()
        await asyncio.to_thread(broker.start)
        await producer.send_and_wait("t", b"after", partition=2)

        async with asyncio.timeout(30):
            assert (await consumer.getone()).value == b"after"
            await consumer.commit()
        assert (consumer._coordinator.member_id, consumer._coordinator.generation) == joined
    async with member(broker.bootstrap, "t") as successor:
        assert await successor.committed(TopicPartition("t", 2)) == 2
        assert successor._coordinator.generation == joined[1] + 2


async def test_members_that_died_with_the_broker_are_not_waited_for(broker: EmbeddedBroker, tmp_path: Path) -> None:
    await create(broker.bootstrap, "t")
    with member_process(broker.bootstrap, "t", tmp_path / "log", session_ms=1000) as victim:
        victim.start()
        await asyncio.to_thread(victim.wait_for_line, f"reads {PARTITIONS}")
        broker.kill()
        victim.kill()
    await asyncio.to_thread(broker.start)

    async with asyncio.timeout(30), member(broker.bootstrap, "t", 1000) as successor:
        assert len(successor.assignment()) == PARTITIONS


async def test_a_stopped_broker_goes_on_where_it_was(broker: EmbeddedBroker) -> None:
    await create(broker.bootstrap, "t", message_timestamp_type="LogAppendTime")
    for value in (b"first", b"second"):
        async with AIOKafkaProducer(bootstrap_servers=broker.bootstrap, enable_idempotence=True) as producer:
            await producer.send_and_wait("t", value, partition=0)
        broker.stop()
        broker.start()

    messages = await read_all(broker.bootstrap, "t")

    assert [(message.offset, message.value, message.timestamp_type) for message in messages] == [
        (0, b"first", 1),
        (1, b"second", 1),
    ]


async def test_garbage_ends_a_connection_and_nothing_else(broker: EmbeddedBroker) -> None:
    await create(broker.bootstrap, "t")
    garbage = [
        b"GET / HTTP/1.1\r\n\r\n",
        struct.pack(">i", -5),
        struct.pack(">i", 3) + b"abc",
        _request(99, 0, b""),
        _request(0, 99, b""),
        _request(3, 5, b"\x7f\xff\xff\xff"),
    ]
    for one in garbage:
        reading, writing = await asyncio.open_connection("127.0.0.1", broker.port)
        writing.write(one)
        writing.write_eof()
        assert await reading.read() == b""
        writing.close()

    async with AIOKafkaProducer(bootstrap_servers=broker.bootstrap) as producer:
        assert (await producer.send_and_wait("t", b"x", partition=0)).offset == 0


async def test_newer_clients_learn_which_versions_there_are(broker: EmbeddedBroker) -> None:
    reading, writing = await asyncio.open_connection("127.0.0.1", broker.port)
    writing.write(_request(18, 3, b"\x00\x05name\x02\x001\x00"))

    (length,) = struct.unpack(">i", await reading.readexactly(4))
    correlation, error, count = struct.unpack(">ihi", (await reading.readexactly(length))[:10])

    assert (correlation, error) == (7, 35)
    assert count > 10
    writing.close()


def _request(key: int, version: int, body: bytes) -> bytes:
    request = struct.pack(">hhih", key, version, 7, 2) + b"me" + body
    return struct.pack(">i", len(request)) + request


async def test_a_client_that_leaves_while_it_waits_is_forgotten(broker: EmbeddedBroker) -> None:
    await create(broker.bootstrap, "t", partitions=1)
    fetch = struct.pack(">iiiibi", -1, 60_000, 1, 1000, 0, 1) + b"\x00\x01t" + struct.pack(">iiqi", 1, 0, 0, 1000)
    with socket.create_connection(("127.0.0.1", broker.port)) as connection:
        connection.sendall(_request(1, 4, fetch))

    async with AIOKafkaProducer(bootstrap_servers=broker.bootstrap) as producer:
        assert (await producer.send_and_wait("t", b"x", partition=0)).offset == 0
    assert broker.running


@asynccontextmanager
async def tidy_server(directory: Path) -> AsyncIterator[BrokerServer]:
    """A broker in this process that deletes and compacts all the time."""
    async with BrokerServer(directory, free_port(), tidy_seconds=0.01) as server:
        yield server


async def test_a_changelog_shrinks_and_keeps_the_last_value_of_every_key(tmp_path: Path) -> None:
    async with tidy_server(tmp_path) as server:
        await create(server.bootstrap, "t", 2, cleanup_policy="compact", segment_bytes="20000", segment_ms="100")
        async with AIOKafkaProducer(bootstrap_servers=server.bootstrap, acks="all") as producer:
            for number in range(100):
                for key in range(10):
                    value = b"%d" % number + b"x" * 100 if key != number % 10 else None
                    await producer.send("t", value, key=b"%d" % key, partition=key % 2)
                await producer.flush()
            expected = {b"%d" % key: (b"99" + b"x" * 100 if key != 9 else None) for key in range(10)}

            async def is_small() -> bool:
                return _bytes_in(tmp_path) < 10_000

            await eventually(is_small, what="a compacted log")
        messages = await read_all(server.bootstrap, "t", 2)

    assert {message.key: message.value for message in messages} == expected
    async with tidy_server(tmp_path) as again:
        assert {message.key: message.value for message in await read_all(again.bootstrap, "t", 2)} == expected


def _bytes_in(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*.log") if path.exists())


async def test_what_has_expired_is_deleted_and_readers_go_on(tmp_path: Path) -> None:
    async with tidy_server(tmp_path) as server:
        await create(server.bootstrap, "t", 1, retention_ms="300", message_timestamp_type="LogAppendTime")
        place = TopicPartition("t", 0)
        async with (
            AIOKafkaProducer(bootstrap_servers=server.bootstrap) as producer,
            AIOKafkaConsumer(bootstrap_servers=server.bootstrap, auto_offset_reset="earliest") as consumer,
        ):
            for _ in range(5):
                await producer.send_and_wait("t", b"old")

            async def is_gone() -> bool:
                return bool((await consumer.beginning_offsets([place]))[place] == 5)

            await eventually(is_gone, what="an empty log")
            await configure(server.bootstrap, "t", retention_ms="-1")
            assert (await producer.send_and_wait("t", b"new")).offset == 5
            consumer.assign([place])
            consumer.seek(place, 2)
            message = await asyncio.wait_for(consumer.getone(), 30)
            assert message.value == b"new"
