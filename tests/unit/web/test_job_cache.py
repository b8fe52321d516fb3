import asyncio
from collections.abc import Awaitable, Callable, Iterable
from itertools import pairwise
from uuid import UUID

import pytest

from jabba.errors import Unavailable
from jabba.jobs import ids
from tests.support.processes import eventually
from web.streams import job_cache
from web.streams.job_cache import JobCache

JOBS = [str(ids.new_job_id(1_790_000_000)) for _ in range(5)]


class World:
    """PostgreSQL, the projection and the log, as they stand at the moment."""

    def __init__(self) -> None:
        self.jobs: dict[str, bytes] = {}
        self.projected = {0: 0}
        self.end = {0: 1}
        self.away = False
        self.seconds = 0.0
        self.asked: list[list[str]] = []
        self.asked_at: list[float] = []
        self.ends_taken = 0

    async def ask(self, jobs: Iterable[UUID]) -> dict[UUID, bytes]:
        self.asked.append(sorted(map(str, jobs)))
        self.asked_at.append(asyncio.get_running_loop().time())
        await asyncio.sleep(self.seconds)
        if self.away:
            raise Unavailable("PostgreSQL is away")
        return {UUID(job): self.jobs[job] for job in self.asked[-1] if job in self.jobs}

    async def ask_projected(self) -> dict[int, int]:
        return self.projected

    async def ask_ends(self) -> dict[int, int]:
        self.ends_taken += 1
        return self.end

    def known(self, max_bytes: int = 10**6) -> JobCache:
        return JobCache(self.ask, self.ask_projected, self.ask_ends, max_bytes)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(job_cache, "PATIENCE_SECONDS", 0.05)
    return World()


def trouble_of(known: JobCache, expected: str) -> Callable[[], Awaitable[bool]]:
    async def ask() -> bool:
        return expected in known.trouble

    return ask


async def test_jobs_are_asked_for_once_for_all_who_want_them(world: World) -> None:
    world.jobs = {JOBS[0]: b"{}", JOBS[1]: b"[]"}
    known = world.known()
    assert await asyncio.gather(*(known.find(JOBS[:2]) for _ in range(20))) == [world.jobs] * 20
    assert await known.find([JOBS[1]]) == {JOBS[1]: b"[]"}
    assert known.recall(JOBS[0]) == b"{}"
    assert world.asked == [sorted(JOBS[:2])]


async def test_a_job_that_is_not_there_yet_is_waited_for_and_others_are_not_held_up(world: World) -> None:
    world.jobs = {JOBS[1]: b"1"}
    known = world.known()
    waiting = asyncio.create_task(known.find(JOBS[:2]))
    await eventually(trouble_of(known, "behind"))
    assert not waiting.done()
    assert await known.find([JOBS[1]]) == {JOBS[1]: b"1"}
    world.jobs[JOBS[0]] = b"0"
    assert await waiting == {JOBS[0]: b"0", JOBS[1]: b"1"}
    assert known.trouble == ""


async def test_without_postgresql_one_waits_and_learns_why(world: World) -> None:
    world.away, world.jobs = True, {JOBS[0]: b"0"}
    known = world.known()
    waiting = asyncio.create_task(known.find([JOBS[0]]))
    await eventually(trouble_of(known, "PostgreSQL is away"))
    await asyncio.sleep(0.2)
    assert not waiting.done()
    assert min(later - earlier for earlier, later in pairwise(world.asked_at)) >= job_cache._LEAST_SPACING_SECONDS / 2
    # While it is being asked once more, the reason is the same.
    world.seconds = 0.1
    await asyncio.sleep(0.1)
    assert known.trouble == "PostgreSQL is away"
    world.away = False
    assert await waiting == {JOBS[0]: b"0"}
    assert known.trouble == ""


async def test_there_is_no_job_without_which_the_projection_passes_the_end_of_the_log(world: World) -> None:
    world.end, world.projected = {0: 7, 1: 0}, {0: 6}
    known = world.known()
    waiting = asyncio.create_task(known.find([JOBS[0]]))
    await asyncio.sleep(0.2)
    assert not waiting.done()
    world.projected = {0: 7}
    assert await waiting == {JOBS[0]: None}
    # From then on one look suffices, and the job may come all the same.
    taken = world.ends_taken
    assert await known.find([JOBS[0]]) == {JOBS[0]: None}
    assert world.ends_taken == taken
    world.jobs[JOBS[0]] = b"late"
    assert await known.find([JOBS[0]]) == {JOBS[0]: b"late"}


async def test_what_is_no_id_of_a_job_is_no_job(world: World) -> None:
    assert await world.known().find(["me", JOBS[0].upper()]) == {"me": None, JOBS[0].upper(): None}
    assert world.asked == []


async def test_the_jobs_that_were_asked_for_last_are_remembered(world: World) -> None:
    world.jobs = dict.fromkeys(JOBS, b"x" * 1000)
    known = world.known(max_bytes=4000)
    await known.find(JOBS[:3])
    assert known.recall(JOBS[0])
    assert known.recall(JOBS[2])
    await known.find([JOBS[3]])
    assert [known.recall(job) is not None for job in JOBS[:4]] == [True, False, True, True]
    assert await known.find(JOBS) == world.jobs


async def test_who_gives_up_takes_nothing_away_from_the_others(world: World) -> None:
    known = world.known()
    tasks = [asyncio.create_task(known.find([JOBS[0]])) for _ in range(2)]
    await asyncio.sleep(0.01)
    tasks[0].cancel()
    await asyncio.wait([tasks[0]])
    world.jobs[JOBS[0]] = b"0"
    assert await tasks[1] == world.jobs
    assert known._wanted == {}


async def test_a_question_that_breaks_is_asked_again(world: World, caplog: pytest.LogCaptureFixture) -> None:
    async def broken(_: Iterable[UUID]) -> dict[UUID, bytes]:
        raise ValueError("broken")

    known = JobCache(broken, world.ask_projected, world.ask_ends, 0)
    waiting = asyncio.create_task(known.find([JOBS[0]]))
    await eventually(trouble_of(known, "broken"))
    assert "query for the jobs of filtered live streams failed" in caplog.text
    waiting.cancel()
    await asyncio.wait([waiting])
    await known.close()
