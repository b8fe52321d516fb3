"""Messages that the brokers do not take: topics whose ``max.message.bytes`` somebody has lowered."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from jabba.database import queries
from jabba.database.connection import Database
from jabba.errors import LimitExceeded
from jabba.jobs import json_codec
from jabba.jobs.lifecycle import TaskStatus
from jabba.jobs.models import MOST_META_BYTES, MOST_RESULT_BYTES, MOST_TASK_ARGS_BYTES, Task
from jabba.kafka.admin import topic_configs
from jabba.kafka.security import KafkaAccess
from jabba.kafka.writer import MAX_MESSAGE_BYTES, Log
from jabba.producer import Producer, producer_of
from jabba.projection.projector import Projector
from jabba.search import TASKS, parse_search
from jabba.settings import Settings
from tests.support.kafka import KafkaServer
from tests.support.processes import eventually, jabba_process

TAKES = 20_000
MODULE = "tests.support.callbacks"
LARGEST: dict[str, Any] = {
    "task_args_bytes": MOST_TASK_ARGS_BYTES,
    "meta_bytes": MOST_META_BYTES,
    "result_bytes": MOST_RESULT_BYTES,
}


@pytest.fixture
async def topic(kafka: KafkaServer) -> str:
    """A topic of one partition that takes ``TAKES`` bytes."""
    name = f"small-{uuid4().hex}"
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, 1, 1, topic_configs={"max.message.bytes": str(TAKES)})])
    finally:
        await admin.close()
    return name


@pytest.fixture
async def log(kafka: KafkaServer) -> AsyncIterator[Log]:
    async with Log(KafkaAccess(kafka.bootstrap)) as made:
        yield made


async def test_a_message_larger_than_a_topic_takes_is_refused_and_the_next_one_is_appended(
    log: Log, topic: str
) -> None:
    async with asyncio.timeout(30):
        assert await log.append(topic, 0, b"before") == 0
        with pytest.raises(LimitExceeded, match=rf"Kafka takes no message of 30,000 bytes into {topic}"):
            await log.append(topic, 0, bytes(30_000))
        assert await log.append(topic, 0, b"behind") == 1


async def test_what_fits_is_appended_though_others_share_its_batch(log: Log, topic: str) -> None:
    async with asyncio.timeout(30):
        await log.append(topic, 0, b"before")
        sizes = [15_000] * 20 + [30_000] + [15_000] * 20
        appended = await asyncio.gather(*(log.append(topic, 0, bytes(one)) for one in sizes), return_exceptions=True)
    assert [isinstance(one, LimitExceeded) for one in appended] == [one > TAKES for one in sizes]
    assert len({one for one in appended if isinstance(one, int)}) == 40


async def test_a_message_larger_than_any_topic_takes_is_refused_at_once(log: Log, topic: str) -> None:
    async with asyncio.timeout(30):
        with pytest.raises(LimitExceeded, match=r"Kafka takes no message of 5,000,000 bytes"):
            await log.append(topic, 0, bytes(5_000_000))


@pytest.fixture
def options() -> dict[str, Any]:
    return {"partitions": 1, "callbacks": [MODULE], "adopt_seconds": 0.1, **LARGEST}


@pytest.fixture
async def producer(settings: Settings) -> AsyncIterator[Producer]:
    async with producer_of(settings) as made:
        yield made


@pytest.fixture
def log_of_worker(settings: Settings, tmp_path: Path) -> Iterator[Callable[[], str]]:
    """Run a worker of ``settings``; what it answers reads its log."""
    with jabba_process("worker", environment=settings.as_environ(), log=tmp_path / "worker.log") as worker:
        worker.start()
        worker.wait_for_line("worker ready", 60)
        yield (tmp_path / "worker.log").read_text


async def takes(settings: Settings, topic: str, size: int) -> None:
    """Let a topic take so many bytes at a time, and no more."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka)
    await admin.start()
    try:
        configs = topic_configs(settings.topics)[topic] | {"max.message.bytes": str(size)}
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs)])
    finally:
        await admin.close()


async def tasks_of(projection: Database, job: UUID) -> list[Task]:
    """Return a job's tasks once it has ended."""

    async def ended() -> bool:
        found = await queries.get_job(projection, job)
        return found is not None and found.ended_at is not None

    await eventually(ended, 60, "end")
    search = {"filter": [["job_id", "equal", str(job)]], "order_by": [["asc", "inserted_at"]], "cursor": [0, 100]}
    found = await queries.search_tasks(projection, parse_search(search, TASKS))
    return sorted(found, key=lambda task: task.priority)


async def test_what_the_highest_limits_allow_is_run_adopted_and_shown(
    producer: Producer, projection: Database, projector: Projector, log_of_worker: Callable[[], str]
) -> None:
    wide = "\x01" * 255
    text, meta = "x" * (MOST_TASK_ARGS_BYTES - 4), {"text": "x" * (MOST_META_BYTES - 11)}
    first = {"name": wide, "meta": meta, "callback": ["local", MODULE, "sleeps", [2.5]]}
    second = {"name": wide, "meta": meta, "callback": ["local", MODULE, "large", [MOST_RESULT_BYTES - 11]]}
    third = {"name": wide, "meta": meta, "callback": ["local", MODULE, "ignore", [text]]}
    submitted = await producer.create_job([first, second, third], wide, name=wide, meta=meta)
    tasks = await tasks_of(projection, submitted.id)
    assert [task.status for task in tasks] == [TaskStatus.PROCESSED] * 3
    assert [len(json_codec.encode(one)) for one in (tasks[1].result, tasks[2].callback.args)] == [
        MOST_RESULT_BYTES,
        MOST_TASK_ARGS_BYTES,
    ]
    assert "stumbled" not in log_of_worker()


async def test_a_result_that_a_topic_does_not_take_fails_its_task_and_all_others_go_on(
    settings: Settings, producer: Producer, projection: Database, projector: Projector, log_of_worker: Callable[[], str]
) -> None:
    calls = [["local", MODULE, "large", [size]] for size in [10, 100_000, 30_000] * 20]
    for topic in (settings.topics.changelog, settings.topics.events):
        await takes(settings, topic, 50_000)
        submitted = await producer.create_job(calls, "test", strategy="concurrent")
        tasks = await tasks_of(projection, submitted.id)
        ended = {(task.callback.args[0], str(task.status)) for task in tasks}
        assert ended == {(10, "PROCESSED"), (100_000, "FAILED"), (30_000, "PROCESSED")}
        told = [str(task.result) for task in tasks if task.status is TaskStatus.FAILED]
        assert all(f"bytes into {topic}" in one for one in told), told[0]
        await takes(settings, topic, MAX_MESSAGE_BYTES)
        again = await producer.create_job(calls[:3], "test")
        assert {task.status for task in await tasks_of(projection, again.id)} == {TaskStatus.PROCESSED}
    assert "stumbled" not in log_of_worker()


async def test_a_submission_that_the_topic_does_not_take_is_refused_and_others_are_not(
    settings: Settings, producer: Producer
) -> None:
    await takes(settings, settings.topics.tasks, 50_000)
    jobs = [{"type": "test", "tasks": ["local", MODULE, "echo", ["x" * size]]} for size in [10, 100_000, 30_000] * 5]
    found = [one async for one in producer.create_jobs(jobs)]
    assert [isinstance(one.error, LimitExceeded) for one in found] == [False, True, False] * 5
    assert all(one.submitted for one in found[::3] + found[2::3])
