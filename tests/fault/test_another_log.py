"""A worker whose place in the log means nothing any more: the topic was made anew, or its end was lost."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from jabba import Job, Producer
from jabba.kafka import admin
from jabba.kafka.admin import topic_configs
from jabba.kafka.committed_offsets import marked
from jabba.settings import Settings
from tests.fault.executions import VARIABLE, Execution, ExecutionLog
from tests.fault.house import READY_SECONDS
from tests.fault.plans import MODULE
from tests.fault.single import step
from tests.support.kafka import KafkaServer
from tests.support.processes import eventually, jabba_process

pytestmark = pytest.mark.slow

JOBS = 8
"""Enough for each partition to get some."""


@pytest.fixture
async def settings(kafka: KafkaServer) -> Settings:
    made = Settings(
        kafka=kafka.bootstrap, prefix=f"anew-{uuid4().hex[:8]}", partitions=2, callbacks=[MODULE], commit_seconds=0.5
    )
    await admin.create_topics(made.cluster)
    return made


@pytest.fixture
async def producer(settings: Settings) -> AsyncIterator[Producer]:
    async with Producer(settings.kafka, prefix=settings.prefix) as made:
        yield made


class Run:
    """A worker, and which jobs it has run."""

    def __init__(self, settings: Settings, directory: Path) -> None:
        journals = directory / "executions"
        journals.mkdir()
        environment = settings.as_environ() | {VARIABLE: str(journals)}
        self.worker = jabba_process("worker", environment=environment, log=directory / "worker.log")
        self._log = ExecutionLog(journals)
        self._seen: list[Execution] = []

    def jobs(self) -> list[str]:
        self._seen += self._log.new()
        return [one.job for one in self._seen]

    async def ran(self, jobs: list[Job]) -> None:
        async def all_ran() -> bool:
            return {str(job.id) for job in jobs} <= set(self.jobs())

        await eventually(all_ran, READY_SECONDS, self.worker.account("jobs do not run"))


@pytest.fixture
def run(settings: Settings, tmp_path: Path) -> Iterator[Run]:
    made = Run(settings, tmp_path)
    with made.worker:
        yield made


async def submit(producer: Producer) -> list[Job]:
    return [(await producer.create_job([step(0)], "anew")).job for _ in range(JOBS)]


async def make_anew(settings: Settings, topic: str, gone: Callable[[], object]) -> None:
    """Delete a topic, and make it again once ``gone`` returns."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka)
    await admin.start()
    try:
        await admin.delete_topics([topic])
        gone()
        new = NewTopic(topic, settings.partitions, 1, None, topic_configs(settings.topics)[topic])

        async def made() -> bool:
            answer = await admin.create_topics([new])
            return not any(code for _, code, *_ in answer.topic_errors)

        await eventually(made, READY_SECONDS, topic)
    finally:
        await admin.close()


async def committed(settings: Settings) -> bool:
    """Return whether all that the log has is committed."""
    places = [TopicPartition(settings.topics.tasks, n) for n in range(settings.partitions)]
    async with AIOKafkaConsumer(
        bootstrap_servers=settings.kafka, group_id=settings.topics.worker_group, enable_auto_commit=False
    ) as consumer:
        ends = await consumer.end_offsets(places)
        return all([ends[place] == await consumer.committed(place) for place in places])


@pytest.mark.parametrize("seen", [False, True], ids=["at once", "after the worker has seen it go"])
async def test_jobs_in_a_topic_that_was_made_anew_run(
    settings: Settings, producer: Producer, run: Run, *, seen: bool
) -> None:
    run.worker.start().wait_for_line("worker ready", READY_SECONDS)
    before = await submit(producer)
    await run.ran(before)
    topic = settings.topics.tasks

    def gone() -> None:
        if seen:
            run.worker.wait_for_line(f"Topic {topic} not found in cluster metadata", READY_SECONDS)

    await make_anew(settings, topic, gone)
    after = await submit(producer)
    await run.ran(after)
    assert sorted(run.jobs()) == sorted(str(job.id) for job in before + after)
    await eventually(lambda: committed(settings), READY_SECONDS, run.worker.account("offsets stay"))
    assert run.worker.terminate(READY_SECONDS) == 0


async def test_after_a_log_that_was_cut_only_what_came_since_runs(
    settings: Settings, producer: Producer, run: Run
) -> None:
    before = await submit(producer)
    latest = int(time.time() * 1000)
    await asyncio.sleep(0.01)
    # As if more had been there, had been done and committed, and been lost with the end of the log.
    async with AIOKafkaConsumer(
        bootstrap_servers=settings.kafka, group_id=settings.topics.worker_group, enable_auto_commit=False
    ) as consumer:
        places = [TopicPartition(settings.topics.tasks, n) for n in range(settings.partitions)]
        consumer.assign(places)
        await consumer.commit(dict.fromkeys(places, marked(1000, latest)))
    after = await submit(producer)
    run.worker.start()
    await run.ran(after)
    assert not {str(job.id) for job in before} & set(run.jobs())
    assert "the log was replaced or cut" in run.worker.output()
    assert "committed=1000" in run.worker.output()
    await eventually(lambda: committed(settings), READY_SECONDS, run.worker.account("offsets stay"))
