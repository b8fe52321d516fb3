"""What those who wait and watch ask PostgreSQL: one function each, one sentence each."""

from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import ARRAY, Text, Uuid, bindparam, cast, func, literal, select

from jabba.database.connection import Database
from jabba.database.schema import jobs
from jabba.jobs.models import Job
from jabba.search import JOBS_OF_EVENTS


async def ended_jobs(database: Database, ids: Iterable[UUID]) -> dict[UUID, Job]:
    """Return those of the jobs that have ended."""
    found = await database.fetch(_ENDED_JOBS, {"ids": [str(job) for job in ids]})
    return {row["id"]: Job(**row) for row in found}


async def lasting_facts(database: Database, ids: Iterable[UUID]) -> dict[UUID, bytes]:
    """Return of those of the jobs that there are what never changes, as JSON."""
    found = await database.fetch(_LASTING, {"ids": [str(job) for job in ids]})
    return {row["id"]: row["facts"].encode() for row in found}


_JOB = [jobs.c[name] for name in Job.model_fields]

_AMONG = jobs.c.id == func.any(cast(bindparam("ids", type_=ARRAY(Text)), ARRAY(Uuid)))
_SHOWN = jobs.c.meta.is_not(None)

_ENDED_JOBS = select(*_JOB).where(_AMONG, jobs.c.ended_at.is_not(None), _SHOWN)

# Made into a text there: it is kept as that, and most of it is never looked at.
_FACTS = [part for name in JOBS_OF_EVENTS.fields if name != "id" for part in (literal(name, Text), jobs.c[name])]
_LASTING = select(jobs.c.id, cast(func.jsonb_build_object(*_FACTS), Text).label("facts")).where(_AMONG, _SHOWN)
