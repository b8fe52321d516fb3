"""The moment in which a new projection takes the place of the live one.

Projectors are kept out first, so that the live projection stands still; readers are not. What it has and the new one
has not is projected. Then the tables change places, within a moment in which nobody else uses them: whoever wants to
waits for it, but not for long, because a moment that does not come is given up and awaited anew.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator

import psycopg2.errors
from sqlalchemy import TextClause, text

from jabba.database import queries
from jabba.database.connection import Database, Transaction, TransactionLost
from jabba.errors import NotReady, Unavailable
from jabba.messages.topics import Topics
from jabba.projection.rebuild import schemas
from jabba.projection.rebuild.copy_old_jobs import Keeping
from jabba.projection.statements import Offsets

logger = logging.getLogger(__name__)

_ATTEMPTS = 60
_TRIES = 10
_PAUSE_SECONDS = 1.0


class Swapping:
    """Swaps; ``project`` brings the new projection at least as far as the given offsets.

    Raises:
        NotReady: the tables are never free.
    """

    def __init__(
        self, topics: Topics, live: Database, turn: Database, project: Callable[[Offsets], Awaitable[None]]
    ) -> None:
        self._topics = [topics.tasks, topics.events]
        self._live = live
        self._turn = turn
        self._project = project
        self._attempts = 0

    @staticmethod
    def analysing(schema: str) -> Iterator[TextClause]:
        """Return the statements that tell the planner about the new tables."""
        for table in schemas.TABLES:
            yield text(f"ANALYZE {schemas.qualified(schema, table)}")

    async def swap(self, live: str, schema: str, replaced: str, keeping: Keeping) -> bool:
        """Swap once; answer False if somebody was in the way, and nothing has changed."""
        self._attempts += 1
        try:
            async with self._live.transaction() as transaction:
                await transaction.execute(text("SET LOCAL lock_timeout = '2s'"))
                await transaction.execute(text(f"LOCK TABLE {schemas.all_of(live)} IN SHARE ROW EXCLUSIVE MODE"))
                await self._project(await queries.projected_offsets(self._live, self._topics))
                # Nobody needs these yet but autovacuum, which gives way when somebody has waited for a second.
                await transaction.execute(text(f"LOCK TABLE {schemas.all_of(schema)} IN ACCESS EXCLUSIVE MODE"))
                await transaction.execute(keeping.copying_offsets(), {"topics": self._topics})
                await self._keep_everyone_out(transaction, live)
                await self._change_places(transaction, live, schema, replaced)
                await self._check_turn()
        except (psycopg2.errors.LockNotAvailable, TransactionLost) as error:
            if self._attempts >= _ATTEMPTS:
                raise NotReady("somebody uses the tables all the time: try again later") from error
            logger.info("tables are in use, trying again", extra={"error": str(error).strip()})
            await asyncio.sleep(_PAUSE_SECONDS)
            return False
        return True

    async def _keep_everyone_out(self, transaction: Transaction, live: str) -> None:
        """Wait for the moment in which nobody uses the live tables.

        Every single wait is shorter than the second after which PostgreSQL looks for deadlocks, so that no reader who
        has one table and wants the next ever has to give way.
        """
        await transaction.execute(text("SET LOCAL lock_timeout = '300ms'"))
        for number in range(_TRIES):
            await transaction.execute(text("SAVEPOINT before"))
            try:
                await transaction.execute(text(f"LOCK TABLE {schemas.all_of(live)} IN ACCESS EXCLUSIVE MODE"))
            except psycopg2.errors.LockNotAvailable:
                await transaction.execute(text("ROLLBACK TO SAVEPOINT before"))
                if number == _TRIES - 1:
                    raise
                await asyncio.sleep(_PAUSE_SECONDS)
            else:
                return

    async def _change_places(self, transaction: Transaction, live: str, schema: str, replaced: str) -> None:
        await schemas.grant_alike(transaction, live, schema)
        await transaction.execute(text(f"CREATE SCHEMA {schemas.quoted(replaced)}"))
        await schemas.move(transaction, live, replaced)
        await schemas.move(transaction, schema, live)

    async def _check_turn(self) -> None:
        """Refuse to go on when another rebuild may have begun."""
        if not await schemas.has_turn(self._turn):
            raise Unavailable("PostgreSQL broke the connection off that keeps other rebuilds out: begin again")
