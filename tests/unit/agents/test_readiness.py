"""When a worker says that it works on all of its partitions, through rebalances and to its end."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import AsyncMock, Mock

import pytest
from faust.types import TP

from agents.worker import Ownership
from jabba.engine.lease import Lease
from jabba.settings import Settings
from tests.support.clocks import HandClock

PLACES = {TP("jabba-tasks", 0), TP("jabba-tasks", 1)}
WAITS = "it waits for its partitions"


class Engine:
    """Loads its partitions when it is told to."""

    rebalances = 0

    def __init__(self) -> None:
        self.unloaded: list[int] = []
        self._loaded = asyncio.Event()

    def assign(self, _generation: int, partitions: set[int]) -> None:
        self.unloaded = sorted(partitions)
        self._loaded.clear()

    async def loaded(self) -> None:
        await self._loaded.wait()

    def load(self) -> None:
        self.unloaded = []
        self._loaded.set()

    @property
    def partitions(self) -> int:
        return len(PLACES)

    async def release(self, _seconds: float) -> int:
        return 0

    async def stop(self) -> None:
        pass

    async def finish(self, _seconds: float) -> None:
        pass

    def open(self) -> None:
        pass

    def forget_offsets(self) -> None:
        pass


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
def worker(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Ownership:
    monkeypatch.setattr("agents.worker.follow_heartbeats", Mock())
    monkeypatch.setattr("agents.worker.Watchdog", Mock())
    for name in ("_start", "_leave_group", "commit"):
        monkeypatch.setattr(Ownership, name, AsyncMock(return_value=True))
    monkeypatch.setattr(Ownership, "_uncommitted", dict)
    app: Any = SimpleNamespace(consumer=None, consumer_generation_id=1)
    lease = Lease(10.0, HandClock().monotonic)
    parts: dict[str, Any] = {"intakes": [], "standstill": Mock(), "close": AsyncMock(), "partitions": 8}
    return Ownership(app, Settings(), cast("Any", engine), lease, **parts)


async def until_ready(worker: Ownership) -> None:
    async with asyncio.timeout(10):
        while worker.unready():  # noqa: ASYNC110 — what is asked over HTTP
            await asyncio.sleep(0)


async def test_it_is_ready_once_all_is_loaded_and_not_while_a_rebalance_is_under_way(
    worker: Ownership, engine: Engine
) -> None:
    assert worker.unready() == WAITS
    for _ in range(2):
        await worker._on_assigned(None, PLACES)
        assert worker.unready() == "it loads partition 0, 1"
        engine.unloaded.remove(0)
        assert worker.unready() == "it loads partition 1"
        await worker._on_complete(None)
        engine.load()
        await until_ready(worker)
        await worker._on_revoked(None)
        assert worker.unready() == WAITS


async def test_what_is_loaded_counts_only_once_steps_may_start(worker: Ownership, engine: Engine) -> None:
    await worker._on_assigned(None, PLACES)
    engine.load()
    assert worker.unready() == WAITS
    await worker._on_complete(None)
    await until_ready(worker)


async def test_it_is_not_ready_any_more_when_it_hands_over(worker: Ownership, engine: Engine) -> None:
    await worker._on_assigned(None, PLACES)
    await worker._on_complete(None)
    engine.load()
    await until_ready(worker)
    await worker.hand_over()
    assert worker.unready() == "it hands its partitions over"
    await worker._on_assigned(None, PLACES)
    await worker._on_complete(None)
    assert worker.unready() == "it hands its partitions over"
