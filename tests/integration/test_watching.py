"""Waiting for jobs and watching them, with events as workers write them and a real projector."""

import asyncio
import time
from uuid import UUID, uuid4

import pytest
from aiohttp import ClientSession

from jabba.client import Client, SyncClient
from jabba.errors import InvalidRequest, NotFound
from jabba.jobs.lifecycle import Event, TaskFailed, TasksAborted, TaskSucceeded, Version
from jabba.jobs.models import JobEvent
from jabba.projection.projector import Projector
from jabba.settings import Settings
from tests.support.http import get, serving
from tests.support.keys import AUTHORIZATION, KEY
from tests.support.live import data, emit, first, listening
from tests.support.processes import eventually
from web.service import build

TASK = ["local", "shop", "ship", [1]]


def outcome(job: UUID, index: int, *, cls: type[TaskSucceeded] | type[TaskFailed] = TaskSucceeded) -> Event:
    return cls(job, index, Version(0, 1, index), result={"n": index})


async def test_a_get_that_waits_is_answered_as_soon_as_the_job_ends(
    settings: Settings, http: ClientSession, client: Client, projector: Projector
) -> None:
    submitted = await client.create_job([TASK] * 2, "shipping")
    begin = time.monotonic()
    status, job = await get(http, f"/v1/jobs/{submitted.id}", params={"wait": "1"})
    assert (status, job["status"]) == (200, "PENDING")
    assert time.monotonic() - begin >= 1
    waiting = [asyncio.create_task(get(http, f"/v1/jobs/{submitted.id}", params={"wait": "50"})) for _ in range(20)]
    await emit(settings, [outcome(submitted.id, 0)])
    done, _ = await asyncio.wait(waiting, timeout=0.3)
    assert not done
    await emit(settings, [outcome(submitted.id, 1)])
    async with asyncio.timeout(30):
        assert {(status, job["status"]) for status, job in await asyncio.gather(*waiting)} == {(200, "PROCESSED")}
    assert (await get(http, f"/v1/jobs/{submitted.id}?wait=50"))[1]["status"] == "PROCESSED"


@pytest.mark.parametrize("wait", ["-1", "61", "1.5", "soon", ""])
async def test_a_wrong_time_to_wait_is_refused(http: ClientSession, wait: str) -> None:
    status, error = await get(http, f"/v1/jobs/{uuid4()}", params={"wait": wait})
    assert (status, [one["field"] for one in error["fields"]]) == (422, ["wait"])


async def test_requests_that_wait_do_not_hold_a_process_up_that_stops(settings: Settings, projector: Projector) -> None:
    app = build(settings)
    await app.start()
    async with (
        Client(f"http://127.0.0.1:{settings.web_port}", key=KEY) as client,
        ClientSession(headers=AUTHORIZATION) as http,
    ):
        submitted = await client.create_job(TASK, "shipping")
        await client.get_job(submitted.id, after=submitted.position)
        waiting = asyncio.create_task(
            get(http, f"http://127.0.0.1:{settings.web_port}/v1/jobs/{submitted.id}", params={"wait": "50"})
        )
        await asyncio.sleep(0.3)
        async with asyncio.timeout(30):
            await app.stop()
            assert (await waiting)[1]["status"] == "PENDING"


async def test_waiting_and_watching_end_with_the_job(
    settings: Settings, http: ClientSession, client: Client, projector: Projector
) -> None:
    submitted = await client.create_job([TASK] * 4, "shipping")

    async def watched() -> list[JobEvent]:
        return [event async for event in client.watch(submitted)]

    waiting, watching = asyncio.create_task(client.wait(submitted)), asyncio.create_task(watched())
    failure = outcome(submitted.id, 2, cls=TaskFailed)
    # Repeats, as an owner that takes a lane over sends them.
    await emit(settings, [outcome(submitted.id, 0), outcome(submitted.id, 0), outcome(submitted.id, 1)])
    await asyncio.sleep(0.3)
    await emit(settings, [outcome(submitted.id, 1), failure, TasksAborted(submitted.id, 3, Version(0, 1, 3), count=1)])
    async with asyncio.timeout(30):
        job, events = await waiting, await watching
    assert (job.status, events[-1].event, events[-1].final) == ("FAILED", "job_ended", job)
    assert [(event.event, event.index, event.status) for event in events[:-1]] == [
        ("task_succeeded", 0, "PROCESSED"),
        ("task_succeeded", 1, "PROCESSED"),
        ("task_failed", 2, "FAILED"),
        ("tasks_aborted", 3, "ABORTED"),
    ]
    assert (events[0].job, events[0].attempt, events[0].result) == (submitted.id, 1, {"n": 0})
    assert await watched() == events


