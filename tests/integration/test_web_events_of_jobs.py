"""Live streams whose filters ask what only the job knows: real events, a real projector, a real PostgreSQL."""

import asyncio
import json
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from aiohttp import ClientSession
from pydantic import SecretStr

from jabba.auth.roles import Role
from jabba.client import Client
from jabba.client.sse import SentEvent, SentEvents
from jabba.database import migrations
from jabba.database.connection import Database
from jabba.jobs.lifecycle import TaskSucceeded, Version
from jabba.kafka import admin
from jabba.projection.projector import Projector
from jabba.settings import Settings
from tests.support.http import get, serving
from tests.support.kafka import KafkaServer
from tests.support.keys import bearer, make_key
from tests.support.live import data, emit, emit_interleaved, first, listening, new_jobs, places, transitions
from tests.support.postgres import PostgresServer
from tests.support.processes import eventually

TASK = ["local", "shop", "ship", [1]]


@pytest.fixture
def options() -> dict[str, Any]:
    return {"partitions": 2, "visible_seconds": 0, "stream_heartbeat_seconds": 0.2}


@asynccontextmanager
async def projecting(settings: Settings) -> AsyncIterator[None]:
    service = Projector(settings)
    await service.start()
    try:
        yield
    finally:
        await service.stop()


async def submitted(client: Client, tenants: Sequence[str | None], tasks: int = 1) -> list[UUID]:
    """Submit a job of each tenant."""
    made = [
        await client.create_job([TASK] * tasks, "shipping", name=f"of {tenant}", meta={"tenant": tenant, "n": number})
        for number, tenant in enumerate(tenants)
    ]
    return [one.id for one in made]


def jobs_of(events: Sequence[SentEvent]) -> list[str]:
    return [job for job, _ in places(events)]


FILTERS = [
    ("job.meta.tenant:x", [0, 2]),
    ("job(meta.tenant:x meta.n>0)", [2]),
    ("-job.meta.tenant:x", [1, 3]),
    ("job.meta.tenant:null", [3]),
    ("(job.meta.tenant:y or job.name~none)", [1, 3]),
    ("job.name:of* job.strategy:sequentially job.type:shipping job.meta.n<3", [0, 1, 2]),
]


async def test_a_stream_has_the_events_of_the_jobs_that_were_asked_for(
    settings: Settings, http: ClientSession, client: Client, projector: Projector
) -> None:
    jobs = await submitted(client, ["x", "y", "x", None])
    async with AsyncExitStack() as open_:
        streams = [
            await open_.enter_async_context(listening(http, q=f"{query} event:task_succeeded")) for query, _ in FILTERS
        ]
        await asyncio.sleep(0.1)
        await emit(settings, [event for job in jobs for event in transitions(job, 1)])
        await emit(settings, [TaskSucceeded(job, 1, Version(0, 1, 9), result={}) for job in jobs])
        for stream, (query, expected) in zip(streams, FILTERS, strict=True):
            found = places(await first(stream, 2 * len(expected)))
            assert sorted(found) == sorted((str(jobs[one]), seq) for one in expected for seq in (1, 9)), query


async def test_an_event_that_comes_before_its_job_waits_for_it_and_nobody_else_does(
    settings: Settings, http: ClientSession, client: Client
) -> None:
    mine, other = await submitted(client, ["x", "y"])
    async with listening(http, q="job.meta.tenant:x") as stream, listening(http) as of_all:
        await asyncio.sleep(0.1)
        await emit(settings, [*transitions(other, 1), *transitions(mine, 1)])
        assert sorted(jobs_of(await first(of_all, 4))) == sorted([str(mine)] * 2 + [str(other)] * 2)
        waiting = asyncio.create_task(first(stream, 2))
        done, _ = await asyncio.wait([waiting], timeout=0.5)
        assert not done
        async with projecting(settings):
            assert places(await waiting) == [(str(mine), 0), (str(mine), 1)]


