"""Submissions under an id that the caller chose: repeated ones get the job there is, another job is refused."""

from collections import OrderedDict
from contextlib import suppress
from uuid import UUID

from jabba.errors import Conflict, Unavailable
from jabba.models import Job
from jabba.persistence import queries
from jabba.persistence.database import Database
from jabba.producer import Prepared

_REMEMBERED = 10_000
"""The last submissions of this process; PostgreSQL may not show them yet."""


class Repeats:
    """Compares digests, with what this process has sent and with what PostgreSQL has.

    Without PostgreSQL a repeat is sent again: the worker that ran the job recognises it.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._recent: OrderedDict[UUID, str] = OrderedDict()

    async def existing(self, prepared: Prepared) -> Job | None:
        """Answer the job that this submission repeats, if it is projected.

        Raises:
            Conflict: another job has this id.
        """
        if not prepared.named:
            return None
        job = prepared.job.id
        known = self._recent.get(job)
        found = None
        if known is None or known == prepared.digest:
            with suppress(Unavailable):
                known = await queries.job_digest(self._database, job) or known
                found = await queries.get_job(self._database, job)
        if known not in (None, prepared.digest):
            raise Conflict(f"another job has the id {job}")
        self._remember(job, prepared.digest)
        return found

    def _remember(self, job: UUID, digest: str) -> None:
        self._recent[job] = digest
        self._recent.move_to_end(job)
        if len(self._recent) > _REMEMBERED:
            self._recent.popitem(last=False)
