"""The projector follows a real log through everything that may happen to it, to Kafka and to PostgreSQL."""

import asyncio
import base64
import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from uuid import UUID

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from sqlalchemy import text

from jabba.clock import SystemClock
from jabba.database import queries
from jabba.database.connection import Database
from jabba.jobs import ids
from jabba.jobs.lifecycle import Strategy, TaskFailed, TasksAborted, TaskSucceeded
from jabba.jobs.models import Limits
from jabba.messages import slices
from jabba.messages.events import encode_event, encode_events
from jabba.messages.topics import partition_of
from jabba.projection.lag import behind, log_ends
from jabba.projection.projector import Projector
from jabba.settings import Settings
from tests.support.kafka import KafkaServer
from tests.support.logged import logged
from tests.support.postgres import PostgresServer
from tests.support.processes import eventually
from tests.support.projecting import job_row, job_spec, statuses, version
from tests.support.sending import Sender, running, succeeded
from tests.support.verifying import forget_log

PARTITIONS = 2
"""Of the installation in ``conftest``."""


def has_status(database: Database, job: UUID, status: str) -> Callable[[], Awaitable[bool]]:
    async def ask() -> bool:
        found = await queries.get_job(database, job)
        return found is not None and found.status == status

    return ask


async def dead_letters(settings: Settings, count: int) -> list[dict[str, Any]]:
    async with AIOKafkaConsumer(bootstrap_servers=settings.kafka, auto_offset_reset="earliest") as consumer:
        consumer.assign([TopicPartition(settings.topics.dead_letters, number) for number in range(PARTITIONS)])
        async with asyncio.timeout(20):
            return [json.loads((await consumer.getone()).value) for _ in range(count)]


async def test_it_follows_both_topics_and_tells_kafka_and_postgresql_how_far(
    installed: Settings, sender: Sender, projection: Database, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "jabba.projection.projector")
    async with running(Projector(installed)):
        jobs = [await sender.job(3) for _ in range(10)]
        for job in jobs:
            await sender.events(succeeded(job, range(3)))
        for job in jobs:
            await eventually(has_status(projection, job, "PROCESSED"))
        assert await statuses(projection, jobs[0]) == ["PROCESSED"] * 3

    assert "projector ready partitions=4" in logged(caplog)
    topics = installed.topics
    reached = await queries.projected_offsets(projection, [topics.tasks, topics.events])
    # 10 slices and the first messages of two partitions, 10 messages of events.
    assert sum(offset for (topic, _), offset in reached.items() if topic == topics.tasks) == 12
    assert sum(offset for (topic, _), offset in reached.items() if topic == topics.events) == 10
    consumer = AIOKafkaConsumer(bootstrap_servers=installed.kafka, group_id=topics.projector_group)
    async with consumer:
        for (topic, partition), offset in reached.items():
            assert await consumer.committed(TopicPartition(topic, partition)) == offset


async def test_messages_that_cannot_be_decoded_become_dead_letters(
    installed: Settings, sender: Sender, projection: Database
) -> None:
    topics = installed.topics
    nonsense = [b"\xff\x00 not json", b"{}", b"[[]", b'[{"job": 1}]', b"", b"null"]
    async with running(Projector(installed)):
        places = [(topics.tasks, 0, await sender.raw(topics.tasks, 0, value)) for value in nonsense]
        places.append((topics.events, 1, await sender.raw(topics.events, 1, b'[{"event": "task_levitated"}]')))
        job = await sender.job(1)
        await sender.events(succeeded(job, [0]))
        await eventually(has_status(projection, job, "PROCESSED"))
        letters = await dead_letters(installed, len(places))

    assert {(letter["topic"], letter["partition"], letter["offset"]) for letter in letters} == set(places)
    assert {base64.b64decode(letter["value"]) for letter in letters} == {*nonsense, b'[{"event": "task_levitated"}]'}
    assert all("cannot be decoded" in letter["reason"] for letter in letters)


