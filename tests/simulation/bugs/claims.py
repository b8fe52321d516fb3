"""Bugs in who owns a partition of the table, and whose writes count."""

from typing import Any

from jabba.engine.changelog import Store
from tests.simulation.bugs.planting import Patch, bug


@bug("An owner claims no epoch of its own", found_by=24)
def claims_no_epoch() -> list[Patch]:
    async def claim(self: Store) -> None:
        self.epoch = 1

    return [(Store, "claim", claim)]


@bug("A claim is not compared with those of others", found_by=206)
def ignores_other_claims() -> list[Patch]:
    async def uncontested(*_: Any) -> bool:
        return False

    return [(Store, "_contested", uncontested)]
