"""Submissions under an id that the caller chose: repeated ones get the job there is, another job is refused."""

from collections import OrderedDict
from functools import partial
from uuid import UUID

from jabba.database import queries
from jabba.database.connection import Database
from jabba.errors import Conflict
from jabba.jobs.models import Job
from jabba.producer.submission import Prepared
from web.dataloader import DataLoader

_REMEMBERED = 10_000
"""The last submissions of this process; PostgreSQL may not show them yet."""


class Repeats:
    """Compares digests, with what this process has sent and with what PostgreSQL has.

    Without PostgreSQL a repeat is sent again: the worker that ran the job recognises it.
    """

    def __init__(self, database: Database) -> None:
        self._known = DataLoader(partial(queries.known_jobs, database))
        self._recent: OrderedDict[UUID, str] = OrderedDict()

    async def existing(self, prepared: Prepared) -> Job | None:
        """Return the job that this submission repeats, if it is projected.

        Raises:
            Conflict: another job has this id.
        """
        if not prepared.named:
            return None
        job = prepared.job.id
        # Before anything is awaited: of two jobs that come under one id at the same moment, one is refused.
        self._agree(job, self._recent.get(job), prepared.digest)
        found = await self._known.ask(job)
        if found is None:
            return None
        self._agree(job, found.digest, prepared.digest)
        return found.job

    def _agree(self, job: UUID, known: str | None, digest: str) -> None:
        self._recent[job] = known or digest
        self._recent.move_to_end(job)
        if len(self._recent) > _REMEMBERED:
            self._recent.popitem(last=False)
        if known not in (None, digest):
            raise Conflict(f"another job has the id {job}")
