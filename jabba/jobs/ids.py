"""Ids: jobs carry a UUIDv7 made by the submitter, tasks an id derived from their job's."""

import hashlib
import os
from uuid import UUID

from jabba.errors import InvalidRequest

MAX_SKEW_SECONDS = 300.0
"""How far the time inside a new job's id may be from ours; the de-duplication window relies on it."""

_UUID_VERSION_OF_JOBS = 7
_UUID_VERSION_OF_TASKS = 8
_RANDOM_BITS = 74
_VARIANT = 0b10 << 62


def new_job_id(now: float) -> UUID:
    """Make a UUIDv7 (RFC 9562) of the moment ``now``, in seconds since the epoch."""
    return _timed_uuid(int(now * 1000), _UUID_VERSION_OF_JOBS, int.from_bytes(os.urandom(10)))


def job_seconds(job: UUID) -> float:
    """Return the moment inside a UUIDv7, in seconds since the epoch."""
    return (job.int >> 80) / 1000


def check_job_id(job: UUID, now: float) -> None:
    """Refuse an id that is no UUIDv7, or one whose moment is not close to ``now``.

    Raises:
        InvalidRequest: names the field ``id``.
    """
    if job.version != _UUID_VERSION_OF_JOBS:
        raise InvalidRequest.at("id", "must be a UUIDv7")
    if abs(job_seconds(job) - now) > MAX_SKEW_SECONDS:
        raise InvalidRequest.at("id", f"its time is more than {MAX_SKEW_SECONDS:.0f} s away from now")


def task_id(job: UUID, index: int) -> UUID:
    """Derive the id of the task with number ``index`` (from 0).

    It is a UUIDv8 that shares the job's time, so that rows of one moment stay neighbours in the database's indexes.
    """
    digest = hashlib.blake2b(job.bytes + index.to_bytes(4), digest_size=10).digest()
    return _timed_uuid(job.int >> 80, _UUID_VERSION_OF_TASKS, int.from_bytes(digest))


def _timed_uuid(milliseconds: int, version: int, random: int) -> UUID:
    random &= (1 << _RANDOM_BITS) - 1
    high = (milliseconds & ((1 << 48) - 1)) << 16 | version << 12 | random >> 62
    return UUID(int=high << 64 | _VARIANT | random & ((1 << 62) - 1))
