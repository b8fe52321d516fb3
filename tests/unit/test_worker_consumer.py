"""What the workers' consumer does otherwise than Faust's."""

import asyncio
from typing import Any

import pytest
from faust.transport.drivers import aiokafka
from faust.types import TP
from mode.utils.queues import FlowControlQueue

from agents.consumer import PromptConsumer, SteadyFlow

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
