"""Bugs in who owns a partition of the table, and whose writes count."""

from typing import Any

from jabba.errors import Unavailable
from jabba.lanes.store import Store
from tests.simulation.bugs.planting import Patch, bug


@bug("An owner claims no epoch of its own", found_by=10)
def claims_no_epoch() -> list[Patch]:
    async def take(self: Store) -> None:
        await self._load()
        self.epoch = 1

    return [(Store, "take", take)]


@bug("An acknowledgement that comes after the partition was lost counts", found_by=349)
def believes_late_acknowledgements() -> list[Patch]:
    async def acknowledged(self: Store, key: str, stamp: Any, value: bytes | None) -> bool:
        await self._still_ours()
        try:
            offset = await self._append(stamp.full_key(key), value)
        except BaseException as error:
            self._outrank(key, stamp, value)
            if not isinstance(error, Unavailable):
                raise
            return False
        self.end = max(self.end, offset + 1)
        return True

    return [(Store, "_acknowledged", acknowledged)]


@bug("A write that was not answered is not outranked by the next one", found_by=992)
def does_not_outrank_unanswered_writes() -> list[Patch]:
    return [(Store, "_outrank", lambda *_: None)]


@bug("A claim is not compared with those of others", found_by=121)
def ignores_other_claims() -> list[Patch]:
    async def uncontested(*_: Any) -> bool:
        return False

    return [(Store, "_contested", uncontested)]