async def test_a_watch_goes_on_when_the_web_process_is_replaced(settings: Settings, projector: Projector) -> None:
    total = 200

    async def work(job: UUID) -> None:
        for index in range(total):
            await emit(settings, [outcome(job, index)])

    async with Client(f"http://127.0.0.1:{settings.web_port}", key=KEY) as client:
        async with serving(settings):
            submitted = await client.create_job([TASK] * total, "shipping", strategy="concurrent")
            await client.get_job(submitted.id, after=submitted.position)
            watching = asyncio.create_task(collect(client, submitted.id))
            working = asyncio.create_task(work(submitted.id))
            await asyncio.sleep(0.5)
        async with serving(settings):
            await asyncio.sleep(0.5)
        async with serving(settings), asyncio.timeout(30):
            await working
            events = await watching
    assert [event.index for event in events[:-1]] == list(range(total))
    assert events[-1].event == "job_ended"


async def collect(client: Client, job: UUID) -> list[JobEvent]:
    return [event async for event in client.watch(job)]


async def test_code_without_an_event_loop_watches_the_same(
    settings: Settings, http: ClientSession, client: Client, projector: Projector
) -> None:
    submitted = await client.create_job(TASK, "shipping")

    def work() -> tuple[list[str], list[str]]:
        with SyncClient(f"http://127.0.0.1:{settings.web_port}", key=KEY) as twin:
            partly = twin.watch(submitted)
            begun = [next(iter(partly)).event]
            del partly
            return begun, [event.event for event in twin.watch(submitted.id)]

    watching = asyncio.create_task(asyncio.to_thread(work))
    await emit(settings, [outcome(submitted.id, 0)])
    assert await watching == (["task_succeeded"], ["task_succeeded", "job_ended"])


async def test_all_that_happens_at_a_tenant_is_watched_over_connections_that_break(
    settings: Settings, projector: Projector
) -> None:
    wanted = [("job", None, [("meta", None, [("tenant", "equal", "x")])]), ("status", "not_equal", "CONSUMED")]
    found: list[UUID] = []

    async def watched(client: Client) -> None:
        async for event in client.watch(filter=wanted, timeout=30):
            found.append(event.job)
            if len(found) == 20:
                return

    async with Client(f"http://127.0.0.1:{settings.web_port}", key=KEY) as client:
        watching = asyncio.create_task(watched(client))
        jobs: list[UUID] = []
        for part in range(2):
            async with serving(settings) as http:
                await eventually(lambda http=http: is_heard(http), what="listener")  # type: ignore[misc]
                for number in range(20):
                    submitted = await client.create_job(TASK, "shipping", meta={"tenant": "xy"[number % 2]})
                    jobs += [] if number % 2 else [submitted.id]
                    # A repeat is told once.
                    await emit(settings, [outcome(submitted.id, 0)] * 2)
                await eventually(lambda part=part: has_found(found, 10 * (part + 1)), what="events")  # type: ignore[misc]
        await watching
    assert found == jobs


async def is_heard(http: ClientSession) -> bool:
    async with http.get("/metrics") as response:
        return "jabba_live_streams 1.0" in await response.text()


async def has_found(found: list[UUID], count: int) -> bool:
    return len(found) >= count


async def test_a_watch_with_a_wrong_filter_is_refused(http: ClientSession, client: Client) -> None:
    for conditions, field in (("job.meta.a:1 job.status:FAILED", "q[17]"), ([("colour", "equal", 1)], "filter[0][0]")):
        with pytest.raises(InvalidRequest) as refused:
            await anext(client.watch(filter=conditions))
        assert [one.field for one in refused.value.fields] == [field]


async def test_nobody_can_watch_a_job_that_there_is_not(http: ClientSession, client: Client) -> None:
    with pytest.raises(NotFound):
        await collect(client, uuid4())


async def test_the_stream_of_one_job_tells_nothing_of_others(
    settings: Settings, http: ClientSession, client: Client, projector: Projector
) -> None:
    mine, other = [await client.create_job(TASK, "shipping") for _ in range(2)]
    await client.get_job(other.id, after={**mine.position, **other.position})
    async with listening(http, job=str(mine.id)) as stream:
        await emit(settings, [outcome(other.id, 0), outcome(mine.id, 0)])
        event, end = await first(stream, 2)
        assert (event.kind, data(event)["job"]) == ("task_succeeded", str(mine.id))
        assert (end.kind, data(end)["final"]["status"]) == ("job_ended", "PROCESSED")
        assert await anext(stream, None) is None