async def test_what_postgresql_refuses_is_isolated_from_its_neighbours(
    installed: Settings, sender: Sender, projection: Database
) -> None:
    """Each of five faults would break the transaction of the whole batch; their messages have healthy neighbours."""
    topics = installed.topics
    jobs = [await sender.job(2, Strategy.CONCURRENT) for _ in range(20)]
    (encoded,) = slices.cut(job_spec(1, meta={"nul": "REPLACE"}), ids.new_job_id(SystemClock().now()), Limits())
    nul = slices.encode_message([encoded.text]).replace(b"REPLACE", b"a\\u0000b")
    await sender.raw(topics.tasks, 0, nul)
    for number, job in enumerate(jobs):
        await sender.events(succeeded(job, [0]))
        if number % 5 == 0:
            poison = [
                TasksAborted(job, 0, version(1), 10**9),
                TaskFailed(job, 1, version(2**40), 1),
                TaskSucceeded(job, 1, version(9), 1, {"a": "REPLACE"}),
            ][number // 5 % 3]
            healthy = [encode_event(event) for event in succeeded(job, [1])]
            message = encode_events([encode_event(poison).replace(b"REPLACE", b"\\u0000"), *healthy])
            await sender.raw(topics.events, partition_of(str(job), PARTITIONS), message)
        else:
            await sender.events(succeeded(job, [1]))

    async with running(Projector(installed)):
        for job in jobs:
            await eventually(has_status(projection, job, "PROCESSED"))
        letters = await dead_letters(installed, 5)

    assert sorted({letter["topic"] for letter in letters}) == sorted([topics.tasks, topics.events])
    reasons = " ".join(letter["reason"] for letter in letters)
    assert "no job has so many" in reasons
    assert "out of range" in reasons
    assert "\\u0000 cannot be converted to text" in reasons
    assert base64.b64decode(next(one for one in letters if one["topic"] == topics.tasks)["value"]) == nul


async def test_it_waits_for_postgresql_and_catches_up_by_itself(
    installed: Settings, sender: Sender, postgres: PostgresServer, migrated: str
) -> None:
    projector = Projector(installed)
    async with Database(migrated) as database:
        async with running(projector):
            before = await sender.job(150)
            await sender.events(succeeded(before, range(75)))
            await eventually(has_status(database, before, "PENDING"))

            postgres.stop()
            await sender.events(succeeded(before, range(75, 150)))
            during = await sender.job(2)
            await sender.events([TaskFailed(during, 0, version(1)), TasksAborted(during, 1, version(2), 1)])
            await asyncio.sleep(1.5)
            postgres.start()

            await eventually(has_status(database, before, "PROCESSED"))
            await eventually(has_status(database, during, "FAILED"))
        assert (await job_row(database, before))["ended"] == 150
    assert projector.crash_reason is None


async def test_it_starts_without_postgresql(
    installed: Settings, sender: Sender, postgres: PostgresServer, projection: Database
) -> None:
    job = await sender.job(1)
    postgres.stop()
    async with running(Projector(installed)):
        await asyncio.sleep(1)
        postgres.start()

        await eventually(has_status(projection, job, "PENDING"))


async def test_it_stops_while_postgresql_is_away(installed: Settings, sender: Sender, postgres: PostgresServer) -> None:
    projector = Projector(installed)
    try:
        async with running(projector):
            postgres.stop()
            await sender.job(1)
            await asyncio.sleep(0.5)
        assert projector.crash_reason is None
    finally:
        postgres.start()


async def test_what_was_written_is_not_read_again_though_kafka_was_never_told(
    installed: Settings, sender: Sender, projection: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A projector that dies between its transaction and the commit of its offsets."""
    job = await sender.job(3)
    await sender.events(succeeded(job, range(2)))
    with monkeypatch.context() as patch:
        patch.setattr(Projector, "_commit", _commit_nothing)
        async with running(Projector(installed)):
            await eventually(lambda: _ended(projection, job, 2))

    read: list[tuple[str, int, int]] = []
    project = Projector._project

    async def noting(projector: Projector, records: Sequence[Any]) -> None:
        read.extend((record.topic, record.partition, record.offset) for record in records)
        await project(projector, records)

    monkeypatch.setattr(Projector, "_project", noting)
    async with running(Projector(installed)):
        await sender.events(succeeded(job, [2]))
        await eventually(has_status(projection, job, "PROCESSED"))

    assert read == [(installed.topics.events, partition_of(str(job), PARTITIONS), 1)]


async def _commit_nothing(_projector: Projector, _consumer: AIOKafkaConsumer) -> None:
    """Die before telling Kafka, as far as Kafka can see."""


async def _ended(database: Database, job: UUID, count: int) -> bool:
    found = await queries.get_job(database, job)
    return found is not None and (await job_row(database, job))["ended"] == count


async def test_an_empty_database_is_filled_from_the_beginning_of_the_log(
    installed: Settings, sender: Sender, projection: Database
) -> None:
    job = await sender.job(2)
    await sender.events(succeeded(job, range(2)))
    async with running(Projector(installed)):
        await eventually(has_status(projection, job, "PROCESSED"))
    await projection.fetch(text("TRUNCATE jobs, tasks, projection_offsets"))

    async with running(Projector(installed)):
        await eventually(has_status(projection, job, "PROCESSED"))


async def test_an_empty_database_passes_what_the_log_has_forgotten(
    installed: Settings, sender: Sender, projection: Database
) -> None:
    """Else whoever asks whether all is projected would wait for the next message of each partition."""
    job = await sender.job(1)
    await sender.events(succeeded(job, [0]))
    await forget_log(installed)

    async with running(Projector(installed)):
        await eventually(lambda: _nothing_is_missing(projection, installed))

    forgotten = await log_ends(installed.kafka_access, installed.topics.tasks)
    assert await queries.is_projected(projection, installed.topics.tasks, {p: end - 1 for p, end in forgotten.items()})


async def _nothing_is_missing(database: Database, settings: Settings) -> bool:
    topics = settings.topics.tasks, settings.topics.events
    missing = [await behind(database, settings.kafka_access, topic) for topic in topics]
    return not any(messages for by_partition in missing for messages in by_partition.values())


@pytest.mark.parametrize("idle", [True, False])
async def test_a_database_that_went_back_in_time_is_filled_from_there(
    installed: Settings,
    sender: Sender,
    projection: Database,
    monkeypatch: pytest.MonkeyPatch,
    idle: bool,  # noqa: FBT001 — a column
) -> None:
    """As after a failover to a replica that lagged: nobody told the projector, and no connection need have broken."""
    topics = [installed.topics.tasks, installed.topics.events]
    if not idle:
        # Then only what is written next can notice.
        monkeypatch.setattr(Projector, "_look_back", _look_nowhere)
    async with running(Projector(installed)):
        kept = await sender.job(2)
        await sender.events(succeeded(kept, [0]))
        await eventually(lambda: _ended(projection, kept, 1))
        then = await queries.projected_offsets(projection, topics)
        lost = [await sender.job(2) for _ in range(10)]
        for job in lost:
            await sender.events(succeeded(job, range(2)))
        for job in lost:
            await eventually(has_status(projection, job, "PROCESSED"))

        await _go_back(projection, kept, then)
        if not idle:
            for partition in range(PARTITIONS):
                await sender.raw(installed.topics.tasks, partition, slices.encode_message([]))
                await sender.raw(installed.topics.events, partition, encode_events([]))
        for job in lost:
            await eventually(has_status(projection, job, "PROCESSED"))
        await sender.events(succeeded(kept, [1]))
        await eventually(has_status(projection, kept, "PROCESSED"))
        assert (await job_row(projection, kept))["ended"] == 2


async def _look_nowhere(_projector: Projector) -> None:
    """Notice nothing."""


async def _go_back(database: Database, kept: UUID, offsets: dict[tuple[str, int], int]) -> None:
    """Leave what there was at these offsets: one job."""
    async with database.transaction() as transaction:
        await transaction.execute(text("DELETE FROM tasks WHERE job_id <> :kept"), {"kept": str(kept)})
        await transaction.execute(text("DELETE FROM jobs WHERE id <> :kept"), {"kept": str(kept)})
        await transaction.execute(text("DELETE FROM projection_offsets"))
        for (topic, partition), offset in offsets.items():
            row = {"topic": topic, "partition": partition, "next": offset}
            await transaction.execute(text("INSERT INTO projection_offsets VALUES (:topic, :partition, :next)"), row)


async def test_a_log_that_begins_anew_is_read_from_its_beginning(
    installed: Settings, sender: Sender, projection: Database, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [
        (topic, number) for topic in (installed.topics.tasks, installed.topics.events) for number in range(PARTITIONS)
    ]
    for topic, number in rows:
        insert = text("INSERT INTO projection_offsets VALUES (:topic, :number, 1000000)")
        await projection.fetch(insert, {"topic": topic, "number": number})

    async with running(Projector(installed)):
        job = await sender.job(1)
        await sender.events(succeeded(job, [0]))
        await eventually(has_status(projection, job, "PROCESSED"))

    assert "the log was replaced" in caplog.text
    assert max((await queries.projected_offsets(projection, [installed.topics.tasks])).values()) < 10


async def test_projectors_share_the_work_and_take_over_from_each_other(
    installed: Settings, sender: Sender, projection: Database
) -> None:
    first, second = Projector(installed), Projector(installed)
    jobs: list[UUID] = []

    async def submit(count: int) -> None:
        for _ in range(count):
            job = await sender.job(120, Strategy.CONCURRENT)
            jobs.append(job)
            await sender.events(succeeded(job, range(60)))
            await sender.events(succeeded(job, range(60, 120)))

    async with running(first):
        await submit(10)
        async with running(second):
            await eventually(lambda: _shared(first, second), what="share of the partitions")
            await submit(20)
        await submit(10)
        for job in jobs:
            await eventually(has_status(projection, job, "PROCESSED"))

    for job in jobs:
        assert (await job_row(projection, job))["ended"] == 120


async def _shared(*projectors: Projector) -> bool:
    return all(len(projector._following.next) == PARTITIONS for projector in projectors)


async def test_it_survives_the_restart_of_the_broker(
    installed: Settings, sender: Sender, projection: Database, kafka: KafkaServer
) -> None:
    projector = Projector(installed)
    async with running(projector):
        before = await sender.job(1)
        await eventually(has_status(projection, before, "PENDING"))
        await asyncio.to_thread(kafka.stop)
        kafka.start()

        await sender.events(succeeded(before, [0]))
        await eventually(has_status(projection, before, "PROCESSED"))
    assert projector.crash_reason is None
