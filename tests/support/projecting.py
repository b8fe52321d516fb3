"""Jobs, their slices and events as the log would carry them, and the projection of them without Kafka."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from jabba.database.connection import Database, Row
from jabba.database.schema import jobs, projection_offsets, tasks
from jabba.jobs import ids
from jabba.jobs.lifecycle import Version
from jabba.jobs.models import JobSpec, Limits
from jabba.messages import slices
from jabba.messages.slices import Slice, decode_message, encode_message
from jabba.projection.fold import Content, Fact, fold
from jabba.projection.statements import write

NOW = 1_790_000_000_000
"""The moment at which the tests' jobs are submitted, in milliseconds."""

TOPIC = "jabba-tasks"


def moment(milliseconds: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)


def new_job() -> UUID:
    return ids.new_job_id(NOW / 1000)


def job_spec(count: int, **given: Any) -> JobSpec:
    """Return a submission of ``count`` tasks."""
    tasks_ = [{"callback": ["local", "tests", "step", [number]], "name": f"step {number}"} for number in range(count)]
    return JobSpec.parse({"tasks": tasks_, "type": "test", "meta": {"request_id": "r-1"}, **given}, Limits())


def slices_of(job: UUID, spec: JobSpec) -> list[Slice]:
    """Return the slices of a submission, as a reader of the log sees them."""
    return decode_message(encode_message([encoded.text for encoded in slices.cut(spec, job, Limits())]))


def version(seq: int, *, epoch: int = 1, run: int = 0) -> Version:
    return Version(run, epoch, seq)


def facts(contents: Iterable[Content], at: int = NOW) -> list[Fact]:
    return [Fact(content, at) for content in contents]


async def project(database: Database, batch: Sequence[Fact], offset: int = 1) -> None:
    """Write a batch as the projector does."""
    async with database.transaction() as transaction:
        await write(transaction, fold(batch), {(TOPIC, 0): offset})


async def job_row(database: Database, job: UUID) -> Row:
    (row,) = await database.fetch(jobs.select().where(jobs.c.id == str(job)))
    return row


async def task_rows(database: Database, job: UUID) -> list[Row]:
    return await database.fetch(tasks.select().where(tasks.c.job_id == str(job)).order_by(tasks.c.position))


async def statuses(database: Database, job: UUID) -> list[str]:
    return [row["status"] for row in await task_rows(database, job)]


async def next_offsets(database: Database) -> dict[tuple[str, int], int]:
    rows = await database.fetch(projection_offsets.select())
    return {(row["topic"], row["partition"]): row["next_offset"] for row in rows}
