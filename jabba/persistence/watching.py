"""What those who wait and watch ask PostgreSQL: one function each, one sentence each."""

from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import ARRAY, Text, Uuid, bindparam, cast, func, select

from jabba.models import Job
from jabba.persistence.database import Database
from jabba.persistence.schema import jobs


async def ended_jobs(database: Database, ids: Iterable[UUID]) -> dict[UUID, Job]:
    """Answer those of the jobs that have ended."""
    found = await database.fetch(_ENDED_JOBS, {"ids": [str(job) for job in ids]})
    return {row["id"]: Job(**row) for row in found}


_JOB = [jobs.c[name] for name in Job.model_fields]

_ENDED_JOBS = select(*_JOB).where(
    jobs.c.id == func.any(cast(bindparam("ids", type_=ARRAY(Text)), ARRAY(Uuid))),
    jobs.c.ended_at.is_not(None),
    jobs.c.meta.is_not(None),
)
