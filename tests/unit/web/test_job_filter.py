"""Readers who ask what jobs are, at random moments, over jobs that become known late: complete and in order."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import pytest

from jabba.concurrency.cancellation import cancel_and_wait
from jabba.jobs import ids
from jabba.kafka.reader import LogMessage
from jabba.search import EVENTS, parse_conditions
from web.streams.cursor import Mark
from web.streams.hub import Hub, Reader, Selection, tell
from web.streams.job_cache import JobCache
from web.streams.job_filter import JobFilter
from web.streams.stream_events import EventFilter, KnownJob, StreamEvent, happenings

PARTITIONS = 2
JOBS = [str(ids.new_job_id(1_790_000_000)) for _ in range(12)]
MINE = frozenset(JOBS[::3])
FILTER = EventFilter("x", parse_conditions(None, "job.meta.tenant:x -event:task_started", EVENTS))
OF_ALL, OF_JOB = (
    Selection(job, lambda one: one.meets(FILTER), lambda one: one.may_meet(FILTER)) for job in (None, JOBS[0])
)


class Log:
    """The events topic, and PostgreSQL, which has each job a while after someone asks for it."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.messages: list[LogMessage] = []
        self.missing = set(JOBS)
        self._next = [0] * PARTITIONS
        self._read_from: dict[int, int] = {}

    def append(self) -> LogMessage:
        """Return a new message with events of several jobs."""
        partition = self.random.randrange(PARTITIONS)
        offset = self._next[partition]
        self._next[partition] += 1
        events = [
            {
                "event": self.random.choice(["task_started", "task_succeeded"]),
                "job": job,
                "at": [partition, offset, place],
            }
            for place, job in enumerate(self.random.choices(JOBS, k=self.random.randrange(5)))
        ]
        self.messages.append(LogMessage(partition, offset, json.dumps(events).encode()))
        return self.messages[-1]

    async def ask(self, jobs: Iterable[UUID]) -> dict[UUID, bytes]:
        await asyncio.sleep(0)
        wanted = set(map(str, jobs))
        self.missing -= {job for job in sorted(wanted) if self.random.random() < 0.5}
        return {UUID(job): facts_of(job) for job in wanted - self.missing}

    async def offsets(self) -> dict[int, int]:
        return {}

    @asynccontextmanager
    async def replay(self, mark: Mark) -> AsyncIterator[Any]:
        self._read_from = mark.next_offsets
        yield self

    async def read(self) -> list[LogMessage]:
        """Return what stands behind where the last read ended, as a reader of the log does."""
        await asyncio.sleep(0)
        found = [one for one in self.messages if one.offset >= self._read_from[one.partition]]
        self._read_from = dict(enumerate(self._next))
        return found


def facts_of(job: str) -> bytes:
    return json.dumps({"meta": {"tenant": "x" if job in MINE else "y"}}).encode()


def places(blocks: bytes) -> list[list[int]]:
    return [json.loads(line.removeprefix("data: "))["at"] for line in blocks.decode().split("\n") if line[:4] == "data"]


def wanted(messages: Iterable[LogMessage], of_job: str | None) -> list[list[int]]:
    events = [one for each in messages for one in happenings(each)]
    mine = MINE if of_job is None else {of_job}
    return [one.document["at"] for one in events if one.job in mine and one.kind == "task_succeeded"]


def taken(reader: Reader) -> list[list[int]]:
    return places(reader.take(10**9)) if reader.waiting else []


def known(told: Iterable[StreamEvent]) -> Iterable[StreamEvent]:
    """Tell events what their jobs are, as a stream does for what came before it."""
    for one in told:
        one.learn(KnownJob.read(one.job, facts_of(one.job)))
        yield one


