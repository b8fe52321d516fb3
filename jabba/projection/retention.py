"""The upkeep of the tables: partitions for the coming weeks are made, and what is older than it is kept goes."""

import asyncio
import logging
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import psycopg2

from jabba.clock import Clock
from jabba.database import audit, partitions
from jabba.database.connection import Database, TransactionLost
from jabba.database.weeks import weeks_between
from jabba.errors import Unavailable
from jabba.settings import LEAST_KEEP_DAYS, Settings

logger = logging.getLogger(__name__)

_PAUSE_SECONDS = 60.0
_STATEMENT_SECONDS = 600.0
_DAY = 24 * 3600 * 1000

_AHEAD_DAYS = 21


class Upkeep:
    """Looks now and then whether there is something to make or to drop.

    Nothing waits for it: rows that find no partition of their week are in the default one, and move when it is made.
    What it cannot do, because somebody holds a lock or this user owns no tables, is tried again at the next look.
    """

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._keep_days = settings.keep_days
        self._audit_days = settings.audit_days
        self._clock = clock
        dsn = settings.database.get_secret_value()
        self._database = Database(dsn, size=1, statement_seconds=_STATEMENT_SECONDS)

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(_PAUSE_SECONDS)

    async def look(self) -> None:
        """Make, drop and count what there is to."""
        async with self._database:
            now = int(self._clock.now() * 1000)
            expired = days_before(now, self._keep_days)
            await self._attempt("create partitions", self._make(now, expired))
            if expired:
                await self._attempt("drop expired jobs", self._drop(expired))
            if old := days_before(now, self._audit_days):
                await self._attempt("delete old audit entries", self._forget(old))
            await self._attempt("analyse grown tables", partitions.analyse_grown(self._database))

    async def _attempt(self, what: str, work: Awaitable[None]) -> None:
        try:
            await work
        except (psycopg2.Error, TransactionLost, Unavailable) as error:
            failed = {"duty": what, "error": str(error).strip()}
            logger.warning("maintenance of the tables failed, trying again later", extra=failed)

    async def _make(self, now: int, expired: int) -> None:
        """Make partitions of what may come: what the log holds, and some weeks ahead."""
        made = set(await partitions.made_weeks(self._database))
        for week in weeks_between(now - LEAST_KEEP_DAYS * _DAY, now + _AHEAD_DAYS * _DAY):
            if week not in made and week.end > expired:
                await partitions.make(self._database, week)

    async def _drop(self, expired: int) -> None:
        """Drop the weeks whose jobs have all ended; of the others, and of what is in no week, delete what has."""
        for week in await partitions.made_weeks(self._database):
            if week.end <= expired and not await partitions.drop(self._database, week):
                await self._delete(week.word, expired)
        await self._delete(partitions.DEFAULT, expired)

    async def _forget(self, old: int) -> None:
        await audit.forget(self._database, _moment(old))

    async def _delete(self, word: str, expired: int) -> None:
        last: UUID | None = UUID(int=0)
        while last is not None:
            last = await partitions.delete_ended(self._database, word, _moment(expired), last)


def days_before(now: int, days: int) -> int:
    """Return the moment so many days ago, in milliseconds as ``now``; 0 when it is for ever."""
    return now - days * _DAY if days else 0


def _moment(milliseconds: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)


def keep_up(settings: Settings, clock: Clock) -> None:
    """Look once, from where nothing else runs."""
    asyncio.run(Upkeep(settings, clock).look())
