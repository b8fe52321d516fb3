"""Producing, fetching and finding offsets."""

import asyncio
import itertools
import os
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import MessageSizeTooLargeError, OffsetOutOfRangeError
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.protocol.transaction import InitProducerIdRequest

from tests.integration.broker.conftest import MakeTopic
from tests.support.batches import batch_of, values

MIB = 1024 * 1024
ENDLESS_MS = 30_000
"""Longer than a test waits: who is answered before was woken up."""


def durable_producer(bootstrap: str) -> AIOKafkaProducer:
    return AIOKafkaProducer(
        bootstrap_servers=bootstrap, acks="all", enable_idempotence=True, max_request_size=5 * MIB, linger_ms=1
    )


@asynccontextmanager
async def reader(bootstrap: str, topic: str, partitions: Iterable[int] = (0,), **options: Any) -> AsyncIterator[Any]:
    """Read partitions from their start, without a group."""
    options = {"auto_offset_reset": "earliest", "enable_auto_commit": False, **options}
    async with AIOKafkaConsumer(bootstrap_servers=bootstrap, **options) as consumer:
        consumer.assign([TopicPartition(topic, partition) for partition in partitions])
        yield consumer


@asynccontextmanager
async def raw_client(bootstrap: str) -> AsyncIterator[Any]:
    """Send requests as they are; ``await client.send(1, request)``."""
    client = AIOKafkaClient(bootstrap_servers=bootstrap)
    await client.bootstrap()
    try:
        yield client
    finally:
        await client.close()


async def read(consumer: Any, count: int) -> list[Any]:
    async with asyncio.timeout(60):
        return [await consumer.getone() for _ in range(count)]


async def test_messages_stay_in_their_partition_and_order(bootstrap: str, make_topic: MakeTopic) -> None:
    topic = await make_topic(4)
    sent = [(partition, f"{partition}.{n}".encode()) for n in range(5) for partition in range(4)]
    async with durable_producer(bootstrap) as producer:
        assert await producer.partitions_for(topic) == {0, 1, 2, 3}
        for partition, value in sent:
            await producer.send_and_wait(topic, value, key=b"key", partition=partition, headers=[("h", b"1")])

    async with reader(bootstrap, topic, range(4)) as consumer:
        messages = await read(consumer, len(sent))

    assert sorted((message.partition, message.value) for message in messages) == sorted(sent)
    assert [message.value for message in messages if message.partition == 1] == [b"1.%d" % n for n in range(5)]
    assert {(message.key, message.headers) for message in messages} == {(b"key", (("h", b"1"),))}


@pytest.mark.parametrize("codec", [None, "gzip"])
async def test_empty_and_compressed_messages(bootstrap: str, make_topic: MakeTopic, codec: str | None) -> None:
    topic = await make_topic()
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, compression_type=codec) as producer:
        await producer.send_and_wait(topic, None, key=b"gone")
        await producer.send_and_wait(topic, b"")
        await asyncio.gather(*[await producer.send(topic, b"x" * 1000) for _ in range(100)])

    async with reader(bootstrap, topic) as consumer:
        messages = await read(consumer, 102)

    assert [(message.key, message.value) for message in messages[:2]] == [(b"gone", None), (None, b"")]
    assert [message.offset for message in messages] == list(range(102))


@pytest.mark.parametrize("acks", [0, 1, "all"])
async def test_messages_arrive_whatever_acknowledgement_is_asked_for(
    bootstrap: str, make_topic: MakeTopic, acks: int | str
) -> None:
    topic = await make_topic()
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks=acks) as producer:
        for number in range(10):
            await producer.send_and_wait(topic, b"%d" % number)

    async with reader(bootstrap, topic) as consumer:
        assert [message.value for message in await read(consumer, 10)] == [b"%d" % n for n in range(10)]


async def test_large_messages_are_read_though_readers_ask_for_less(bootstrap: str, make_topic: MakeTopic) -> None:
    topic = await make_topic(3, max_message_bytes=str(4 * MIB))
    sizes = [MIB, 4 * MIB - 500, 10]
    sent = [(partition, os.urandom(size)) for size in sizes for partition in range(3)]
    async with durable_producer(bootstrap) as producer:
        for partition, value in sent:
            await producer.send_and_wait(topic, value, partition=partition)

    async with reader(bootstrap, topic, range(3), max_partition_fetch_bytes=1000) as consumer:
        messages = await read(consumer, len(sent))

    for partition in range(3):
        expected = [value for one, value in sent if one == partition]
        assert [message.value for message in messages if message.partition == partition] == expected


