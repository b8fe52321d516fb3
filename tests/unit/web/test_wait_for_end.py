import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from datetime import UTC, datetime
from uuid import UUID

import pytest

from jabba.errors import Unavailable
from jabba.jobs import ids
from jabba.jobs.lifecycle import JobStatus, Strategy
from jabba.jobs.models import Job
from web.streams.hub import Hub
from web.wait_for_end import EndWaiters


def ended(job: UUID) -> Job:
    moment = datetime.fromtimestamp(ids.job_seconds(job), UTC)
    return Job(
        id=job,
        name=None,
        type="shipping",
        status=JobStatus.PROCESSED,
        strategy=Strategy.SEQUENTIAL,
        meta={},
        ended_at=moment,
        inserted_at=moment,
        updated_at=moment,
    )


class Projection:
    """Jobs that have ended as far as PostgreSQL knows; it counts the questions."""

    def __init__(self) -> None:
        self.over: set[UUID] = set()
        self.questions: list[int] = []
        self.error: Exception | None = None

    async def __call__(self, jobs: Iterable[UUID]) -> Mapping[UUID, Job]:
        asked = list(jobs)
        self.questions.append(len(asked))
        await asyncio.sleep(0.001)
        if self.error is not None:
            raise self.error
        return {job: ended(job) for job in asked if job in self.over}


def new_job() -> UUID:
    return ids.new_job_id(1_800_000_000)


@pytest.fixture
def projection() -> Projection:
    return Projection()


@pytest.fixture
def hub() -> Hub:
    return Hub(tail_bytes=0, reader_bytes=0)


@pytest.fixture
def endings(projection: Projection, hub: Hub) -> EndWaiters:
    return EndWaiters(projection, hub.hints, hub.closing)


async def test_a_job_that_has_ended_is_answered_at_once(projection: Projection, endings: EndWaiters) -> None:
    job = new_job()
    projection.over.add(job)
    assert await endings.ended(job, 5) == ended(job)
    assert projection.questions == [1]


async def test_one_that_does_not_end_is_none_after_the_time(endings: EndWaiters) -> None:
    assert await endings.ended(new_job(), 0.05) is None


async def test_without_a_hint_it_is_found_all_the_same(projection: Projection, endings: EndWaiters) -> None:
    job = new_job()
    waiting = asyncio.create_task(endings.ended(job, 20))
    await asyncio.sleep(0.2)
    projection.over.add(job)
    assert await waiting == ended(job)


async def test_a_hint_is_followed_by_questions_until_the_projection_has_followed(
    projection: Projection, hub: Hub, endings: EndWaiters
) -> None:
    job = new_job()
    waiting = asyncio.create_task(endings.ended(job, 20))
    # Long enough for the pauses to have grown.
    await asyncio.sleep(2.0)
    before = len(projection.questions)
    for hint in hub._hints[str(job)]:
        hint.set()
    await asyncio.sleep(0.2)
    assert len(projection.questions) > before
    projection.over.add(job)
    async with asyncio.timeout(1.0):
        assert await waiting == ended(job)
    assert hub._hints == {}


async def test_however_many_wait_one_question_is_asked_at_a_time(projection: Projection, endings: EndWaiters) -> None:
    jobs = [new_job() for _ in range(2500)]
    waiting = [asyncio.create_task(endings.ended(job, 20)) for job in jobs for _ in range(2)]
    await asyncio.sleep(0)
    projection.over.update(jobs)
    assert [job.id for job in await asyncio.gather(*waiting) if job is not None] == [
        job for job in jobs for _ in range(2)
    ]
    assert sum(projection.questions) < 2 * len(jobs)
    assert len(projection.questions) < 20


async def test_while_postgresql_is_away_waiting_goes_on(projection: Projection, endings: EndWaiters) -> None:
    job = new_job()
    projection.error = Unavailable("no PostgreSQL")
    waiting = asyncio.create_task(endings.ended(job, 20))
    await asyncio.sleep(0.1)
    projection.error = None
    projection.over.add(job)
    assert await waiting == ended(job)


async def test_a_defect_is_told_to_all_who_wait(projection: Projection, endings: EndWaiters) -> None:
    projection.error = ZeroDivisionError()
    waiting = [endings.ended(new_job(), 5) for _ in range(3)]
    assert [type(one) for one in await asyncio.gather(*waiting, return_exceptions=True)] == [ZeroDivisionError] * 3


async def test_a_process_that_stops_lets_all_go(projection: Projection) -> None:
    closing = asyncio.Event()
    hint = asyncio.Event()
    hints: Callable[[str], nullcontext[asyncio.Event]] = lambda _: nullcontext(hint)  # noqa: E731 — as the hub's
    endings = EndWaiters(projection, hints, closing)
    waiting = asyncio.create_task(endings.ended(new_job()))
    await asyncio.sleep(0.05)
    closing.set()
    hint.set()
    assert await waiting is None