async def test_of_a_job_that_there_is_not_no_condition_holds_and_what_follows_is_told(
    settings: Settings, http: ClientSession, client: Client, projector: Projector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("web.streams.job_cache.PATIENCE_SECONDS", 0.3)
    [mine], nobodys = await submitted(client, ["x"]), new_jobs(3)
    with_mine = [event for job in (*nobodys, mine, nobodys[0]) for event in transitions(job, 1)]
    async with listening(http, q="job.meta.tenant:x") as stream, listening(http, q="-job.type:*") as of_none:
        await asyncio.sleep(0.1)
        await emit(settings, with_mine)
        async with asyncio.timeout(30):
            assert jobs_of(await first(stream, 2)) == [str(mine)] * 2
            assert set(jobs_of(await first(of_none, 8))) == set(map(str, nobodys))


class Resuming:
    """A reader of a filtered stream whose connection is cut again and again, and that goes on behind its last event."""

    def __init__(self, http: ClientSession, query: str, seed: int) -> None:
        self.received: list[SentEvent] = []
        self.connections = 0
        self.delays: list[str] = []
        self.events = SentEvents()
        self._http = http
        self._query = query
        self._random = random.Random(seed)

    async def read_until(self, count: int) -> None:
        while len(self.received) < count:
            await self._read_once(self._random.randrange(1, 80), count)

    async def has_begun(self) -> bool:
        return bool(self.events.last_id)

    async def has_been_delayed(self) -> bool:
        return any("PostgreSQL" in message for message in self.delays)

    async def _read_once(self, cut: int, count: int) -> None:
        self.events.begin_again()
        headers = {"Last-Event-ID": self.events.last_id} if self.events.last_id else {}
        async with self._http.get("/v1/events", params={"q": self._query}, headers=headers) as response:
            self.connections += 1
            async for chunk in response.content.iter_chunked(300):
                for one in self.events.feed(chunk):
                    if one.kind in ("delayed", "lagged"):
                        self.delays.append(data(one)["message"])
                        continue
                    self.received.append(one)
                    cut -= 1
                    if cut == 0 or len(self.received) >= count:
                        self.events = SentEvents(one.id)
                        return


@pytest.mark.parametrize("tail_bytes, jobs_bytes", [(0, 3_000), (32 * 1024 * 1024, 16 * 1024 * 1024)])
async def test_readers_that_are_cut_off_miss_nothing_while_jobs_are_looked_up(
    settings: Settings, tail_bytes: int, jobs_bytes: int
) -> None:
    """From the log, from the tail and live; with jobs that are remembered, and with ones that are asked for again."""
    settings = settings.model_copy(update={"stream_tail_bytes": tail_bytes, "stream_jobs_bytes": jobs_bytes})
    tasks, tenants = 20, ["x", "y"] * 8
    async with serving(settings) as http, Client(str(http._base_url), key=key_of(http)) as client, projecting(settings):
        jobs = await submitted(client, tenants, tasks)
        mine = {str(job) for job, tenant in zip(jobs, tenants, strict=True) if tenant == "x"}
        readers = [Resuming(http, "job.meta.tenant:x", seed) for seed in range(2)]
        reading = [asyncio.create_task(reader.read_until(2 * tasks * len(mine))) for reader in readers]
        for reader in readers:
            await eventually(reader.has_begun, what="connection")
        await emit_interleaved(settings, jobs, tasks, 0.02)
        async with asyncio.timeout(60):
            await asyncio.gather(*reading)
    for reader in readers:
        assert reader.connections > 4
        by_job: dict[str, list[int]] = defaultdict(list)
        for job, number in places(reader.received):
            by_job[job].append(number)
        assert by_job == {job: list(range(2 * tasks)) for job in mine}


def key_of(http: ClientSession) -> str:
    return http.headers["Authorization"].removeprefix("Bearer ")


async def test_while_postgresql_is_away_a_filtered_stream_waits_and_says_so_and_misses_nothing(
    kafka: KafkaServer, tmp_path: Path, unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("web.streams.job_cache.PATIENCE_SECONDS", 0.3)
    with PostgresServer(tmp_path) as postgres:
        settings = Settings(
            kafka=kafka.bootstrap,
            database=SecretStr(postgres.dsn),
            prefix=f"o{uuid4().hex[:12]}",
            partitions=2,
            web_port=unused_tcp_port,
            access="open",
            stream_heartbeat_seconds=0.2,
            # What waits is more than it keeps, and is read from the log again.
            stream_tail_bytes=2000,
            stream_queue_bytes=50_000,
        )
        await admin.create_topics(settings.cluster)
        migrations.upgrade(postgres.dsn)
        async with serving(settings) as http, Client(str(http._base_url)) as client, projecting(settings):
            old, _ = await submitted(client, ["x", "y"], 50)
            reader = Resuming(http, "job.meta.tenant:x", 1)
            reading = asyncio.create_task(reader.read_until(302))
            await eventually(reader.has_begun, what="connection")
            await emit(settings, transitions(old, 1))
            await eventually(lambda: has_received(reader, 2), what="events")
            postgres.stop()
            new, other = await submitted(client, ["x", "y"], 50)
            async with listening(http) as of_all:
                # A job that it knows goes on, until there is one that it does not.
                await emit(settings, transitions(old, 50))
                await eventually(lambda: has_received(reader, 102), what="events")
                await emit(settings, transitions(other, 1))
                await first(of_all, 102)
            for _ in range(5):
                await emit(settings, transitions(other, 50))
            await emit(settings, [*transitions(new, 50), *transitions(old, 50)])
            await eventually(reader.has_been_delayed, what="sign of life")
            async with listening(http, q="job.meta.tenant:x", last_event_id=reader.events.last_id) as resumed:
                assert (await anext(resumed)).kind == "delayed"
            assert len(reader.received) == 102
            postgres.start()
            async with asyncio.timeout(30):
                await reading
            told = places(reader.received)
            assert [seq for job, seq in told if job == str(new)] == list(range(100))
            assert [seq for job, seq in told if job == str(old)] == [0, 1, *range(100), *range(100)]


async def has_received(reader: Resuming, count: int) -> bool:
    return len(reader.received) >= count


async def test_a_stream_of_one_job_meets_its_filter_and_ends_with_it(
    settings: Settings, http: ClientSession, client: Client, projector: Projector
) -> None:
    mine, other = await submitted(client, ["x", "y"])
    await emit(settings, [event for job in (mine, other) for event in transitions(job, 1)])
    for job in (mine, other):
        await eventually(partial(has_ended, http, job), what="end")
    for job, kinds in ((mine, ["task_started", "task_succeeded", "job_ended"]), (other, ["job_ended"])):
        query = {"job": str(job), "from": "beginning", "q": "job.meta.tenant:x"}
        async with listening(http, **query) as stream, asyncio.timeout(30):
            assert [one.kind async for one in stream] == kinds


async def has_ended(http: ClientSession, job: UUID) -> bool:
    status, found = await get(http, f"/v1/jobs/{job}")
    return status == 200 and found["status"] == "PROCESSED"


async def test_a_key_that_is_limited_to_types_hears_of_no_others(
    settings: Settings, http: ClientSession, client: Client, projector: Projector, projection: Database
) -> None:
    order = (await client.create_job(TASK, "order", meta={"tenant": "x"})).id
    salary = (await client.create_job(TASK, "salary", meta={"tenant": "x"})).id
    http.headers.update(bearer(await make_key(projection, Role.READER, "order")))
    async with listening(http, q="job.meta.tenant:x") as stream:
        await asyncio.sleep(0.1)
        await emit(settings, [*transitions(salary, 1, "salary"), *transitions(order, 1, "order")])
        await emit(settings, transitions(order, 1, "order"))
        assert jobs_of(await first(stream, 4)) == [str(order)] * 4


WRONG = [
    ({"q": "job.status:FAILED"}, "q[4]"),
    ({"q": "type:a job(meta.a:1 ended_at:null)"}, "q[20]"),
    ({"q": "job.tasks.status:FAILED"}, "q[4]"),
    ({"q": "job.colour:red"}, "q[4]"),
    ({"q": "job:1"}, "q[0]"),
    ({"filter": '[["job", null, [["name", "equal", "a"], ["status", "equal", "FAILED"]]]]'}, "filter[0][2][1][0]"),
    ({"filter": '[["job", null, [["tasks", null, []]]]]'}, "filter[0][2][0][0]"),
]


async def test_a_condition_on_what_changes_is_refused(http: ClientSession) -> None:
    for query, field in WRONG:
        status, error = await get(http, "/v1/events", params=query)
        assert (status, [one["field"] for one in error["fields"]]) == (422, [field]), query
        changes = "changes" in error["fields"][0]["message"]
        assert changes == ("colour" not in json.dumps(query) and query.get("q") != "job:1"), error
