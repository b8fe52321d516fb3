"""The record of a sequential job, which its slices and a command to close it change."""

import asyncio
from uuid import uuid4

import pytest

from jabba.concurrency.memory_budget import MemoryBudget
from jabba.engine.gate import Gate
from jabba.engine.lane import LaneContext
from jabba.engine.partition import OwnedPartition
from jabba.engine.policy import Policy
from jabba.engine.records import JobRecord, LaneName
from jabba.jobs.lifecycle import Strategy
from jabba.jobs.models import Callback, TaskSpec
from jabba.messages.commands import CloseJob
from jabba.messages.slices import Slice
from tests.support.lanes import Events, Log, Runner
from tests.support.processes import eventually


class SlowLog(Log):
    """Acknowledges a record of a job when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[asyncio.Future[None]] = []

    async def append(self, key: bytes, value: bytes | None) -> int:
        offset = await super().append(key, value)
        if key.startswith(b"job/"):
            self.waiting.append(asyncio.get_running_loop().create_future())
            await self.waiting[-1]
        return offset


@pytest.mark.parametrize("closes_first", [False, True])
async def test_a_job_stays_closed_though_its_turn_passes_at_that_moment(*, closes_first: bool) -> None:
    log, runner, job = SlowLog(), Runner(), uuid4()
    shared = LaneContext(Gate(asyncio.Semaphore(1)), Events(), runner, 1024, 3, lambda: 0.0)
    partition = OwnedPartition(shared, MemoryBudget(10, 1000), Policy(), lambda _: None)
    partition.gate.open()
    store = await log.taken(partition.gate.may_write)
    await partition.loaded(store)
    task = TaskSpec(callback=Callback(service="local", module="m", function="f"))
    first, second = (
        Slice(
            job=job, k=k, n_slices=2, first=k, total=2, digest="d", strategy=Strategy.SEQUENTIAL, type="t", tasks=[task]
        )
        for k in range(2)
    )
    command = CloseJob(job=job, run=0, n_slices=2, strategy=Strategy.SEQUENTIAL, reason="because")

    async def is_written() -> bool:
        return bool(log.waiting)

    def start(*, closing: bool) -> "asyncio.Task[None] | None":
        if closing:
            return asyncio.create_task(partition.close_job(command))
        partition.start(first, 0, 10)
        return None

    tasks = [start(closing=closes_first)]
    await eventually(is_written, 5, "the first record")
    tasks.append(start(closing=not closes_first))
    # Until the other one writes as well, if it does not wait.
    await asyncio.sleep(0.1)

    async def is_over() -> bool:
        # The later write is answered last.
        for answer in log.waiting:
            if not answer.done():
                answer.set_result(None)
        return not partition.lanes and all(one is None or one.done() for one in tasks)

    await eventually(is_over, 5, "the end of both")
    assert JobRecord.decode(store.get(LaneName.of(first).job_key) or b"").failed
    partition.start(second, 1, 10)
    await eventually(is_over, 5, "the end of the second slice")
    assert runner.calls == 1
