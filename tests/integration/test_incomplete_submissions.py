"""A submission that dies half way is closed, and says why."""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from pydantic import SecretStr

from jabba.clock import SystemClock
from jabba.database import queries
from jabba.database.connection import Database
from jabba.jobs.models import Job
from jabba.kafka import admin
from jabba.kafka.security import KafkaAccess
from jabba.kafka.writer import Log
from jabba.messages import slices
from jabba.messages.slices import Slice
from jabba.messages.topics import partition_of
from jabba.producer.submission import prepare
from jabba.projection.incomplete_jobs import Closing
from jabba.projection.lag import log_ends
from jabba.search import tasks_of_job
from jabba.settings import Settings
from tests.support.kafka import KafkaServer
from tests.support.processes import eventually, jabba_process
from tests.support.sending import sending
from tests.support.verifying import project_all

MODULE = "tests.support.callbacks"


@pytest.fixture
async def installed(kafka: KafkaServer, migrated: str) -> Settings:
    made = Settings(
        kafka=kafka.bootstrap,
        database=SecretStr(migrated),
        prefix=f"i-{uuid4().hex[:8]}",
        partitions=2,
        callbacks=[MODULE],
        incomplete_seconds=3.0,
    )
    await admin.create_topics(made.cluster)
    return made


@pytest.fixture
def running(installed: Settings, tmp_path: Path) -> Iterator[Settings]:
    with ExitStack() as processes:
        for role, ready in (("worker", "worker ready"), ("projector", "projector ready")):
            process = jabba_process(role, environment=installed.as_environ(), log=tmp_path / role)
            processes.enter_context(process.start()).wait_for_line(ready, 60)
        yield installed


@pytest.fixture
async def database(running: Settings) -> AsyncIterator[Database]:
    async with Database(running.database.get_secret_value()) as made:
        yield made


async def submit_in_part(settings: Settings, strategy: str, missing: set[int]) -> UUID:
    """Send the slices of a job of four slices, without some."""
    tasks = [["local", MODULE, "echo", [n]] for n in range(400)]
    prepared = prepare({"tasks": tasks, "type": "part", "strategy": strategy}, settings.limits, SystemClock().now())
    async with Log(settings.kafka_access) as log:
        for k, slice_ in enumerate(prepared.slices):
            if k not in missing:
                partition = partition_of(slice_.key, settings.partitions)
                await log.append(settings.topics.tasks, partition, slices.encode_message([slice_.text]))
    return Slice.model_validate_json(prepared.slices[0].text).job


@pytest.mark.parametrize("strategy, missing", [("sequential", {2}), ("concurrent", {1}), ("sequential", {0})])
async def test_a_submission_that_died_half_way_is_closed(
    running: Settings, database: Database, strategy: str, missing: set[int]
) -> None:
    id_ = await submit_in_part(running, strategy, missing)

    async def closed() -> Job | None:
        job = await queries.get_job(database, id_)
        return job if job is not None and job.ended_at is not None else None

    job = await eventually(closed, 60, "closed job")
    assert job is not None
    assert (job.status, job.reason) == ("FAILED", "incomplete_submission")

    async def settled() -> list[str]:
        tasks = await queries.search_tasks(database, tasks_of_job(id_, cursor=[0, 1000]))
        found = [str(task.status) for task in tasks]
        return found if not {"NEW", "PENDING", "CONSUMED"} & set(found) else []

    ran = ["PROCESSED"] * 300 if strategy == "concurrent" else ["PROCESSED"] * (200 if 2 in missing else 0)
    assert await eventually(settled, 30, "end of all tasks") == ran + ["ABORTED"] * (300 - len(ran))


async def test_a_long_job_that_is_complete_is_left_alone(running: Settings, database: Database) -> None:
    id_ = await submit_in_part(running, "sequential", {3})
    whole = await submit_in_part(running, "sequential", set())

    async def ended(job_id: UUID) -> bool:
        job = await queries.get_job(database, job_id)
        return job is not None and job.ended_at is not None

    await eventually(partial(ended, id_), 60, "closed job")
    await eventually(partial(ended, whole), 60, "end of the other")
    job = await queries.get_job(database, whole)
    assert job is not None
    assert (job.status, job.reason) == ("PROCESSED", None)


async def test_a_job_whose_last_slice_is_projected_while_the_log_is_asked_is_left_alone(
    installed: Settings, projection: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after an outage, when the projection catches up."""
    at_once = installed.model_copy(update={"incomplete_seconds": 0.0})
    async with sending(installed) as sender, Log(installed.kafka_access) as log:
        closing = Closing(at_once, projection, log, SystemClock())
        job = await sender.job(250, without=1)
        await project_all(installed)
        assert await closing.look() == 1

        async def catches_up(access: KafkaAccess, topic: str) -> Mapping[int, int]:
            await sender.missing(job, 250, 1)
            await project_all(installed)
            return await log_ends(access, topic)

        monkeypatch.setattr("jabba.projection.lag.log_ends", catches_up)
        assert await closing.look() == 0
