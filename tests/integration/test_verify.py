"""The projection is compared with the log: a good one has no difference, and whatever is changed is named."""

import asyncio
import json
from pathlib import Path
from uuid import UUID

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.records_to_delete import RecordsToDelete
from sqlalchemy import text

from jabba.errors import NotReady
from jabba.lifecycle import Strategy, TaskSucceeded
from jabba.persistence.database import Database
from jabba.persistence.projector import Projector
from jabba.settings import Settings
from tests.support.processes import jabba_process
from tests.support.projecting import new_job, version
from tests.support.sending import Sender, running, succeeded
from tests.support.verifying import Load, places, project_all, send_load, verified


@pytest.fixture
async def load(installed: Settings, sender: Sender) -> Load:
    """Jobs of every kind, projected."""
    load = await send_load(sender)
    await project_all(installed)
    return load


_COPIED = "inserted_at, updated_at, run, status, strategy, type, meta, digest, total, n_slices"

_INSERT_TASK = "INSERT INTO tasks (id, job_id, position, inserted_at, updated_at, status)"

PLANTED: dict[str, list[tuple[str, set[tuple[int | None, str]]]]] = {
    "processed": [
        ("UPDATE jobs SET status = 'PENDING' WHERE id = :job", {(None, "status")}),
        ("UPDATE jobs SET meta = jsonb_set(meta, '{deep,1}', '1') WHERE id = :job", {(None, "meta")}),
        ("UPDATE tasks SET result = result - 'text' WHERE job_id = :job AND position = 0", {(0, "result")}),
    ],
    "failed": [
        ("UPDATE jobs SET ended_at = NULL, ended = 2 WHERE id = :job", {(None, "ended_at"), (None, "ended")}),
        (
            "UPDATE jobs SET unsuccessful = 0, status = 'PROCESSED' WHERE id = :job",
            {(None, "unsuccessful"), (None, "status")},
        ),
        (
            "UPDATE tasks SET callback = jsonb_set(callback, '{args}', '[]') WHERE job_id = :job AND position = 4",
            {(4, "callback")},
        ),
    ],
    "closed": [("UPDATE jobs SET reason = 'else', type = 'x' WHERE id = :job", {(None, "reason"), (None, "type")})],
    "sliced": [("DELETE FROM tasks WHERE job_id = :job AND position = 201", {(201, "row")})],
    "concurrent": [("UPDATE tasks SET result = '{}' WHERE job_id = :job AND position = 7", {(7, "result")})],
    "running": [
        (
            "UPDATE tasks SET status = 'NEW', attempt = 4 WHERE job_id = :job AND position = 2",
            {(2, "status"), (2, "attempt")},
        )
    ],
    "waiting": [
        ("UPDATE tasks SET status = 'NEW' WHERE job_id = :job AND position = 0", {(0, "status")}),
        (
            f"{_INSERT_TASK} VALUES (gen_random_uuid(), :job, 3, now(), now(), 'NEW')",
            {(3, "row")},
        ),
    ],
    "repeated": [("UPDATE tasks SET epoch = 3 WHERE job_id = :job AND position = 1", {(1, "epoch")})],
    "rescued": [("DELETE FROM jobs WHERE id = :job", {(None, "row")})],
}
"""By job, SQL that changes the projection, and the differences that makes: the index of the task, and the column."""


async def test_a_good_projection_has_no_difference_and_every_change_is_named(
    installed: Settings, load: Load, projection: Database
) -> None:
    report, found = await verified(installed)
    assert found == []
    assert (report.jobs, report.jobs_in_part, report.waiting) == (9, 0, {})
    assert report.tasks == 3 + 250 + 230 + 5 + 4 + 6 + 3 + 150 + 2

    wanted = set()
    for name, changes in PLANTED.items():
        job = getattr(load, name)
        for statement, differences in changes:
            await projection.fetch(text(statement), {"job": str(job)})
            wanted |= {(job, *one) for one in differences}
    phantom, orphan = await _plant_strangers(projection, load)
    report, found = await verified(installed)
    assert places(found) == wanted | {(phantom, None, "row"), (orphan, 0, "row")}
    assert report.differences == len(found)
    assert report.different == {job for job, *_ in wanted} | {phantom, orphan}


async def _plant_strangers(projection: Database, load: Load) -> tuple[UUID, UUID]:
    """Insert a job that nobody submitted, and a task without a job."""
    phantom, orphan = new_job(), new_job()
    copy = f"INSERT INTO jobs (id, {_COPIED}) SELECT :phantom, {_COPIED} FROM jobs WHERE id = :job"  # noqa: S608
    await projection.fetch(text(copy), {"phantom": str(phantom), "job": str(load.failed)})
    insert = f"{_INSERT_TASK} VALUES (gen_random_uuid(), :job, 0, now(), now(), 'NEW')"
    await projection.fetch(text(insert), {"job": str(orphan)})
    return phantom, orphan


