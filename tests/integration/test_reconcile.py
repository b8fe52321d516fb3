"""When the log is lost, what PostgreSQL holds unfinished goes on in a new one."""

from collections.abc import Mapping
from pathlib import Path
from uuid import uuid4

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from jabba import Job, Producer
from jabba.database import queries
from jabba.database.connection import Database
from jabba.errors import NotReady
from jabba.kafka import admin
from jabba.kafka.security import KafkaAccess
from jabba.local.reconcile import reconcile, unfinished
from jabba.projection.lag import log_ends
from jabba.projection.projector import Projector
from jabba.search import tasks_of_job
from jabba.settings import Settings
from tests.support.kafka import KafkaServer
from tests.support.processes import eventually, jabba_process
from tests.support.sending import Sender
from tests.support.verifying import project_all

MODULE = "tests.support.callbacks"


def settings_of(kafka: KafkaServer, dsn: str, prefix: str) -> Settings:
    return Settings(kafka=kafka.bootstrap, database=SecretStr(dsn), prefix=prefix, partitions=2, callbacks=[MODULE])


async def test_unfinished_jobs_go_on_in_a_new_log(
    kafka: KafkaServer, migrated: str, projection: Database, tmp_path: Path
) -> None:
    lost = settings_of(kafka, migrated, f"lost-{uuid4().hex[:8]}")
    await admin.create_topics(lost.cluster)
    projector = Projector(lost)
    await projector.start()
    try:
        async with Producer(lost.kafka, prefix=lost.prefix) as producer:
            submitted = await producer.create_job([["local", MODULE, "echo", [n]] for n in range(3)], "test")

        async def shown() -> Job | None:
            return await queries.get_job(projection, submitted.id)

        await eventually(shown, 60, "job")
    finally:
        await projector.stop()
    with pytest.raises(NotReady, match="go on by themselves"):
        await unfinished(lost)

    new = settings_of(kafka, migrated, f"new-{uuid4().hex[:8]}")
    await admin.create_topics(new.cluster)
    # As if the topics of this name had been there before, and longer.
    moved = "UPDATE projection_offsets SET topic = replace(topic, :lost, :new), next_offset = next_offset + 1000"
    await projection.fetch(text(moved), {"lost": lost.prefix, "new": new.prefix})
    assert await unfinished(new) == [submitted.id]
    assert await reconcile(new) == 1

    environment = new.as_environ()
    with (
        jabba_process("worker", environment=environment, log=tmp_path / "worker") as worker,
        jabba_process("projector", environment=environment, log=tmp_path / "projector") as projecting,
    ):
        worker.start()
        projecting.start()

        async def ended() -> Job | None:
            job = await queries.get_job(projection, submitted.id)
            return job if job is not None and job.ended_at is not None else None

        job = await eventually(ended, 60, "end of the job")
    assert job is not None
    assert job.status == "PROCESSED"
    results = [task.result for task in await queries.search_tasks(projection, tasks_of_job(submitted.id))]
    assert results == [{"args": [n]} for n in range(3)]


async def test_a_projection_that_goes_on_while_the_log_is_asked_is_of_the_same_log(
    installed: Settings, sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else jobs that run would be submitted again."""

    async def goes_on(access: KafkaAccess, topic: str) -> Mapping[int, int]:
        found = await log_ends(access, topic)
        await sender.job(1)
        await project_all(installed)
        return found

    monkeypatch.setattr("jabba.projection.lag.log_ends", goes_on)
    with pytest.raises(NotReady, match="go on by themselves"):
        await unfinished(installed)
