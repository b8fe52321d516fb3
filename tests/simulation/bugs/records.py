"""Bugs in what a record says, and when the world hears of it."""

import asyncio
from dataclasses import replace
from typing import Any

from jabba.callbacks.results import Encoded
from jabba.engine import lane
from jabba.engine.dedup_markers import Markers
from jabba.engine.lane import Lane
from jabba.engine.records import LaneRecord
from tests.simulation.bugs.planting import Patch, bug


@bug("The record of a slice's last step does not carry its outcome", found_by=2)
def carries_no_outcome_in_the_final_record() -> list[Patch]:
    async def write(self: Lane, group: list[Encoded]) -> None:
        record = self._record
        for outcome in group:
            failed = record.failed or lane._failed(outcome)
            record = replace(record, done=record.done | self._bits(outcome), failed=failed)
        final = record.done.bit_count() == len(self.slice.tasks)
        carried = () if final else (*self._unacknowledged(), *(outcome.text for outcome in group))
        apart = set(self._large.values())
        small = tuple(text for text in carried if text not in apart)
        large = () if final else tuple(self._large)
        record = replace(record, seq=self.seq, outcomes=small, large=large, due=None, turn=False)
        await self._store.put(self._name.key, record.encode())
        self._record = record

    return [(Lane, "_write_record", write)]


@bug("An event is sent before its step is recorded", found_by=0)
def announces_before_the_record() -> list[Patch]:
    write = Lane._write_record

    async def send_first(self: Lane, group: list[Any]) -> None:
        for outcome in group:
            self._send(outcome.text)
        await write(self, group)

    return [(Lane, "_write_record", send_first)]


@bug("The next step starts while the record of the one before is on its way", found_by=0)
def does_not_wait_for_the_record() -> list[Patch]:
    put = Lane._put_on_record
    writing: set[asyncio.Task[None]] = set()

    async def put_later(self: Lane, outcome: Any) -> None:
        self._record = replace(self._record, done=self._record.done | self._bits(outcome))
        writing.add(asyncio.create_task(put(self, outcome)))

    return [(Lane, "_put_on_record", put_later)]


@bug("A marker is deleted once its window has passed, though its slice may be read again", found_by=9)
def forgets_markers_above_the_committed_offset() -> list[Patch]:
    may_go = Markers._may_go

    def may_go_anyway(self: Markers, marker: LaneRecord, now: float, _readable: range) -> bool:
        return may_go(self, marker, now, range(0))

    return [(Markers, "_may_go", may_go_anyway)]


@bug("A lane that has ended leaves no marker", found_by=4)
def leaves_no_marker() -> list[Patch]:
    settle = Lane._finish

    async def settle_without(self: Lane) -> None:
        await settle(self)
        await self._store.delete(self._name.key)

    return [(Lane, "_finish", settle_without)]


@bug("An adoption overwrites the marker of a lane that has ended meanwhile", found_by=32)
def adopts_the_dead() -> list[Patch]:
    async def adopt(self: Lane, due: float | None = None) -> int:
        text = self.slice.model_dump_json(exclude_defaults=True).encode()
        await self._store.put(self._name.slice_key, text)
        record = replace(self._record, adopted=True, due=due, turn=self.waits_for_turn)
        await self._store.put(self._name.key, record.encode())
        self._record = record
        return len(text)

    return [(Lane, "adopt", adopt)]
