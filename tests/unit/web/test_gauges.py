"""What Prometheus hears of the stats, however long these take."""

import asyncio
import logging
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from jabba.database.statistics import Oldest
from jabba.errors import Unavailable
from jabba.jobs.pages import Count
from jabba.kafka.lag import Waiting
from tests.support.clocks import HandClock
from web.gauges import Gauges
from web.schemas import Stats, StatsOfJobs


def whole(**changes: object) -> Stats:
    born = datetime.fromtimestamp(HandClock().seconds - 90, UTC)
    jobs = StatsOfJobs(
        by_status={}, unfinished=Count(value=1, exact=True), oldest_unfinished=Oldest(uuid4(), "order", born)
    )
    told = {
        "jobs": jobs,
        "workers": Waiting(5, 2.5, {0: 5}),
        "projection": {"tasks": Waiting(3, 1.5, {0: 3}), "events": Waiting(4, None, {0: 4})},
        "dead_letters": 2,
    }
    return Stats.model_validate({"at": born, **told, **changes})


NOTHING: dict[str, object] = {name: {} for name in Gauges(lambda: asyncio.sleep(0, whole()), HandClock()).readings()}


class Source:
    """Answers stats, raises, or takes its time."""

    def __init__(self, answer: Stats | Exception) -> None:
        self.answer = answer
        self.asked = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def ask(self) -> Stats:
        self.asked += 1
        await self.may_answer.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


async def told(gauges: Gauges) -> dict[str, object]:
    async with asyncio.timeout(10):
        await gauges.look()
    return {name: reading() for name, reading in gauges.readings().items()}


async def test_what_the_stats_tell_is_told() -> None:
    stats = whole()
    source = Source(stats)
    gauges = Gauges(source.ask, HandClock())
    assert await told(gauges) == {
        "jabba_unfinished_oldest_seconds": {(): 90.0},
        "jabba_workers_behind_messages": {(): 5},
        "jabba_workers_behind_seconds": {(): 2.5},
        "jabba_projection_behind_messages": {("tasks",): 3, ("events",): 4},
        # How old those of the events are could not be seen in time.
        "jabba_projection_behind_seconds": {("tasks",): 1.5},
        "jabba_dead_letters": {(): 2},
    }
    assert stats.jobs is not None
    source.answer = whole(jobs=stats.jobs.model_copy(update={"oldest_unfinished": None}))
    assert (await told(gauges))["jabba_unfinished_oldest_seconds"] == {(): 0.0}


@pytest.mark.parametrize(
    "answer, logged",
    [
        (whole(jobs=None, workers=None, projection=None, dead_letters=None), []),
        (Unavailable("neither answers"), []),
        (RuntimeError("a defect"), ["statistics for Prometheus failed"]),
    ],
)
async def test_what_cannot_be_told_is_left_out(
    answer: Stats | Exception, logged: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    source = Source(whole())
    gauges = Gauges(source.ask, HandClock())
    assert await told(gauges) != NOTHING
    source.answer = answer
    assert await told(gauges) == NOTHING
    assert [one.getMessage() for one in caplog.records] == logged


async def test_nobody_waits_for_stats_that_do_not_come_and_those_that_come_late_are_told_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("web.gauges._PATIENCE_SECONDS", 0.001)
    clock, source = HandClock(), Source(whole())
    gauges = Gauges(source.ask, clock)
    source.may_answer.clear()
    assert await told(gauges) == await told(gauges) == NOTHING
    assert source.asked == 1, "one look at a time"
    source.may_answer.set()
    monkeypatch.setattr("web.gauges._PATIENCE_SECONDS", 60.0)
    await gauges.look()
    monkeypatch.setattr("web.gauges._PATIENCE_SECONDS", 0.001)
    source.may_answer.clear()
    clock.seconds += 60
    late = await told(gauges)
    assert late["jabba_workers_behind_messages"] == {(): 5}
    assert late["jabba_unfinished_oldest_seconds"] == {(): 150.0}
    clock.seconds += 1
    assert await told(gauges) == NOTHING
    assert source.asked == 2
    await gauges.close()