async def test_messages_that_are_too_large_are_refused(bootstrap: str, make_topic: MakeTopic) -> None:
    topic = await make_topic(max_message_bytes="10000")
    async with durable_producer(bootstrap) as producer:
        with pytest.raises(MessageSizeTooLargeError):
            await producer.send_and_wait(topic, b"x" * 10001)
    async with durable_producer(bootstrap) as producer:
        assert (await producer.send_and_wait(topic, b"x")).offset == 0


async def test_nothing_is_lost_while_nobody_reads(bootstrap: str, make_topic: MakeTopic) -> None:
    topic, count = await make_topic(4), 200_000
    padding = b"x" * 100
    async with AIOKafkaProducer(
        bootstrap_servers=bootstrap, acks="all", enable_idempotence=True, max_batch_size=MIB // 4, linger_ms=5
    ) as producer:
        for number in range(count):
            await producer.send(topic, b"%d:" % number + padding, partition=number % 4)
        await producer.flush()

    seen: dict[int, list[int]] = {partition: [] for partition in range(4)}
    async with reader(bootstrap, topic, range(4)) as consumer:
        async with asyncio.timeout(60):
            while sum(map(len, seen.values())) < count:
                for place, messages in (await consumer.getmany(timeout_ms=1000)).items():
                    seen[place.partition] += [int(message.value.split(b":")[0]) for message in messages]

    assert seen == {partition: list(range(partition, count, 4)) for partition in range(4)}


async def test_acknowledgements_tell_offset_and_time(bootstrap: str, make_topic: MakeTopic) -> None:
    stamped, plain = await make_topic(message_timestamp_type="LogAppendTime"), await make_topic()
    before = int(time.time() * 1000)
    async with durable_producer(bootstrap) as producer:
        by_log = [await producer.send_and_wait(stamped, b"x", timestamp_ms=5) for _ in range(3)]
        by_sender = await producer.send_and_wait(plain, b"x", timestamp_ms=5)
    after = int(time.time() * 1000)

    assert [one.offset for one in by_log] == [0, 1, 2]
    assert all(before <= one.timestamp <= after and one.timestamp_type == 1 for one in by_log)
    assert (by_sender.timestamp, by_sender.timestamp_type) == (5, 0)
    async with reader(bootstrap, stamped) as consumer:
        messages = await read(consumer, 3)
    assert [(one.timestamp, one.timestamp_type) for one in messages] == [(one.timestamp, 1) for one in by_log]


async def test_first_and_last_offsets_and_those_since_a_time(bootstrap: str, make_topic: MakeTopic) -> None:
    topic = await make_topic(2)
    place, empty = TopicPartition(topic, 0), TopicPartition(topic, 1)
    times = [int(time.time() * 1000) + delay for delay in (0, 1000, 2000)]
    async with durable_producer(bootstrap) as producer:
        for timestamp in times:
            await producer.send_and_wait(topic, b"x", partition=0, timestamp_ms=timestamp)

    async with AIOKafkaConsumer(bootstrap_servers=bootstrap) as consumer:
        assert await consumer.beginning_offsets([place, empty]) == {place: 0, empty: 0}
        assert await consumer.end_offsets([place, empty]) == {place: 3, empty: 0}
        asked = (0, times[0] + 1, times[2], times[2] + 1)
        found = [(await consumer.offsets_for_times({place: timestamp}))[place] for timestamp in asked]
        assert await consumer.offsets_for_times({empty: 0}) == {empty: None}
    assert found == [(0, times[0]), (1, times[1]), (2, times[2]), None]


async def test_a_fetch_at_the_end_is_answered_when_something_comes(bootstrap: str, make_topic: MakeTopic) -> None:
    topic = await make_topic(2)
    request = FetchRequest(ENDLESS_MS, 1, MIB, 0, [(topic, [(0, 0, MIB), (1, 0, MIB)])])
    async with raw_client(bootstrap) as client, durable_producer(bootstrap) as producer:
        fetching = asyncio.create_task(client.send(1, request))
        await asyncio.sleep(0.5)
        assert not fetching.done()
        await producer.send_and_wait(topic, b"here", partition=1)

        async with asyncio.timeout(10):
            answer = await fetching
    found = {partition: values(batches) for partition, *_, batches in answer.topics[0][1]}
    assert found == {0: [], 1: [(0, b"here")]}


