"""Tasks end, whatever swallows their cancellation."""

import asyncio
from contextlib import suppress

import pytest

from jabba.concurrency.cancellation import cancel_and_wait


async def swallowing(times: int) -> None:
    for _ in range(times):
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
    await asyncio.Event().wait()


@pytest.mark.parametrize("times", [0, 1, 3])
async def test_a_task_ends_however_often_its_cancellation_is_swallowed(times: int) -> None:
    task = asyncio.create_task(swallowing(times))
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await cancel_and_wait([task], patience=0.1)
    assert task.cancelled()


async def test_tasks_end_together_and_their_failures_stay_theirs() -> None:
    async def failing() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise ValueError("while it ended")

    tasks = [asyncio.create_task(one) for one in (failing(), swallowing(2), asyncio.sleep(0))]
    await tasks[2]
    async with asyncio.timeout(5):
        await cancel_and_wait(tasks, patience=0.1)
    assert isinstance(tasks[0].exception(), ValueError)
    assert tasks[1].cancelled()
    assert not tasks[2].cancelled()


async def test_nothing_ends_at_once() -> None:
    await cancel_and_wait([])
