"""How fast the embedded broker is, beside Apache Kafka and librdkafka's mock broker.

    python -m bench.embedded_broker

One client on the same machine asks all of them the same, in one run. The mock broker is measured where
confluent-kafka is installed; it keeps 5 MiB of a partition, so there is little to read from it.
"""

import asyncio
import importlib
import importlib.util
import statistics
import struct
import tempfile
import time
from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from uuid import uuid4

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.protocol.api import RequestHeader_v1, ResponseHeader_v0
from aiokafka.protocol.produce import ProduceRequest_v7, ProduceResponse_v7

from jabba.local.broker import EmbeddedBroker
from tests.support.batches import batch_of
from tests.support.kafka import BENCHMARK_JVM, KafkaServer

MIB = 1024 * 1024
PARTITIONS = 8
LARGE = 256 * 1024
LARGE_COUNT = 800
SMALL = 200
SMALL_COUNT = 16_000
ROUND_TRIPS = 1_000
CONNECTIONS = 4
READ_COUNT = 200_000
JOINS = 5

Bootstrap = str
Measure = Callable[[Bootstrap], Awaitable[float]]


@contextmanager
def apache_kafka() -> Iterator[Bootstrap]:
    """Run Apache Kafka with a gigabyte of memory."""
    with tempfile.TemporaryDirectory() as directory, KafkaServer(Path(directory), jvm=BENCHMARK_JVM) as server:
        yield server.bootstrap


@contextmanager
def embedded_broker() -> Iterator[Bootstrap]:
    """Run the embedded broker."""
    with tempfile.TemporaryDirectory() as directory:
        broker = EmbeddedBroker(Path(directory))
        broker.start()
        try:
            yield broker.bootstrap
        finally:
            broker.stop()


@contextmanager
def mock_broker() -> Iterator[Bootstrap]:
    """Run librdkafka's mock broker in this process."""
    producer = importlib.import_module("confluent_kafka").Producer
    cluster = producer({"bootstrap.servers": "127.0.0.1:0", "test.mock.num.brokers": 1, "log_level": 3})
    (broker,) = cluster.list_topics(timeout=10).brokers.values()
    yield f"{broker.host}:{broker.port}"
    cluster.close()


async def create(bootstrap: Bootstrap) -> tuple[str, int]:
    """Make a topic; return its name and how many partitions it has."""
    name = f"bench-{uuid4().hex}"
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, PARTITIONS, 1, topic_configs={"max.message.bytes": str(4 * MIB)})])
    except AttributeError:
        print("This broker has no controller: it makes the topics that it is asked for.")
    finally:
        await admin.close()
    async with AIOKafkaProducer(bootstrap_servers=bootstrap) as producer:
        return name, len(await producer.partitions_for(name))


def durable_producer(bootstrap: Bootstrap) -> AIOKafkaProducer:
    """Return a producer with Jabba's settings."""
    return AIOKafkaProducer(
        bootstrap_servers=bootstrap,
        acks="all",
        enable_idempotence=True,
        max_batch_size=512 * 1024,
        max_request_size=4 * MIB,
    )