@pytest.mark.parametrize("seed", range(8))
async def test_readers_who_come_at_any_time_get_all_in_order(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("web.streams.job_cache._LEAST_SPACING_SECONDS", 0.0)
    log = Log(seed)
    hubs = [Hub(tail_bytes=size, reader_bytes=10**6) for size in (3000, 10**6)]
    for hub in hubs:
        hub.begin(dict.fromkeys(range(PARTITIONS), 0))
    informed = JobFilter(hubs[0], JobCache(log.ask, log.offsets, log.offsets, 3000), hubs[1], log.replay, 1500)
    following = asyncio.create_task(informed.follow())
    readers: list[tuple[Reader, list[list[int]], int]] = []
    for number in range(150):
        message = log.append()
        hubs[0].publish(message)
        informed.offer(message)
        if number % 10 == 0:
            # From now on, that is from where the feed is; or from the beginning.
            since = number + 1 if log.random.random() < 0.5 else 0
            mark = Mark(hubs[0].mark.places) if since else Mark.before(dict.fromkeys(range(PARTITIONS), 0))
            selection = log.random.choice([OF_ALL, OF_JOB])
            reader, behind = informed.hub.join(selection, mark)
            before = b"".join(block for one in behind for block in tell(one, known(happenings(one)), mark, selection))
            readers.append((reader, places(before), since))
        for _ in range(log.random.randrange(4)):
            await asyncio.sleep(0)
    async with asyncio.timeout(10):
        await asyncio.gather(*(informed.hub.reached(p, end) for p, end in hubs[0].mark.next_offsets.items()))
    await cancel_and_wait([following])
    for reader, told_before, since in readers:
        told = told_before + taken(reader)
        assert sorted(told) == sorted(wanted(log.messages[since:], reader.selection.job))
        for partition in range(PARTITIONS):
            mine = [place for place in told if place[0] == partition]
            assert mine == sorted(mine)


async def test_nothing_is_looked_up_for_what_nobody_asks() -> None:
    log = Log(0)
    asked: list[str] = []

    async def ask(jobs: Iterable[UUID]) -> dict[UUID, bytes]:
        asked.extend(map(str, jobs))
        return {UUID(job): facts_of(job) for job in JOBS}

    before, hub = (Hub(tail_bytes=10**6, reader_bytes=10**6) for _ in range(2))
    for one in (before, hub):
        one.begin({0: 0})
    informed = JobFilter(before, JobCache(ask, log.offsets, log.offsets, 10**6), hub, log.replay, 10**6)
    following = asyncio.create_task(informed.follow())

    async def come(offset: int) -> None:
        events = [{"event": kind, "job": JOBS[at], "at": []} for at, kind in enumerate(["task_started", "task_failed"])]
        message = LogMessage(0, offset, json.dumps(events).encode())
        before.publish(message)
        informed.offer(message)
        await hub.reached(0, offset + 1)

    await come(0)
    assert asked == []
    hub.join(OF_ALL, Mark(hub.mark.places))
    await come(1)
    assert asked == [JOBS[1]]
    await come(2)
    assert asked == [JOBS[1]]
    await cancel_and_wait([following])


async def test_who_comes_while_jobs_are_looked_up_gets_what_is_told_then() -> None:
    log, may_answer = Log(0), asyncio.Event()

    async def ask(jobs: Iterable[UUID]) -> dict[UUID, bytes]:
        await may_answer.wait()
        return {job: facts_of(str(job)) for job in jobs}

    before, hub = (Hub(tail_bytes=10**6, reader_bytes=10**6) for _ in range(2))
    for one in (before, hub):
        one.begin({0: 0})
    informed = JobFilter(before, JobCache(ask, log.offsets, log.offsets, 10**6), hub, log.replay, 10**6)
    following = asyncio.create_task(informed.follow())
    events = [{"event": "task_failed", "job": job, "at": [number]} for number, job in enumerate(JOBS)]
    first, _ = hub.join(OF_JOB, Mark(hub.mark.places))
    informed.offer(LogMessage(0, 0, json.dumps(events).encode()))
    await asyncio.sleep(0.01)
    second, behind = hub.join(OF_ALL, Mark(hub.mark.places))
    may_answer.set()
    async with asyncio.timeout(5):
        await hub.reached(0, 1)
    await cancel_and_wait([following])
    assert behind == []
    assert (taken(first), taken(second)) == ([[0]], [[0], [3], [6], [9]])


async def test_whatever_goes_wrong_the_streams_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("web.streams.job_filter._RESTART_SECONDS", 0.0)
    log = Log(0)
    failures = [RuntimeError("a defect"), OSError("too many open files")]

    @asynccontextmanager
    async def replay(mark: Mark) -> AsyncIterator[Any]:
        if failures:
            raise failures.pop()
        async with log.replay(mark) as opened:
            yield opened

    before, hub = Hub(tail_bytes=0, reader_bytes=10**6), Hub(tail_bytes=10**6, reader_bytes=10**6)
    for one in (before, hub):
        one.begin(dict.fromkeys(range(PARTITIONS), 0))
    informed = JobFilter(before, JobCache(log.ask, log.offsets, log.offsets, 10**6), hub, replay, 0)
    reader, _ = hub.join(OF_ALL, Mark(hub.mark.places))
    for _ in range(20):
        message = log.append()
        before.publish(message)
        informed.offer(message)
    following = asyncio.create_task(informed.follow())
    async with asyncio.timeout(5):
        await asyncio.gather(*(hub.reached(partition, end) for partition, end in before.mark.next_offsets.items()))
    await cancel_and_wait([following])
    assert failures == []
    assert sorted(taken(reader)) == sorted(wanted(log.messages, None))
