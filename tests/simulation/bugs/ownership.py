"""Bugs in the hand-over and in what a worker takes its session for."""

from typing import Any

from agents.worker import Ownership
from jabba.engine.changelog import CLEAN_KEY, Store
from jabba.engine.engine import Engine
from jabba.engine.gate import Gate
from jabba.engine.handover import HandOver
from jabba.engine.lease import Lease
from jabba.engine.partition import OwnedPartition
from jabba.engine.records import Parting
from tests.simulation.bugs.planting import Patch, at_once, bug
from tests.simulation.member import Member


@bug("Nothing is handed over: steps go on while partitions change hands", found_by=3)
def hands_nothing_over() -> list[Patch]:
    async def release(*_: Any) -> int:
        return 0

    return [(Engine, "release", release)]


@bug("Who gets a partition does not wait for the steps that its former owner still runs", found_by=33)
def waits_for_no_predecessor() -> list[Patch]:
    return [(Store, "predecessor", at_once)]


@bug("An owner takes for granted that it is waited for, though it could not say that steps still run", found_by=600)
def believes_to_be_waited_for() -> list[Patch]:
    async def part(self: Store, parting: Parting) -> None:
        async with self._parts:
            if parting != self._parting:
                self._parting = parting
                await self.put(CLEAN_KEY, parting.encode())

    return [(Store, "_part", part)]


@bug("An owner says that it has left, and records a step after that", found_by=45)
def records_after_leaving() -> list[Patch]:
    async def finish(self: HandOver, store: Store, seconds: float) -> None:
        await self._gate.quiet(seconds / 2)
        await store.leave()
        await self._gate.quiet(seconds / 2)
        self._gate.close()

    return [(HandOver, "_finish", finish)]


@bug("A partition is kept though another worker owned it in between", found_by=27)
def keeps_partitions_over_generations() -> list[Patch]:
    assign = Engine.assign

    def keep(self: Engine, generation: int, partitions: Any) -> None:
        self._generation = generation - 1
        assign(self, generation, partitions)

    return [(Engine, "assign", keep)]


@bug("A worker whose session may have expired starts steps", found_by=27)
def starts_without_a_lease() -> list[Patch]:
    async def may_start(self: Gate) -> None:
        await self._open.wait()

    async def enter(self: Gate) -> None:
        while True:
            await self._open.wait()
            await self._slots.acquire()
            if self._open.is_set():
                break
            self._slots.release()
        self._count(1)

    return [(Gate, "may_start", may_start), (Gate, "enter", enter)]


@bug("A worker whose session may have expired records and announces", found_by=241)
def records_without_a_lease() -> list[Patch]:
    async def may_write(self: Gate) -> None:
        await self._allowed(self._writable)

    return [(Gate, "may_write", may_write)]


@bug("The lease begins when the answer to a heartbeat arrives", found_by=166)
def believes_old_heartbeats() -> list[Patch]:
    def renew(self: Lease, _since: float) -> None:
        self._until = self._monotonic() + self._seconds

    return [(Lease, "renew", renew)]


@bug("Heartbeats during a rebalance renew the lease", found_by=506)
def believes_heartbeats_of_a_rebalance() -> list[Patch]:
    class Never:
        def done(self) -> bool:
            return False

    init = Member.__init__

    def init_blind(self: Member, *arguments: Any) -> None:
        init(self, *arguments)
        self._rejoin_needed_fut = Never()  # type: ignore[assignment]

    return [(Member, "__init__", init_blind)]


@bug("The gate opens for a generation that is being revoked again", found_by=57)
def opens_too_late() -> list[Patch]:
    async def on_complete(self: Ownership, *_: Any, **__: Any) -> None:
        self._engine.open()

    return [(Ownership, "_on_complete", on_complete)]


@bug("A lane that the table has starts beside the one that was read from the log", found_by=10)
def starts_a_lane_twice() -> list[Patch]:
    start = OwnedPartition._start_from_table

    def start_anyway(self: OwnedPartition, store: Store, key: str) -> None:
        running = self._running.pop(key, None)
        start(self, store, key)
        if running is not None:
            self._running.setdefault(key, running)

    return [(OwnedPartition, "_start_from_table", start_anyway)]