async def produce(bootstrap: Bootstrap, size: int, count: int) -> float:
    """Send batches of one message, one after the other in each partition; return how many a second."""
    topic, partitions = await create(bootstrap)
    value = b"x" * size
    async with durable_producer(bootstrap) as producer:

        async def fill(partition: int, count: int) -> None:
            for _ in range(count):
                await producer.send_and_wait(topic, value, partition=partition)

        await asyncio.gather(*(fill(partition, count // partitions // 4) for partition in range(partitions)))
        started = time.perf_counter()
        await asyncio.gather(*(fill(partition, count // partitions) for partition in range(partitions)))
        return count / (time.perf_counter() - started)


async def produce_large(bootstrap: Bootstrap) -> float:
    """Return megabytes a second."""
    return await produce(bootstrap, LARGE, LARGE_COUNT) * LARGE / 1e6


async def produce_small(bootstrap: Bootstrap) -> float:
    """Return acknowledged batches a second."""
    return await produce(bootstrap, SMALL, SMALL_COUNT)


async def round_trip(bootstrap: Bootstrap) -> float:
    """Return the median of milliseconds from sending a message to its acknowledgement."""
    topic, _ = await create(bootstrap)
    taken = []
    async with durable_producer(bootstrap) as producer:
        for _ in range(ROUND_TRIPS):
            started = time.perf_counter()
            await producer.send_and_wait(topic, b"x" * SMALL, partition=0)
            taken.append(time.perf_counter() - started)
    return statistics.median(taken) * 1000


async def produce_bare(bootstrap: Bootstrap) -> float:
    """Return acknowledged batches a second of a client that costs next to nothing, a request for each batch."""
    topic, partitions = await create(bootstrap)
    batch = batch_of(b"x" * SMALL)
    requests = [_frame(topic, number % partitions, batch) for number in range(CONNECTIONS)]
    await asyncio.gather(*(_ask_again_and_again(bootstrap, request, SMALL_COUNT // 8) for request in requests))
    started = time.perf_counter()
    await asyncio.gather(*(_ask_again_and_again(bootstrap, request, SMALL_COUNT // 2) for request in requests))
    return CONNECTIONS * (SMALL_COUNT // 2) / (time.perf_counter() - started)


def _frame(topic: str, partition: int, batch: bytes) -> bytes:
    request = ProduceRequest_v7(None, -1, 10_000, [(topic, [(partition, batch)])])
    content = RequestHeader_v1(request).encode() + request.encode()
    return struct.pack(">i", len(content)) + bytes(content)


async def _ask_again_and_again(bootstrap: Bootstrap, request: bytes, count: int) -> None:
    host, _, port = bootstrap.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    answer = b""
    for _ in range(count):
        writer.write(request)
        (length,) = struct.unpack(">i", await reader.readexactly(4))
        answer = await reader.readexactly(length)
    writer.close()
    content = BytesIO(answer)
    ResponseHeader_v0.decode(content)
    assert ProduceResponse_v7.decode(content).topics[0][1][0][1] == 0


async def read_large(bootstrap: Bootstrap) -> float:
    """Return megabytes a second."""
    return await _read(bootstrap, LARGE, LARGE_COUNT) * LARGE / 1e6


async def read_small(bootstrap: Bootstrap) -> float:
    """Return messages a second, of batches as they come when many are sent at once."""
    return await _read(bootstrap, SMALL, READ_COUNT)


async def _read(bootstrap: Bootstrap, size: int, count: int) -> float:
    topic, partitions = await create(bootstrap)
    async with durable_producer(bootstrap) as producer:
        for number in range(count):
            await producer.send(topic, b"x" * size, partition=number % partitions)
        await producer.flush()
    async with AIOKafkaConsumer(
        bootstrap_servers=bootstrap, auto_offset_reset="earliest", enable_auto_commit=False
    ) as consumer:
        consumer.assign([TopicPartition(topic, partition) for partition in range(partitions)])
        left, started = count, time.perf_counter()
        while left:
            left -= sum(map(len, (await consumer.getmany(timeout_ms=1000)).values()))
        return count / (time.perf_counter() - started)


async def join(bootstrap: Bootstrap) -> float:
    """Return the median of seconds until a lone member of a new group has its partitions."""
    topic, _ = await create(bootstrap)
    taken = []
    for number in range(JOINS):
        started = time.perf_counter()
        async with AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, group_id=f"{topic}-{number}"):
            taken.append(time.perf_counter() - started)
    return statistics.median(taken)


MEASURES: dict[str, Measure] = {
    "256 KiB batches produced, MB/s": produce_large,
    "200 B batches acknowledged, 1/s": produce_small,
    "the same from a bare client, 1/s": produce_bare,
    "one after the other, ms each": round_trip,
    "256 KiB batches read, MB/s": read_large,
    "200 B messages read, 1/s": read_small,
    "a lone member joins, s": join,
}
UNREADABLE: Collection[Measure] = (read_large, read_small)
"""What the mock broker cannot do: it drops what is to be read."""


async def measure_all(bootstrap: Bootstrap, skipped: Collection[Measure]) -> list[float | None]:
    """Return one figure for each measure."""
    return [None if measure in skipped else await measure(bootstrap) for measure in MEASURES.values()]


def main() -> None:
    """Measure, and print the table."""
    brokers = {"embedded": embedded_broker, "Apache Kafka": apache_kafka}
    if importlib.util.find_spec("confluent_kafka"):
        brokers["mock broker"] = mock_broker
    columns = []
    for broker in brokers.values():
        with broker() as bootstrap:
            columns.append(asyncio.run(measure_all(bootstrap, UNREADABLE if broker is mock_broker else ())))
    print(f"{'':34}" + "".join(f"{name:>14}" for name in brokers))
    for name, figures in zip(MEASURES, zip(*columns, strict=True), strict=True):
        print(f"{name:34}" + "".join(f"{_shown(figure):>14}" for figure in figures))


def _shown(figure: float | None) -> str:
    if figure is None:
        return "-"
    return f"{figure:,.0f}" if figure >= 10 else f"{figure:.3f}"  # noqa: PLR2004 - as many digits as mean something


if __name__ == "__main__":
    main()
