"""Parting from a partition: what is said, what may still be recorded, and for whom the next owner waits."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from jabba.engine.changelog import Changelog, Store
from jabba.engine.gate import Gate
from jabba.engine.handover import HandOver
from jabba.errors import Unavailable
from tests.support.lanes import Log, at_any_time

_LONG = 30.0


class UnheardLog(Log):
    """A changelog that can stop to answer."""

    def __init__(self) -> None:
        super().__init__()
        self.answers = True

    async def append(self, key: bytes, value: bytes | None) -> int:
        if not self.answers:
            await asyncio.sleep(0.01)
            raise Unavailable("no acknowledgement")
        return await super().append(key, value)


class Owner:
    """An owner of the partition that a changelog is of."""

    def __init__(self, gate: Gate, store: Store) -> None:
        self.gate = gate
        self.store = store
        self.absolved = 0
        loaded = asyncio.get_running_loop().create_future()
        loaded.set_result(store)
        self.hand_over = HandOver(gate, loaded, self._clear_suspicion)

    async def _clear_suspicion(self) -> None:
        self.absolved += 1


async def owner_of(log: Log, lease: Callable[[], bool] = lambda: True) -> Owner:
    gate = Gate(asyncio.Semaphore(2), lease)
    gate.open()
    return Owner(gate, await log.taken(gate.may_write))


@pytest.fixture
def log() -> UnheardLog:
    return UnheardLog()


@pytest.fixture
async def owner(log: UnheardLog) -> Owner:
    return await owner_of(log)


async def soon(waited: Awaitable[None]) -> None:
    async with asyncio.timeout(5):
        await waited


async def test_the_next_owner_waits_until_a_running_step_is_recorded(log: UnheardLog, owner: Owner) -> None:
    await owner.gate.enter()
    await soon(owner.hand_over.part(_LONG))
    taking = asyncio.create_task(log.taken(at_any_time))
    await asyncio.sleep(0.05)
    assert not taking.done()

    await soon(owner.store.put("lane/step", b"recorded"))
    owner.gate.leave()
    async with asyncio.timeout(5):
        successor = await taking
    assert (successor.get("lane/step"), successor.crashes) == (b"recorded", 0)
    assert not owner.hand_over.finishing


async def test_without_running_steps_nobody_waits(log: UnheardLog, owner: Owner) -> None:
    await soon(owner.hand_over.part(_LONG))
    assert owner.absolved == 1
    assert not owner.hand_over.finishing
    async with asyncio.timeout(5):
        successor = await log.taken(at_any_time)
    assert (successor.epoch, successor.crashes) == (2, 0)


async def test_a_step_that_runs_for_too_long_is_not_recorded_any_more(log: UnheardLog, owner: Owner) -> None:
    await owner.gate.enter()
    await soon(owner.hand_over.part(0.05))
    await soon(owner.hand_over.finished())
    assert owner.absolved == 1
    writing = asyncio.create_task(owner.store.put("lane/step", b"too late"))
    async with asyncio.timeout(5):
        successor = await log.taken(at_any_time)
    assert not writing.done()
    assert (successor.get("lane/step"), successor.crashes) == (None, 0)
    writing.cancel()


async def test_one_that_dies_meanwhile_is_waited_for_no_longer_than_it_has_said(log: UnheardLog, owner: Owner) -> None:
    await owner.store.finish(0.05)
    async with asyncio.timeout(5):
        successor = await log.taken(at_any_time)
    assert successor.crashes == 1


async def test_whoever_stays_works_on_and_takes_its_word_back(log: UnheardLog, owner: Owner) -> None:
    await owner.gate.enter()
    await soon(owner.hand_over.part(_LONG))
    assert owner.hand_over.finishing
    owner.hand_over.stay()
    owner.gate.open()
    await soon(owner.store.work())
    owner.gate.leave()
    await soon(owner.gate.enter())
    async with asyncio.timeout(5):
        successor = await log.taken(at_any_time)
    assert successor.crashes == 1


async def test_what_could_not_be_said_is_not_relied_on(log: UnheardLog, owner: Owner) -> None:
    """The next owner would not know that it has to wait: also when it is tried to be said for a second time."""
    await owner.gate.enter()
    log.answers = False
    for _ in range(2):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await owner.hand_over.part(_LONG)
        assert not owner.hand_over.finishing
        assert not owner.gate.writable
        owner.gate.open()


async def test_one_that_may_have_lost_its_session_says_nothing(log: UnheardLog) -> None:
    valid = True
    owner = await owner_of(log, lambda: valid)
    await owner.gate.enter()
    written = len(log.messages)
    valid = False
    await soon(owner.hand_over.part(_LONG))
    assert len(log.messages) == written
    assert not owner.hand_over.finishing
    assert not owner.gate.writable


async def test_when_no_step_is_left_the_rest_is_ended(owner: Owner) -> None:
    ended = asyncio.Event()
    await owner.gate.enter()
    await soon(owner.hand_over.part(_LONG))
    owner.hand_over.then(ended.set)
    await asyncio.sleep(0.01)
    assert not ended.is_set()
    owner.gate.leave()
    async with asyncio.timeout(5):
        await ended.wait()


async def test_a_log_that_refuses_at_once_holds_up_nothing_else(log: UnheardLog, owner: Owner) -> None:
    tries = 0

    async def closed(key: bytes, value: bytes | None) -> int:
        nonlocal tries
        tries += 1
        assert tries < 1000, "nothing else gets its turn"
        raise Unavailable("closed")

    owner.store._log = Changelog(closed, log.read, log.follow)
    leaving = asyncio.create_task(owner.hand_over.part(_LONG))
    await asyncio.sleep(0.05)
    assert not leaving.done()
    owner.store._log = Changelog(log.append, log.read, log.follow)
    await soon(leaving)
