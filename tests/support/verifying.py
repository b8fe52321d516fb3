"""Jobs in every state, and the verification of their projection."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from uuid import UUID

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.records_to_delete import RecordsToDelete
from sqlalchemy import text

from jabba.clock import Clock, SystemClock
from jabba.database import queries
from jabba.database.connection import Database
from jabba.jobs import ids
from jabba.jobs.lifecycle import (
    Event,
    JobClosed,
    Strategy,
    TaskFailed,
    TaskRescued,
    TasksAborted,
    TaskStarted,
    TaskSucceeded,
)
from jabba.projection.lag import log_ends
from jabba.projection.projector import Projector
from jabba.projection.verify.compare import Difference
from jabba.projection.verify.verify import Report, Verification
from jabba.settings import Settings
from tests.support.processes import eventually
from tests.support.projecting import version
from tests.support.sending import Sender, running, succeeded

Where = tuple[UUID, int | None, str]
"""A job, the index of a task of it or None, and a column."""


@dataclass
class Load:
    """One job of each kind that there is, by what has become of it."""

    processed: UUID
    sliced: UUID
    concurrent: UUID
    failed: UUID
    rescued: UUID
    running: UUID
    waiting: UUID
    closed: UUID
    repeated: UUID


async def send_load(sender: Sender) -> Load:
    """Submit one job of each kind, and tell what has happened to it."""
    load = Load(
        processed=await sender.job(3, meta={"float": 1e21, "small": 1e-7, "deep": [{"a": None}, True, 1, "é\n"]}),
        sliced=await sender.job(250),
        concurrent=await sender.job(230, Strategy.CONCURRENT),
        failed=await sender.job(5),
        rescued=await sender.job(4, Strategy.CONCURRENT),
        running=await sender.job(6),
        waiting=await sender.job(3),
        closed=await sender.job(250, without=1),
        repeated=await sender.job(2),
    )
    for events in _happened(load):
        await sender.events(events)
    return load


def _happened(load: Load) -> list[list[Event | JobClosed]]:
    odd = {"float": 0.1, "large": 1.5e300, "text": "a\\u0000b", "none": None}
    return [
        [TaskSucceeded(load.processed, 0, version(1), 1, odd), *succeeded(load.processed, [1, 2])],
        [*succeeded(load.sliced, range(120))],
        [*succeeded(load.sliced, range(120, 250))],
        [*succeeded(load.concurrent, range(0, 230, 2))],
        [*succeeded(load.concurrent, range(1, 230, 2))],
        [*succeeded(load.failed, [0]), TaskFailed(load.failed, 1, version(2), 2, {"no": 1})],
        [TasksAborted(load.failed, 2, version(3), 3)],
        [TaskRescued(load.rescued, 2, version(1), 1, {"error": "bad luck"}), *succeeded(load.rescued, [3])],
        [*succeeded(load.running, [0, 1]), TaskStarted(load.running, 2, version(5), 1)],
        [*succeeded(load.closed, range(100)), JobClosed(load.closed, version(0), "incomplete_submission")],
        [TasksAborted(load.closed, 200, version(300), 50)],
        [*succeeded(load.repeated, [0, 1])],
        # The next owner of the partition tells it once more.
        [TaskSucceeded(load.repeated, 1, version(9, epoch=2), 1, {"n": 1})],
    ]


async def project_all(settings: Settings) -> None:
    """Run a projector until it has projected what stands in the log."""
    async with running(Projector(settings)), Database(settings.database.get_secret_value()) as database:
        await eventually(is_projected(settings, database), 60, "projection of it all")


def is_projected(settings: Settings, database: Database) -> Callable[[], Awaitable[bool]]:
    """Return what asks whether the projection has come to the end of the log."""

    async def ask() -> bool:
        for topic in (settings.topics.tasks, settings.topics.events):
            reached = await queries.projected_offsets(database, [topic])
            for partition, end in (await log_ends(settings.kafka_access, topic)).items():
                if reached.get((topic, partition), 0) < end:
                    return False
        return True

    return ask


_COPIED = "inserted_at, updated_at, run, status, strategy, type, meta, digest, total, n_slices"

_INSERT_TASK = "INSERT INTO tasks (id, job_id, position, inserted_at, updated_at, status)"

_PLANTED: dict[str, list[tuple[str, set[tuple[int | None, str]]]]] = {
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


async def plant_differences(database: Database, load: Load) -> set[Where]:
    """Change the projection; answer where it differs then."""
    wanted = set()
    for name, changes in _PLANTED.items():
        job = getattr(load, name)
        for statement, differences in changes:
            await database.fetch(text(statement), {"job": str(job)})
            wanted |= {(job, *one) for one in differences}
    return wanted


async def plant_strangers(database: Database, load: Load) -> tuple[UUID, UUID]:
    """Insert a job that nobody submitted, and a task without a job."""
    phantom, orphan = (ids.new_job_id(SystemClock().now()) for _ in range(2))
    copy = f"INSERT INTO jobs (id, {_COPIED}) SELECT :phantom, {_COPIED} FROM jobs WHERE id = :job"  # noqa: S608
    await database.fetch(text(copy), {"phantom": str(phantom), "job": str(load.failed)})
    insert = f"{_INSERT_TASK} VALUES (gen_random_uuid(), :job, 0, now(), now(), 'NEW')"
    await database.fetch(text(insert), {"job": str(orphan)})
    return phantom, orphan


async def forget_log(settings: Settings) -> None:
    """Delete all of the log but its last messages, as time does."""
    client = AIOKafkaAdminClient(bootstrap_servers=settings.kafka)
    await client.start()
    try:
        topics = (settings.topics.tasks, settings.topics.events)
        places = [TopicPartition(topic, number) for topic in topics for number in range(settings.partitions)]
        await client.delete_records({place: RecordsToDelete(-1) for place in places})
    finally:
        await client.close()


async def verified(
    settings: Settings, wait_seconds: float = 30, clock: Clock | None = None
) -> tuple[Report, list[Difference]]:
    """Return what the verification reports, and the differences it found."""
    found: list[Difference] = []
    async with Database(settings.database.get_secret_value(), size=1, statement_seconds=60) as database:
        verification = Verification(settings, database, clock or SystemClock(), lambda *_: None)
        return await verification.run(wait_seconds, found.append), found


def places(found: list[Difference]) -> set[Where]:
    """Return where differences are."""
    return {(one.job, one.index, one.column) for one in found}