async def test_a_fetch_waits_for_as_many_bytes_as_it_asks_for(bootstrap: str, make_topic: MakeTopic) -> None:
    topic = await make_topic()
    async with raw_client(bootstrap) as client, durable_producer(bootstrap) as producer:
        request = FetchRequest(ENDLESS_MS, 3000, MIB, 0, [(topic, [(0, 0, MIB)])])
        fetching = asyncio.create_task(client.send(1, request))
        for _ in range(2):
            await producer.send_and_wait(topic, b"x" * 1000)
            await asyncio.sleep(0.1)
        assert not fetching.done()
        await producer.send_and_wait(topic, b"x" * 1000)

        async with asyncio.timeout(10):
            answer = await fetching
    assert len(values(_fetched(answer))) == 3


async def test_a_fetch_gives_up_waiting_in_time(bootstrap: str, make_topic: MakeTopic) -> None:
    topic = await make_topic()
    async with raw_client(bootstrap) as client, asyncio.timeout(10):
        answer = await client.send(1, FetchRequest(100, 1, MIB, 0, [(topic, [(0, 0, MIB)])]))

    (partition,) = answer.topics[0][1]
    assert (partition[0], partition[1], partition[2], partition[-1]) == (0, 0, 0, b"")


async def test_a_fetch_is_limited_over_all_its_partitions(bootstrap: str, make_topic: MakeTopic) -> None:
    topic = await make_topic(3)
    async with durable_producer(bootstrap) as producer:
        for partition, _ in itertools.product(range(3), range(5)):
            await producer.send_and_wait(topic, b"x" * 1000, partition=partition)

    wanted = [(topic, [(partition, 0, 3000) for partition in range(3)])]
    async with raw_client(bootstrap) as client:
        small = await client.send(1, FetchRequest(0, 1, 4000, 0, wanted))
        tiny = await client.send(1, FetchRequest(0, 1, 1, 0, wanted))

    sizes = [len(partition[-1]) for partition in small.topics[0][1]]
    assert 1000 < sum(sizes) <= 4000
    assert [len(values(partition[-1])) for partition in tiny.topics[0][1]] == [1, 0, 0]


async def test_an_offset_that_is_not_there_is_told(bootstrap: str, make_topic: MakeTopic) -> None:
    topic = await make_topic()
    async with durable_producer(bootstrap) as producer:
        await producer.send_and_wait(topic, b"x")

    async with reader(bootstrap, topic, auto_offset_reset="none") as consumer:
        consumer.seek(TopicPartition(topic, 0), 5)
        with pytest.raises(OffsetOutOfRangeError):
            await read(consumer, 1)
        consumer.seek(TopicPartition(topic, 0), 0)
        assert (await read(consumer, 1))[0].value == b"x"


async def test_a_batch_sent_twice_is_kept_once(bootstrap: str, make_topic: MakeTopic) -> None:
    topic = await make_topic()
    async with raw_client(bootstrap) as client:
        producer_id = (await client.send(1, InitProducerIdRequest(None, 1000))).producer_id
        other_id = (await client.send(1, InitProducerIdRequest(None, 1000))).producer_id
        batches = [batch_of(b"a", b"b", producer=(producer_id, 0, 0)), batch_of(b"c", producer=(producer_id, 0, 2))]
        answers = [await _produce(client, topic, batch) for batch in (*batches, *batches)]
        gap = await _produce(client, topic, batch_of(b"e", producer=(producer_id, 0, 4)))
        broken = await _produce(client, topic, batches[0][:-1] + b"x")

    assert producer_id != other_id
    assert answers == [(0, 0), (0, 2), (0, 0), (0, 2)]
    assert gap == (45, -1)
    assert broken == (2, -1)


async def _produce(client: Any, topic: str, batch: bytes) -> tuple[int, int]:
    """Send a batch; answer error code and offset."""
    answer = await client.send(1, ProduceRequest(None, -1, 1000, [(topic, [(0, batch)])]))
    ((_, error, offset, *_),) = answer.topics[0][1]
    return error, offset


def _fetched(answer: Any) -> bytes:
    return bytes(answer.topics[0][1][0][-1])