async def test_work_that_goes_on_is_no_difference(installed: Settings, sender: Sender, load: Load) -> None:
    async with running(Projector(installed)):
        working = asyncio.create_task(_work(sender))
        try:
            reports = [await verified(installed) for _ in range(3)]
        finally:
            working.cancel()
            await asyncio.wait({working})

    assert [found for _, found in reports] == [[], [], []]
    counts = [report.jobs for report, _ in reports]
    assert counts == sorted(set(counts))


async def _work(sender: Sender) -> None:
    while True:
        jobs = [await sender.job(12) for _ in range(3)] + [await sender.job(120, Strategy.CONCURRENT)]
        for start in range(0, 12, 4):
            for job in jobs:
                await sender.events(succeeded(job, range(start, start + 4)))


async def test_what_postgresql_cannot_store_is_no_difference(installed: Settings, sender: Sender, load: Load) -> None:
    """The projector puts such messages aside; their neighbours are projected, and compared."""
    await sender.events([TaskSucceeded(load.waiting, 0, version(2**40), 1, {})])
    poison = TaskSucceeded(load.waiting, 0, version(1), 1, {"a": "REPLACE"})
    await sender.events([poison], replacing=(b"REPLACE", b"\\u0000"))
    await sender.events(succeeded(load.waiting, [1]))
    await project_all(installed)

    assert (await verified(installed))[1] == []


async def test_jobs_older_than_the_log_are_compared_as_far_as_it_goes(
    installed: Settings, sender: Sender, load: Load, projection: Database
) -> None:
    await _forget(installed)
    await sender.events(succeeded(load.waiting, [0]))
    await sender.events([TaskSucceeded(load.running, 2, version(6), 1, {"n": 2})])
    for _ in range(20):
        await sender.job(1)
    young = await sender.job(2)
    await project_all(installed)
    report, found = await verified(installed)
    assert found == []
    assert report.jobs == 23
    # And those among the twenty that are older than what both partitions still have.
    assert 2 <= report.jobs_in_part < 20

    for statement, job in (
        ("UPDATE tasks SET status = 'FAILED' WHERE job_id = :job AND position = 0", load.waiting),
        ("UPDATE tasks SET result = '{}' WHERE job_id = :job AND position = 2", load.running),
        ("UPDATE tasks SET status = 'NEW' WHERE job_id = :job", young),
    ):
        await projection.fetch(text(statement), {"job": str(job)})
    _, found = await verified(installed)
    wanted = {(load.waiting, 0, "status"), (load.running, 2, "result"), (young, 0, "status")}
    assert places(found) == wanted


async def _forget(settings: Settings) -> None:
    """Delete all of the log but its last messages, as time does."""
    client = AIOKafkaAdminClient(bootstrap_servers=settings.kafka)
    await client.start()
    try:
        topics = (settings.topics.tasks, settings.topics.events)
        places = [TopicPartition(topic, number) for topic in topics for number in range(settings.partitions)]
        await client.delete_records({place: RecordsToDelete(-1) for place in places})
    finally:
        await client.close()


async def test_a_projection_that_is_behind_is_said_to_be(
    installed: Settings, sender: Sender, load: Load, tmp_path: Path, projection: Database
) -> None:
    """And what is projected is compared all the same."""
    await sender.job(1)
    verify = jabba_process("verify", "--wait", "0", "--json", environment=installed.as_environ(), log=tmp_path / "log")
    with verify:
        assert verify.start().wait_for_exit() == 3
        told = json.loads(verify.output().splitlines()[-1])
        assert (told["jobs"], told["differences"], [count for *_, count in told["waiting"]]) == (9, 0, [1])

        await projection.fetch(text("UPDATE jobs SET name = 'x' WHERE id = :job"), {"job": str(load.failed)})
        assert verify.start().wait_for_exit() == 1
        told = json.loads(verify.output().splitlines()[0])
        assert told == {"job": str(load.failed), "index": None, "column": "name", "log": None, "postgresql": "x"}

    shown = jabba_process("verify", "--wait", "0", environment=installed.as_environ(), log=tmp_path / "shown")
    with shown:
        assert shown.start().wait_for_exit() == 1
    assert f'job {load.failed}: name: log null, PostgreSQL "x"\n' in shown.output()
    assert "1 differences in 1 jobs" in shown.output()


async def test_a_projection_of_another_log_is_not_compared(
    installed: Settings, sender: Sender, projection: Database
) -> None:
    await projection.fetch(
        text("INSERT INTO projection_offsets VALUES (:topic, 0, 1000)"), {"topic": installed.topics.tasks}
    )
    with pytest.raises(NotReady, match="is another one"):
        await verified(installed)
