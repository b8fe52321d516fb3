"""Getting facts into PostgreSQL for good: through outages, past other projectors, and around what it cannot take."""

import asyncio
import logging
from collections.abc import Sequence

import psycopg2

from jabba.database.connection import Database, TransactionLost
from jabba.errors import Unavailable
from jabba.projection.decode import Fault, Item
from jabba.projection.fold import ImpossibleFact, fold
from jabba.projection.statements import NO_OFFSETS, Offsets, write

logger = logging.getLogger(__name__)

_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 2.0

# Classes of SQLSTATE that only the rows can be to blame for: bad data, a broken constraint, a limit of the format.
# Whatever else goes wrong (a missing table, a full disk) is put right by somebody, and the rows wait for it.
_REFUSALS = frozenset({"22", "23", "54"})


class Refused(Exception):
    """PostgreSQL, or the projection, cannot take these facts, now or ever."""


class Writer:
    """Writes batches, each in a transaction of its own with the offsets behind it.

    One that is not ``patient`` raises Unavailable when PostgreSQL is away, instead of waiting for it.
    """

    def __init__(self, database: Database, *, patient: bool = True) -> None:
        self._database = database
        self._patient = patient

    async def write(self, items: Sequence[Item], offsets: Offsets, needed: Offsets = NO_OFFSETS) -> list[Fault]:
        """Write facts and offsets, however long PostgreSQL is away.

        If some of the facts cannot be written the others are, but no offsets: answers what is wrong, which must be
        kept somewhere before ``move`` passes over it.

        Raises:
            WentBack: the partitions are not projected as far as ``needed`` any more; nothing is written.
        """
        try:
            await self._persist(items, offsets, needed)
        except Refused as refused:
            return await self._isolate(items, refused)
        return []

    async def move(self, offsets: Offsets, needed: Offsets = NO_OFFSETS) -> None:
        """Write offsets alone; it raises what ``write`` does."""
        await self._persist([], offsets, needed)

    async def _isolate(self, items: Sequence[Item], refused: Refused) -> list[Fault]:
        """Write what can be written of a batch that was refused, in halves, down to those that are to blame."""
        if len(items) == 1:
            return [Fault(items[0].message, f"cannot be projected: {refused}")]
        middle = len(items) // 2
        return [fault for half in (items[:middle], items[middle:]) for fault in await self.write(half, {})]

    async def _persist(self, items: Sequence[Item], offsets: Offsets, needed: Offsets) -> None:
        """Write a batch, again and again until it is in or refused."""
        pause = 0.0
        while True:
            try:
                await self._transact(items, offsets, needed)
            except TransactionLost as lost:
                logger.info("transaction lost to another projector, trying again", extra={"error": str(lost)})
            except (Unavailable, psycopg2.Error) as error:
                if not self._patient:
                    raise
                pause = min(max(2 * pause, _FIRST_PAUSE_SECONDS), _LONGEST_PAUSE_SECONDS)
                failed = {"retry_in": pause, "error": str(error).strip()}
                logger.warning("PostgreSQL does not answer, trying again", extra=failed)
                await asyncio.sleep(pause)
            else:
                return

    async def _transact(self, items: Sequence[Item], offsets: Offsets, needed: Offsets) -> None:
        try:
            batch = fold(item.fact for item in items)
            async with self._database.transaction() as transaction:
                await write(transaction, batch, offsets, needed)
        except psycopg2.Error as error:
            if (error.pgcode or "")[:2] in _REFUSALS:
                raise Refused(_explained(error)) from error
            raise
        except (ImpossibleFact, ValueError) as error:
            raise Refused(str(error)) from error


def _explained(error: psycopg2.Error) -> str:
    """Return what PostgreSQL says, without the statement."""
    said = (error.diag.message_primary, error.diag.message_detail)
    return ": ".join(part for part in said if part)
