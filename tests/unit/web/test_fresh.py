import asyncio

import pytest

from web.waiting import Fresh


class Asked:
    """Answers how often it was asked, once it may."""

    def __init__(self) -> None:
        self.times = 0
        self.may_answer = asyncio.Event()

    async def __call__(self) -> int:
        self.times += 1
        await self.may_answer.wait()
        if self.times == 1:
            raise ValueError
        return self.times


async def test_one_is_asked_for_all_and_an_error_is_everyones_and_not_kept() -> None:
    asked = Asked()
    fresh = Fresh(asked, 600.0)
    waiting = [asyncio.create_task(fresh.get()) for _ in range(3)]
    await asyncio.sleep(0)
    waiting.pop().cancel()
    asked.may_answer.set()
    assert [type(one) for one in await asyncio.gather(*waiting, return_exceptions=True)] == [ValueError] * 2
    assert [await fresh.get(), await fresh.get()] == [2, 2]
    assert asked.times == 2


async def test_what_is_too_old_is_asked_again() -> None:
    asked = Asked()
    asked.may_answer.set()
    fresh = Fresh(asked, 0.0)
    with pytest.raises(ValueError):  # noqa: PT011 — it says nothing
        await fresh.get()
    assert [await fresh.get(), await fresh.get()] == [2, 3]


async def test_closing_gives_up_what_is_asked() -> None:
    fresh = Fresh(Asked(), 0.0)
    waiting = asyncio.create_task(fresh.get())
    await asyncio.sleep(0)
    await fresh.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting
