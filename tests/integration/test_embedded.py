"""The embedded broker and database do what Jabba needs, and their limits are the documented ones."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import aiopg
import psutil
import psycopg2
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from jabba.embedded.broker import PARTITIONS, UNREAD_BYTES, BrokerFailed, EmbeddedBroker
from jabba.embedded.database import DatabaseFailed, EmbeddedDatabase
from tests.support.processes import ChildProcess, is_listening

QUICK = {"fsync": "off"}


@pytest.fixture(scope="module")
def broker() -> Iterator[EmbeddedBroker]:
    server = EmbeddedBroker()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def topic() -> str:
    return f"embedded-{uuid4().hex}"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[EmbeddedDatabase]:
    server = EmbeddedDatabase(tmp_path / "kept", settings=QUICK)
    yield server
    server.stop()


def durable_producer(broker: EmbeddedBroker) -> AIOKafkaProducer:
    return AIOKafkaProducer(
        bootstrap_servers=broker.bootstrap, acks="all", enable_idempotence=True, max_request_size=4 * 1024 * 1024
    )


async def query(dsn: str, sql: str) -> list[tuple[object, ...]]:
    async with aiopg.connect(dsn) as connection, connection.cursor() as cursor:
        await cursor.execute(sql)
        return list(await cursor.fetchall()) if cursor.description else []


async def test_broker_keeps_messages_in_the_order_and_partition_they_were_sent_to(
    broker: EmbeddedBroker, topic: str
) -> None:
    sent = [(partition, f"{partition}.{n}".encode()) for n in range(3) for partition in range(PARTITIONS)]
    async with durable_producer(broker) as producer:
        assert await producer.partitions_for(topic) == set(range(PARTITIONS))
        for partition, value in sent:
            await producer.send_and_wait(topic, value, key=b"key", partition=partition, headers=[("h", b"1")])

    async with AIOKafkaConsumer(bootstrap_servers=broker.bootstrap, auto_offset_reset="earliest") as consumer:
        consumer.assign([TopicPartition(topic, partition) for partition in range(PARTITIONS)])
        read = [await consumer.getone() for _ in sent]

    assert sorted((message.partition, message.value) for message in read) == sorted(sent)
    assert [message.value for message in read if message.partition == 1] == [b"1.0", b"1.1", b"1.2"]
    assert {(message.key, message.headers) for message in read} == {(b"key", (("h", b"1"),))}


async def test_broker_takes_a_message_of_three_mebibytes(broker: EmbeddedBroker, topic: str) -> None:
    large = os.urandom(3 * 1024 * 1024)
    async with durable_producer(broker) as producer:
        await producer.send_and_wait(topic, large, partition=0)

    async with AIOKafkaConsumer(bootstrap_servers=broker.bootstrap, auto_offset_reset="earliest") as consumer:
        consumer.assign([TopicPartition(topic, 0)])
        assert (await consumer.getone()).value == large


async def test_broker_lists_first_and_last_offsets(broker: EmbeddedBroker, topic: str) -> None:
    partition = TopicPartition(topic, 2)
    async with durable_producer(broker) as producer:
        for _ in range(3):
            await producer.send_and_wait(topic, b"x", partition=2)

    async with AIOKafkaConsumer(bootstrap_servers=broker.bootstrap) as consumer:
        assert await consumer.beginning_offsets([partition]) == {partition: 0}
        assert await consumer.end_offsets([partition]) == {partition: 3}


async def test_a_group_goes_on_where_it_committed(broker: EmbeddedBroker, topic: str) -> None:
    async with durable_producer(broker) as producer:
        for value in (b"first", b"second"):
            await producer.send_and_wait(topic, value, partition=0)
    group = f"group-{topic}"

    async with group_member(broker, topic, group) as member:
        assert (await member.getone()).value == b"first"
        await member.commit({TopicPartition(topic, 0): 1})
    async with group_member(broker, topic, group) as successor:
        assert (await successor.getone()).value == b"second"
        assert await successor.committed(TopicPartition(topic, 0)) == 1


def group_member(broker: EmbeddedBroker, topic: str, group: str) -> AIOKafkaConsumer:
    return AIOKafkaConsumer(
        topic,
        bootstrap_servers=broker.bootstrap,
        group_id=group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        max_poll_records=1,
    )


async def test_a_partition_drops_what_exceeds_its_window_read_or_not(broker: EmbeddedBroker, topic: str) -> None:
    size, count = 500 * 1024, 20
    partition = TopicPartition(topic, 0)
    async with durable_producer(broker) as producer:
        for _ in range(count):
            await producer.send_and_wait(topic, b"x" * size, partition=0)

    async with AIOKafkaConsumer(bootstrap_servers=broker.bootstrap) as consumer:
        first = (await consumer.beginning_offsets([partition]))[partition]
    assert (count - first - 1) * size <= UNREAD_BYTES < (count - first + 1) * size


def test_broker_closes_its_port_when_it_stops() -> None:
    server = EmbeddedBroker()
    with pytest.raises(BrokerFailed, match="not started"):
        _ = server.bootstrap
    server.start()
    port = int(server.bootstrap.rpartition(":")[2])
    assert is_listening(port)

    server.stop()
    server.stop()

    assert not is_listening(port)


async def test_database_keeps_its_data_between_runs(database: EmbeddedDatabase) -> None:
    database.start()
    await query(database.ensure_database("jabba"), "create table kept as select 'ä' as value")
    database.stop()
    assert not database.running

    again = EmbeddedDatabase(database.directory, settings=QUICK)
    again.start()

    assert await query(again.ensure_database("jabba"), "select upper(value) from kept") == [("Ä",)]
    again.stop()


async def test_database_starts_after_it_was_killed(database: EmbeddedDatabase) -> None:
    database.start()
    await query(database.dsn(), "create table kept (value int)")
    database.send_signal(signal.SIGKILL)
    database.stop()
    assert (database.directory / "postgresql" / "postmaster.pid").exists()

    database.start()

    assert await query(database.dsn(), "select count(*) from kept") == [(0,)]


def test_database_starts_when_another_program_has_the_id_of_the_killed_one(database: EmbeddedDatabase) -> None:
    database.start()
    database.send_signal(signal.SIGKILL)
    database.stop()
    trace = database.directory / "postgresql" / "postmaster.pid"
    trace.write_text("\n".join([str(os.getppid()), *trace.read_text().splitlines()[1:]]) + "\n")

    database.start()

    assert database.running


def test_database_stops_the_server_of_a_killed_process(tmp_path: Path) -> None:
    """The orphan is made with SIGSTOP, which holds back its own reaction to the death of its parent."""
    script = (
        "import sys, time; from pathlib import Path; from jabba.embedded.database import EmbeddedDatabase\n"
        "server = EmbeddedDatabase(Path(sys.argv[1]), settings={'fsync': 'off'}); server.start()\n"
        "print(f'pid {server.pid}.', flush=True); time.sleep(600)"
    )
    program = [sys.executable, "-c", script, str(tmp_path / "kept")]
    with ChildProcess("starter", program, environment=os.environ, log=tmp_path / "log") as starter:
        starter.start()
        orphan = psutil.Process(int(starter.wait_for_line(r"pid (\d+)\.")[1]))
        orphan.suspend()
        starter.kill()
    successor = EmbeddedDatabase(tmp_path / "kept", settings=QUICK)
    resumer = subprocess.Popen(["sh", "-c", f"sleep 0.3; kill -CONT {orphan.pid}"])

    successor.start()

    assert resumer.wait() == 0
    assert not orphan.is_running()
    assert successor.running
    successor.stop()


def test_database_dies_with_the_process_that_started_it(tmp_path: Path) -> None:
    script = (
        "import os, sys; from pathlib import Path; from jabba.embedded.database import EmbeddedDatabase\n"
        "server = EmbeddedDatabase(Path(sys.argv[1]), settings={'fsync': 'off'}); server.start()\n"
        "print(server.pid, flush=True); os.kill(os.getpid(), 9)"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "kept")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    with suppress(psutil.NoSuchProcess):
        psutil.Process(int(done.stdout)).wait(10)
    assert done.returncode == -signal.SIGKILL
    assert not psutil.pid_exists(int(done.stdout))


def test_two_processes_cannot_use_one_directory(database: EmbeddedDatabase) -> None:
    database.start()

    with pytest.raises(DatabaseFailed, match="another process uses"):
        EmbeddedDatabase(database.directory).start()

    assert database.running


def test_only_the_owner_may_read_the_password(database: EmbeddedDatabase) -> None:
    database.start()

    modes = {path.name: path.stat().st_mode & 0o077 for path in [database.directory, *database.directory.iterdir()]}
    assert modes["kept"] == 0
    assert modes["postgresql.password"] == 0


async def test_nobody_gets_in_without_the_password(database: EmbeddedDatabase) -> None:
    database.start()
    without = f"postgresql://jabba@127.0.0.1:{database.port}/postgres"

    with pytest.raises(psycopg2.OperationalError, match="no password supplied"):
        await query(without, "select 1")


def test_a_failed_start_shows_the_log_and_can_be_repeated(tmp_path: Path) -> None:
    wrong = EmbeddedDatabase(tmp_path / "kept", settings={**QUICK, "shared_buffers": "much"})
    with pytest.raises(DatabaseFailed, match="invalid value for parameter"):
        wrong.start()

    right = EmbeddedDatabase(tmp_path / "kept", settings=QUICK)
    right.start()
    assert right.running
    right.stop()


@pytest.mark.parametrize("part, missing", [("broker", "confluent_kafka"), ("database", "psutil")])
def test_a_missing_extra_says_how_to_install_it(part: str, missing: str) -> None:
    script = f"import sys; sys.modules[{missing!r}] = None; import jabba.embedded.{part}"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

    assert "MissingExtra" in done.stderr
    assert "pip install 'jabba[embedded]'" in done.stderr
