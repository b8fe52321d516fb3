"""A Kafka with ACLs: what ``docs/security.md`` allows each process is enough, and with less it says what is missing."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import psycopg2
import pytest
from pydantic import SecretStr

from jabba import Client, KafkaSecurity, Producer, Refused, SyncProducer, outbox
from jabba.kafka import admin
from jabba.kafka.acls import AclRule, Operation, Process, rights_of
from jabba.kafka.dead_letters import DeadLetters
from jabba.kafka.writer import Log
from jabba.local.ports import free_port
from jabba.settings import Settings
from tests.support.kafka import PASSWORD, KafkaServer
from tests.support.keys import AUTHORIZATION, KEY
from tests.support.live import listening
from tests.support.processes import ChildProcess, eventually, jabba_process
from tests.support.rights import allow, granted_by_commands, user_of

MODULE = "tests.support.callbacks"
ECHO = ["local", MODULE, "echo", ["x"]]
PARTITIONS = 2
READY: dict[Process, str] = {
    "worker": "worker ready",
    "web": "web ready",
    "projector": "projector ready partitions=4",
    "outbox": "outbox relay ready",
}


@dataclass
class Users:
    """An installation in which every process has a user of its own."""

    kafka: KafkaServer
    directory: Path
    database: str
    settings: Settings = field(init=False)
    port: int = field(default_factory=free_port)

    def __post_init__(self) -> None:
        prefix = f"r-{uuid4().hex[:8]}"
        self.settings = Settings(
            kafka=self.kafka.bootstrap, prefix=prefix, partitions=PARTITIONS, database=SecretStr(self.database)
        )

    @property
    def topics(self) -> Any:
        return self.settings.topics

    def security(self, process: Process) -> KafkaSecurity:
        return KafkaSecurity(protocol="sasl_plaintext", sasl="plain", user=user_of(process), password=PASSWORD)

    def settings_of(self, process: Process) -> Settings:
        of = {f"kafka_{name}": getattr(self.security(process), name) for name in ("protocol", "sasl", "user")}
        given = self.settings.model_dump() | of | {"kafka": self.kafka.named, "kafka_password": SecretStr(PASSWORD)}
        return Settings(**given)

    async def allow(self, **granted: Iterable[AclRule]) -> None:
        await allow(self.kafka.bootstrap, granted)

    def producer(self, process: Process = "producer") -> Producer:
        return Producer(self.kafka.named, prefix=self.settings.prefix, security=self.security(process))

    def start(self, process: Process, *arguments: str) -> ChildProcess:
        environment = {
            "JABBA_KAFKA": self.kafka.named,
            "JABBA_KAFKA_PROTOCOL": "sasl_plaintext",
            "JABBA_KAFKA_SASL": "plain",
            "JABBA_KAFKA_USER": user_of(process),
            "JABBA_KAFKA_PASSWORD": PASSWORD,
            "JABBA_PREFIX": self.settings.prefix,
            "JABBA_PARTITIONS": str(PARTITIONS),
            "JABBA_DATABASE": self.database,
            "JABBA_OUTBOX": self.database,
            "JABBA_CALLBACKS": MODULE,
            "JABBA_WEB_PORT": str(self.port),
        }
        log = self.directory / f"{user_of(process)}.log"
        return jabba_process(*process.split(), *arguments, environment=environment, log=log).start()


@pytest.fixture
async def users(kafka: KafkaServer, migrated: str, tmp_path: Path) -> Users:
    return Users(kafka, tmp_path, migrated)


@pytest.fixture
async def allowed(users: Users) -> Users:
    await allow(users.kafka.bootstrap, granted_by_commands(users.settings.prefix))
    return users


@pytest.fixture
async def installed_by_init(allowed: Users) -> Users:
    await admin.create_topics(allowed.settings_of("init").cluster)
    return allowed


@pytest.fixture
def running(installed_by_init: Users) -> Iterator[Users]:
    allowed = installed_by_init
    with psycopg2.connect(allowed.database) as connection, connection.cursor() as cursor:
        cursor.execute(outbox.DDL)
    with ExitStack() as open_:
        started = {process: open_.enter_context(allowed.start(process)) for process in READY}
        for name, process in started.items():
            process.wait_for_line(READY[name], 60)
        yield allowed
        assert [process.terminate() for process in started.values()] == [0] * len(started)
        said = {name: process.output() for name, process in started.items()}
        assert [name for name, text in said.items() if "uthoriz" in text] == [], said


async def test_what_the_page_allows_is_enough(running: Users) -> None:
    url = f"http://127.0.0.1:{running.port}"
    with psycopg2.connect(running.database) as connection:
        added = outbox.add(connection, ECHO, "outbox").id
    async with (
        running.producer() as producer,
        Client(url, key=KEY) as client,
        aiohttp.ClientSession(url, headers=AUTHORIZATION) as http,
        Log(running.settings.kafka_access) as log,
    ):
        jobs = [(await producer.create_job(ECHO, "rights")).id, (await client.create_job(ECHO, "rights")).id, added]
        ended = [await client.wait(one, timeout=60) for one in jobs]
        assert {job.status for job in ended} == {"PROCESSED"}
        async with listening(http, job=str(jobs[1]), **{"from": "beginning"}) as stream:
            assert [one.kind async for one in stream] == ["task_succeeded", "job_ended"]
        await log.append(running.topics.tasks, 0, b"nonsense")

        async def told() -> Any:
            async with http.get("/v1/stats") as answer:
                stats = (await answer.json())["data"]
            # A worker's and a projector's.
            return stats if stats["dead_letters"] == 2 else None

        assert (await eventually(told, what="both dead letters"))["missing"] == []

    readers = running.settings_of("dead-letters list")
    async with DeadLetters(readers.kafka_access, readers.topics) as letters:
        places = [one.place async for one in letters.all()]
    commands: list[tuple[Process, int, tuple[str, ...]]] = [
        ("dead-letters retry", 0, (places[0],)),
        ("verify", 0, ()),
        ("rebuild", 0, ()),
        ("reconcile", 3, ()),
    ]
    for process, code in [(running.start(one, *arguments), code) for one, code, arguments in commands]:
        assert process.wait_for_exit(60) == code, process.account("ended otherwise")
    assert "the log holds all that is projected" in (running.directory / "reconcile.log").read_text()


async def test_whoever_may_do_too_little_says_what_is_missing_and_ends(users: Users) -> None:
    """At once, and all of it; nobody is told to run ``jabba init`` because of topics that he may not see."""
    await admin.create_topics(users.settings.cluster)
    topics = users.topics
    missing: dict[Process, list[AclRule]] = {
        "init": [AclRule(Operation.READ, "group", topics.worker_group)],
        "worker": [
            AclRule(Operation.READ, "topic", topics.changelog),
            AclRule(Operation.READ, "group", topics.worker_group),
            AclRule(Operation.WRITE, "topic", topics.changelog),
        ],
        "web": [AclRule(Operation.WRITE, "topic", topics.tasks)],
        "projector": [AclRule(Operation.READ, "topic", topics.events)],
        "verify": [AclRule(Operation.READ, "topic", topics.events)],
        "reconcile": [AclRule(Operation.DESCRIBE, "topic", topics.changelog)],
        "dead-letters list": [AclRule(Operation.READ, "topic", topics.dead_letters)],
    }
    granted = {user_of(one): set(rights_of(one, topics)) - set(rights) for one, rights in missing.items()}
    await users.allow(**granted)
    started = {one: users.start(one) for one in missing}
    for name, process in started.items():
        assert process.wait_for_exit(60) == 3, process.account("did not exit with 3")
        listed = ", ".join(map(str, missing[name]))
        told = (
            f"Error: Kafka at {users.kafka.named} does not allow user '{user_of(name)}' {listed}; docs/security.md has"
        )
        assert process.output().splitlines() == [f"{told} the rights that each process needs"]


async def test_a_relay_and_a_producer_without_any_right_say_so(users: Users) -> None:
    await admin.create_topics(users.settings.cluster)
    write = f"does not allow user 'producer' Write on topic {users.topics.tasks}"
    # No test lets this one write to anything: Kafka does not even make it a producer.
    with pytest.raises(Refused, match=f"does not allow user 'verify' Write on topic {users.topics.tasks}"):
        async with users.producer("verify"):
            pass
    await users.allow(producer=[AclRule(Operation.WRITE, "topic", users.topics.events)])
    with pytest.raises(Refused, match=write):
        async with users.producer():
            pass
    await users.allow(producer=[AclRule(Operation.DESCRIBE, "topic", users.topics.tasks)])
    with pytest.raises(Refused, match=write):
        async with users.producer():
            pass
    security = users.security("producer")
    with (
        pytest.raises(Refused, match=write),
        SyncProducer(users.kafka.named, prefix=users.settings.prefix, security=security),
    ):
        pass
    relay = users.start("outbox")
    assert relay.wait_for_exit(60) == 3, relay.account("did not exit with 3")
    listed = f"Write on topic {users.topics.tasks}, Read on topic {users.topics.tasks}"
    assert f"does not allow user 'outbox' {listed}" in relay.output()


async def test_a_job_that_may_not_be_written_any_more_is_refused_at_once(users: Users) -> None:
    """As after the right was taken away: waiting for Kafka to acknowledge would not help."""
    await admin.create_topics(users.settings.cluster)
    seen, written = users.topics.tasks, users.topics.events
    some = [AclRule(Operation.DESCRIBE, "topic", seen), AclRule(Operation.WRITE, "topic", written)]
    await users.allow(producer=some)
    producer = users.producer()
    try:
        with pytest.raises(Refused, match=f"job .* was not sent: .* Write on topic {users.topics.tasks}"):
            await producer.create_job(ECHO, "rights")
    finally:
        await producer.close()


async def test_init_says_which_topic_it_may_not_make_or_configure(users: Users) -> None:
    topics = users.topics
    rights = set(rights_of("init", topics))
    create = AclRule(Operation.CREATE, "topic", topics.control)
    alter = {one for one in rights if one.operation is Operation.ALTER_CONFIGS}
    await users.allow(init=rights - {create} - alter)
    settings = users.settings_of("init")
    with pytest.raises(Refused, match=f"does not allow user 'init' Create on topic {topics.control}"):
        await admin.create_topics(settings.cluster)
    await users.allow(init=[create])
    with pytest.raises(Refused, match=f"AlterConfigs on topic {topics.tasks}"):
        await admin.create_topics(settings.cluster)
    await users.allow(init=alter)
    await admin.create_topics(settings.cluster)
