"""What is otherwise in a worker's application than in any of Faust's."""

import time
from contextlib import AsyncExitStack
from typing import Any, cast

import pytest
from faust.tables.manager import TableManager
from faust.types import TP

from agents.consumer import PromptConsumer
from agents.worker import build
from jabba.faust_app import worker_app
from jabba.settings import Settings


async def test_an_application_stops_though_its_hand_over_fails(caplog: pytest.LogCaptureFixture) -> None:
    """Without it Faust would stop nothing else, and the process never end."""

    async def fail() -> None:
        raise ValueError("a defect")

    app, beside = worker_app(Settings(), partitions=4), AsyncExitStack()
    closed = list[str]()
    beside.callback(closed.append, "beside")
    app.hand_over, app.beside = fail, beside
    await app.on_stop()
    assert closed == ["beside"]
    assert "a defect" in caplog.text


async def test_nothing_is_replayed_wherever_the_changelog_ends() -> None:
    """A former owner may write on while a rebalance is under way: Faust would wait for messages it cannot read."""
    recovery = cast("TableManager", worker_app(Settings(), partitions=4).tables).recovery
    place = TP("changelog", 0)
    recovery.active_highwaters[place], recovery.active_offsets[place] = 12, 7
    assert not recovery.need_recovery()


async def test_a_fetch_that_waits_holds_up_no_question_for_long() -> None:
    """Each of a dozen questions in a rebalance would wait for 1.5 s where no message comes."""
    worker = build(Settings(), 4)
    thread = cast("PromptConsumer", worker.consumer)._new_consumer_thread()
    client = thread._create_worker_consumer(cast("Any", worker.transport))
    assert client._fetch_max_wait_ms <= 250
    await client.stop()


async def test_the_lease_runs_out_while_the_machine_is_suspended(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings()
    lease = build(settings, 4).transport.Consumer.keywords["lease"]  # type: ignore[attr-defined]
    lease.renew(lease.now())
    assert lease.valid()
    clock = time.clock_gettime
    monkeypatch.setattr(time, "clock_gettime", lambda which: clock(which) + settings.session_seconds)
    assert not lease.valid()
