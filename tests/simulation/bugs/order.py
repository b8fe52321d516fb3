"""Bugs in the order of steps, and in whom a crash is counted against."""

import asyncio
from dataclasses import replace
from typing import Any

from jabba.engine.lane import Lane
from tests.simulation.bugs.planting import Patch, at_once, bug


@bug("A later slice does not wait for the one before it", found_by=3)
def waits_for_no_turn() -> list[Patch]:
    return [(Lane, "_await_turn", lambda _: at_once())]


@bug("The turn passes without the verdict", found_by=5)
def passes_no_verdict() -> list[Patch]:
    pass_turn = Lane._pass_turn

    async def pass_good(self: Lane) -> None:
        record, self._record = self._record, replace(self._record, failed=False)
        await pass_turn(self)
        self._record = replace(self._record, failed=record.failed)

    return [(Lane, "_pass_turn", pass_good)]


@bug("Suspects run side by side, so that the crash of one is counted against all", found_by=18)
def tries_suspects_side_by_side() -> list[Patch]:
    init = Lane.__init__

    def init_apart(self: Lane, *arguments: Any, **options: Any) -> None:
        init(self, *arguments, **options)
        self._shared = replace(self._shared, alone=asyncio.Lock())

    return [(Lane, "__init__", init_apart)]
