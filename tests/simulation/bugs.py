"""Defects that the simulator must find: each turns one line of the engine's reasoning off.

``seeds`` is within how many seeds it is found, with room to spare for changes of the engine that shift its schedules.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

from agents.worker import Ownership
from jabba.errors import Unavailable
from jabba.lanes.engine import Engine
from jabba.lanes.forgetting import Markers
from jabba.lanes.gate import Gate
from jabba.lanes.lane import Lane
from jabba.lanes.lease import Lease
from jabba.lanes.owned import OwnedPartition
from jabba.lanes.records import LaneName, LaneRecord
from jabba.lanes.store import Store
from jabba.lanes.tracker import AckTracker
from jabba.lifecycle import FINAL
from jabba.log import Log
from jabba.persistence.rows import Rows
from tests.simulation.member import Member
from tests.simulation.worker import SimulatedTable

Patch = tuple[type, str, Any]


@dataclass(frozen=True, slots=True)
class Bug:
    """A seeded defect: what is wrong in one sentence, how to bring it about, and how soon it is found."""

    name: str
    sentence: str
    seeds: int
    patches: list[Patch]

    @contextmanager
    def planted(self) -> Iterator[None]:
        """Bring the defect about for a while."""
        with ExitStack() as planted:
            for owner, name, wrong in self.patches:
                planted.enter_context(patch.object(owner, name, wrong))
            yield


BUGS: dict[str, Bug] = {}


def _bug(sentence: str, seeds: int) -> Callable[[Callable[[], list[Patch]]], None]:
    def keep(patches: Callable[[], list[Patch]]) -> None:
        BUGS[patches.__name__] = Bug(patches.__name__, sentence, seeds, patches())

    return keep


# Offsets.


@_bug("An offset is committed as soon as its message is finished, whatever is before it", 200)
def acknowledges_out_of_order() -> list[Patch]:
    finish = AckTracker.finish

    def finish_first(self: AckTracker, partition: int, offset: int) -> None:
        finish(self, partition, offset)
        if (known := self._partitions.get(partition)) is not None:
            known.committable = max(known.committable or 0, offset + 1)

    return [(AckTracker, "finish", finish_first)]


@_bug("A message that is read again after a rebalance counts twice", 200)
def counts_a_message_twice() -> list[Patch]:
    return [(OwnedPartition, "forget_offsets", lambda _: None)]


@_bug("A message that arrives between revoke and assign is followed alone", 200)
def follows_messages_of_the_past() -> list[Patch]:
    def forget(self: Engine) -> None:
        self._tracker.reset()
        self._commands.reset()

    return [(Engine, "forget_offsets", forget)]


@_bug("The offset of an adopted lane is released before the table has its slice", 200)
def releases_before_adoption() -> list[Patch]:
    adopt_old = OwnedPartition._adopt_old

    async def release_first(self: OwnedPartition, now: float) -> None:
        for running in list(self._running.values()):
            if now - running.since >= self._policy.adopt_seconds:
                self._finish_offsets(running)
        await adopt_old(self, now)

    return [(OwnedPartition, "_adopt_old", release_first)]


# Records.


@_bug("A record does not carry the outcomes whose events are not acknowledged", 200)
def carries_no_outcomes() -> list[Patch]:
    encode = LaneRecord.encode
    return [(LaneRecord, "encode", lambda self: encode(replace(self, outcomes=(), large=())))]


@_bug("An event is sent before its step is recorded", 200)
def announces_before_the_record() -> list[Patch]:
    write = Lane._write_record

    async def send_first(self: Lane, group: list[Any]) -> None:
        for outcome in group:
            self._send(outcome.text)
        await write(self, group)

    return [(Lane, "_write_record", send_first)]


@_bug("The next step starts while the record of the one before is on its way", 200)
def does_not_wait_for_the_record() -> list[Patch]:
    put = Lane._put_on_record
    writing: set[asyncio.Task[None]] = set()

    async def put_later(self: Lane, outcome: Any) -> None:
        self._record = replace(self._record, done=self._record.done | self._bits(outcome))
        writing.add(asyncio.create_task(put(self, outcome)))

    return [(Lane, "_put_on_record", put_later)]


@_bug("Memory changes before the changelog has acknowledged", 200)
def remembers_before_the_acknowledgement() -> list[Patch]:
    put = Store.put

    async def absorb_first(self: Store, key: str, value: bytes) -> None:
        from jabba.lanes.records import Stamp  # noqa: PLC0415

        self._folded.absorb(Stamp(self.epoch, self._retry).full_key(key), value)
        await put(self, key, value)

    return [(Store, "put", absorb_first)]


@_bug("An owner claims no epoch of its own", 200)
def claims_no_epoch() -> list[Patch]:
    async def take(self: Store) -> None:
        await self._load()
        self.epoch = 1

    return [(Store, "take", take)]


@_bug("An acknowledgement that comes after the partition was lost counts", 200)
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


@_bug("A write that was not answered is not outranked by the next one", 2000)
def does_not_outrank_unanswered_writes() -> list[Patch]:
    return [(Store, "_outrank", lambda *_: None)]


@_bug("A claim is not compared with those of others", 2000)
def ignores_other_claims() -> list[Patch]:
    async def uncontested(*_: Any) -> bool:
        return False

    return [(Store, "_contested", uncontested)]


@_bug("A claim is sent by a worker that may have lost the partition", 2000)
def claims_without_a_lease() -> list[Patch]:
    take = Store.take

    async def take_at_once(self: Store) -> None:
        may_write, self._may_write = self._may_write, _at_once
        try:
            await take(self)
        finally:
            self._may_write = may_write

    return [(Store, "take", take_at_once)]


async def _at_once() -> None:
    """Wait for nothing."""


@_bug("When a partition cannot be loaded, the claims of the others go on by themselves", 2000)
def leaves_claims_under_way() -> list[Patch]:
    async def take(self: Any, partitions: Any) -> Any:
        wanted = list(partitions)
        while True:
            stores = {partition: self._store_of(partition) for partition in wanted}
            try:
                await asyncio.gather(*(store.take() for store in stores.values()))
            except Exception:  # noqa: BLE001 — as it was
                await asyncio.sleep(0.5)
            else:
                self._stores |= stores
                return stores

    return [(SimulatedTable, "take", take)]


@_bug("A marker is deleted as soon as the tick comes", 200)
def forgets_markers_at_once() -> list[Patch]:
    return [(Markers, "_may_go", lambda *_: True)]


@_bug("A lane that has ended leaves no marker", 200)
def leaves_no_marker() -> list[Patch]:
    settle = Lane._settle

    async def settle_without(self: Lane) -> None:
        await settle(self)
        await self._store.delete(self._name.key)

    return [(Lane, "_settle", settle_without)]


@_bug("An adoption overwrites the marker of a lane that has ended meanwhile", 200)
def adopts_the_dead() -> list[Patch]:
    async def adopt(self: Lane, due: float | None = None) -> int:
        text = self.slice.model_dump_json(exclude_defaults=True).encode()
        await self._store.put(self._name.slice_key, text)
        record = replace(self._record, adopted=True, due=due, turn=self._waits_for_turn)
        await self._store.put(self._name.key, record.encode())
        self._record = record
        return len(text)

    return [(Lane, "adopt", adopt)]


# Versions.


@_bug("Numbers of events begin anew with every owner of a lane", 2000)
def forgets_numbers() -> list[Patch]:
    init = Lane.__init__

    def init_without(self: Lane, *arguments: Any, **options: Any) -> None:
        init(self, *arguments, **options)
        self._seq = 0

    return [(Lane, "__init__", init_without)]


@_bug("Outcomes of a former owner keep their versions", 2000)
def tells_with_old_versions() -> list[Patch]:
    return [(Lane, "_told_again", lambda _, text: text)]


@_bug("Large outcomes of one task share a name, whoever wrote them", 2000)
def mixes_large_outcomes() -> list[Patch]:
    def outcome_key(self: LaneName, tag: str) -> str:
        return f"outcome/{self.job}/{self.run}/{self.k}/{tag.partition(':')[0]}"

    return [(LaneName, "outcome_key", outcome_key)]


# Ownership.


@_bug("Nothing is handed over: steps go on while partitions change hands", 200)
def hands_nothing_over() -> list[Patch]:
    async def drain(self: Gate, _seconds: float) -> int:
        return self._running

    return [(Gate, "drain", drain), (Gate, "close", lambda _: None)]


@_bug("A partition is kept though another worker owned it in between", 200)
def keeps_partitions_over_generations() -> list[Patch]:
    assign = Engine.assign

    def keep(self: Engine, generation: int, partitions: Any) -> None:
        self._generation = generation - 1
        assign(self, generation, partitions)

    return [(Engine, "assign", keep)]


@_bug("A worker whose session may have expired starts steps", 200)
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
        self._running += 1
        self._quiet.clear()

    return [(Gate, "may_start", may_start), (Gate, "enter", enter)]


@_bug("A worker whose session may have expired records and announces", 200)
def records_without_a_lease() -> list[Patch]:
    async def may_write(self: Gate) -> None:
        await self._writable.wait()

    return [(Gate, "may_write", may_write)]


@_bug("The lease begins when the assignment arrives", 200)
def believes_old_assignments() -> list[Patch]:
    on_assigned = Ownership._on_assigned

    async def renew(self: Ownership, *arguments: Any, **options: Any) -> None:
        self._joins_since = self._lease.now()
        await on_assigned(self, *arguments, **options)

    return [(Ownership, "_on_assigned", renew)]


@_bug("The lease begins when the answer to a heartbeat arrives", 2000)
def believes_old_heartbeats() -> list[Patch]:
    def renew(self: Lease, _since: float) -> None:
        self._until = self._monotonic() + self._seconds

    return [(Lease, "renew", renew)]


@_bug("Heartbeats during a rebalance renew the lease", 2000)
def believes_heartbeats_of_a_rebalance() -> list[Patch]:
    class Never:
        def done(self) -> bool:
            return False

    init = Member.__init__

    def init_blind(self: Member, *arguments: Any) -> None:
        init(self, *arguments)
        self._rejoin_needed_fut = Never()  # type: ignore[assignment]

    return [(Member, "__init__", init_blind)]


@_bug("The gate opens for a generation that is being revoked again", 200)
def opens_too_late() -> list[Patch]:
    async def on_complete(self: Ownership, *_: Any, **__: Any) -> None:
        self._engine.open()

    return [(Ownership, "_on_complete", on_complete)]


@_bug("A lane that the table has starts beside the one that was read from the log", 200)
def starts_a_lane_twice() -> list[Patch]:
    start = OwnedPartition._start_from_table

    def start_anyway(self: OwnedPartition, store: Store, key: str) -> None:
        running = self._running.pop(key, None)
        start(self, store, key)
        if running is not None:
            self._running.setdefault(key, running)

    return [(OwnedPartition, "_start_from_table", start_anyway)]


# The order of steps.


@_bug("A later slice does not wait for the one before it", 200)
def waits_for_no_turn() -> list[Patch]:
    return [(Lane, "_await_turn", lambda _: _at_once())]


@_bug("The turn passes without the verdict", 200)
def passes_no_verdict() -> list[Patch]:
    pass_turn = Lane._pass_turn

    async def pass_good(self: Lane) -> None:
        record, self._record = self._record, replace(self._record, failed=False)
        await pass_turn(self)
        self._record = replace(self._record, failed=record.failed)

    return [(Lane, "_pass_turn", pass_good)]


# The projection.


@_bug("Ended tasks are counted by event instead of by difference", 200)
def counts_by_event() -> list[Patch]:
    write = Rows._write_task

    def count_always(self: Rows, new: Any) -> Any:
        write(self, new)
        return self.tasks[new["id"]] if new["status"] in FINAL else None

    return [(Rows, "_write_task", count_always)]


@_bug("An event of a lower version takes a task back", 200)
def takes_tasks_back() -> list[Patch]:
    return [(Rows, "follows", staticmethod(lambda *_: True))]


@_bug("An event that was refused is not sent again", 200)
def gives_events_up() -> list[Patch]:
    append = Log.append

    async def append_once(self: Log, topic: str, *arguments: Any, **options: Any) -> int:
        if topic.endswith("events"):
            options |= {"once": True}
        return await append(self, topic, *arguments, **options)

    return [(Log, "append", append_once)]
