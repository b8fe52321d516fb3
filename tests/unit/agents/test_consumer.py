"""What the workers' consumer does otherwise than Faust's."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka.errors import RebalanceInProgressError
from aiokafka.protocol.group import JoinGroupRequest, SyncGroupRequest
from faust.transport.drivers import aiokafka
from faust.types import TP
from mode.utils.queues import FlowControlQueue

from agents.consumer import PromptConsumer, SteadyFlow, follow_joins
from jabba.engine.lease import Lease

PLACE = TP("tasks", 0)


async def test_a_flow_that_is_resumed_twice_keeps_what_came_between() -> None:
    flow = SteadyFlow()
    queue: asyncio.Queue[str] = FlowControlQueue(flow_control=flow, clear_on_resume=True)
    flow.resume()
    await queue.put("fetched while the rebalance ends")
    flow.resume()
    assert queue.qsize() == 1


async def test_a_flow_that_was_suspended_begins_empty() -> None:
    flow = SteadyFlow()
    queue: asyncio.Queue[str] = FlowControlQueue(flow_control=flow, clear_on_resume=True)
    flow.resume()
    await queue.put("of the generation before")
    flow.suspend()
    flow.resume()
    assert queue.empty()


class Idle(PromptConsumer):
    """A consumer that is connected to nothing."""

    def __init__(self) -> None:
        self.flow_active = True
        self.active: set[TP] = set()
        self.slept = 0.0

    def _get_active_partitions(self) -> set[TP]:
        return self.active

    async def sleep(self, n: Any, **_: Any) -> None:
        self.slept += n


async def test_a_consumer_whose_partitions_are_paused_looks_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fetch(consumer: Idle, timeout: float) -> Any:  # noqa: ASYNC109 — Faust's interface
        return {PLACE: ["a record"]}, consumer.active

    monkeypatch.setattr(aiokafka.Consumer, "_wait_next_records", fetch)
    consumer = Idle()
    assert await consumer._wait_next_records(1.0) == (None, None)
    assert 0 < consumer.slept < 0.1
    consumer.active = {PLACE}
    assert await consumer._wait_next_records(1.0) == ({PLACE: ["a record"]}, {PLACE})


async def test_a_lease_begins_when_the_group_is_asked_for_the_assignment() -> None:
    now = 100.0

    async def send(_: Any) -> Any:
        nonlocal now
        now += 7
        return SimpleNamespace(error_code=0)

    lease = Lease(6.0, lambda: now)
    coordinator = SimpleNamespace(_send_req=send)
    consumer = SimpleNamespace(_thread=SimpleNamespace(_consumer=SimpleNamespace(_coordinator=coordinator)))
    for _ in range(2):
        follow_joins(cast("Any", consumer), lease)
    await coordinator._send_req(JoinGroupRequest("g", 1, 1, "", None, "consumer", []))
    assert not lease.valid()
    now = 200.0
    await coordinator._send_req(SyncGroupRequest("g", 1, "m", None, []))
    now = 205.9
    assert lease.valid()
    now = 206.1
    assert not lease.valid()


async def test_an_assignment_that_is_refused_begins_no_lease() -> None:
    async def send(_: Any) -> Any:
        return SimpleNamespace(error_code=RebalanceInProgressError.errno)

    lease = Lease(6.0, lambda: 0.0)
    coordinator = SimpleNamespace(_send_req=send)
    consumer = SimpleNamespace(_thread=SimpleNamespace(_consumer=SimpleNamespace(_coordinator=coordinator)))
    follow_joins(cast("Any", consumer), lease)
    await coordinator._send_req(SyncGroupRequest("g", 1, "m", None, []))
    assert not lease.valid()
