import asyncio
import random
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from aiohttp import ClientError, ClientSession, ClientTimeout

from jabba.client.sse import SentEvent, SentEvents
from jabba.settings import Settings
from tests.support.http import get, serving, session_of
from tests.support.keys import AUTHORIZATION
from tests.support.live import data, emit, emit_interleaved, first, listening, new_jobs, places, told, transitions
from tests.support.processes import eventually, jabba_process
from web.service import build


@pytest.fixture
def options() -> dict[str, Any]:
    return {"visible_seconds": 0}


class Resuming:
    """A reader whose connection is cut again and again, and that goes on behind its last event."""

    def __init__(self, url: str, seed: int) -> None:
        self.received: list[SentEvent] = []
        self.connections = 0
        self._url = url
        self._events = SentEvents()
        self._random = random.Random(seed)

    async def read_until(self, count: int) -> None:
        while len(self.received) < count:
            with suppress(ClientError):
                await self._read_once(count)

    async def _read_once(self, count: int) -> None:
        """Read until the server ends the stream, or until a moment that falls where it may."""
        self._events.begin_again()
        headers = {"Last-Event-ID": self._events.last_id} if self._events.last_id else {}
        cut = self._random.randrange(1, 400)
        async with (
            ClientSession(headers=AUTHORIZATION) as session,
            session.get(f"{self._url}/v1/events", headers=headers) as response,
        ):
            self.connections += 1
            async for one in told(response.content.iter_chunked(300), self._events):
                self.received.append(one)
                cut -= 1
                if cut == 0 or len(self.received) >= count:
                    # What has been received behind this event is lost with the connection.
                    self._events = SentEvents(one.id)
                    return


def assert_complete_and_in_order(received: Iterable[SentEvent], jobs: Iterable[UUID], tasks: int) -> None:
    """Every transition once, those of a job in their order."""
    by_job: dict[str, list[int]] = defaultdict(list)
    for job, number in places(received):
        by_job[job].append(number)
    assert by_job == {str(job): list(range(2 * tasks)) for job in jobs}


@pytest.mark.parametrize("tail_bytes", [0, 20_000, 32 * 1024 * 1024])
async def test_readers_that_are_cut_off_in_mid_stream_miss_nothing(settings: Settings, tail_bytes: int) -> None:
    """From the log itself, from the tail that the process keeps, and from both."""
    settings = settings.model_copy(update={"stream_tail_bytes": tail_bytes})
    jobs, tasks = new_jobs(40), 30
    readers = [Resuming(f"http://127.0.0.1:{settings.web_port}", seed) for seed in range(3)]
    async with serving(settings) as http:
        async with listening(http) as undisturbed:
            reading = [asyncio.create_task(reader.read_until(2 * 40 * tasks)) for reader in readers]
            await asyncio.gather(*(connected(reader) for reader in readers))
            await emit_interleaved(settings, jobs, tasks, 0.02)
            assert_complete_and_in_order(await first(undisturbed, 2 * 40 * tasks), jobs, tasks)
        async with asyncio.timeout(60):
            await asyncio.gather(*reading)
    for reader in readers:
        assert reader.connections > 4
        assert_complete_and_in_order(reader.received, jobs, tasks)


async def connected(reader: Resuming) -> None:
    async def has_mark() -> bool:
        return bool(reader._events.last_id)

    await eventually(has_mark, what="connection")


async def test_readers_go_on_with_the_process_that_replaces_theirs(settings: Settings) -> None:
    jobs, tasks = new_jobs(40), 30
    reader = Resuming(f"http://127.0.0.1:{settings.web_port}", 1)
    reading = asyncio.create_task(reader.read_until(2 * 40 * tasks))
    async with serving(settings):
        await connected(reader)
        emitting = asyncio.create_task(emit_interleaved(settings, jobs, tasks, 0.05))
        await asyncio.sleep(0.5)
    for _ in range(2):
        async with serving(settings):
            await asyncio.sleep(0.7)
    await emitting
    async with serving(settings), asyncio.timeout(60):
        await reading
    assert_complete_and_in_order(reader.received, jobs, tasks)


async def test_a_reader_of_a_process_that_is_killed_in_the_middle_of_ten_thousand_transitions_misses_none(
    settings: Settings, tmp_path: Path
) -> None:
    jobs, tasks = new_jobs(50), 100
    reader = Resuming(f"http://127.0.0.1:{settings.web_port}", 2)
    reading = asyncio.create_task(reader.read_until(2 * 50 * tasks))
    with jabba_process("web", environment=settings.as_environ(), log=tmp_path / "web.log") as web:
        await asyncio.to_thread(web.start)
        await connected(reader)
        emitting = asyncio.create_task(emit_interleaved(settings, jobs, tasks, 0.01))
        for part in (0.2, 0.5):
            await eventually(partial(has_received, reader, int(part * 2 * 50 * tasks)), 60, "events")
            web.kill()
            await asyncio.to_thread(web.start)
        async with asyncio.timeout(90):
            await asyncio.gather(emitting, reading)
    assert_complete_and_in_order(reader.received, jobs, tasks)


async def has_received(reader: Resuming, count: int) -> bool:
    return len(reader.received) >= count


async def test_a_stream_tells_events_as_they_stand_in_the_log(settings: Settings, http: ClientSession) -> None:
    [job] = new_jobs(1)
    async with listening(http) as stream:
        await asyncio.sleep(0.1)
        await emit(settings, transitions(job, 1))
        started, succeeded = await first(stream, 2)
    assert (started.kind, succeeded.kind) == ("task_started", "task_succeeded")
    assert data(succeeded).items() >= {"v": 1, "job": str(job), "index": 0, "result": {"n": 0}, "attempt": 1}.items()


async def test_a_stream_has_the_events_that_were_asked_for(settings: Settings, http: ClientSession) -> None:
    one, other = new_jobs(2)
    async with listening(http, event="task_succeeded") as ends, listening(http, event="task_failed,task_started") as of:
        await asyncio.sleep(0.1)
        await emit(settings, [*transitions(one, 3), *transitions(other, 3)])
        assert [found.kind for found in await first(ends, 6)] == ["task_succeeded"] * 6
        assert [found.kind for found in await first(of, 6)] == ["task_started"] * 6


FILTERS: list[tuple[dict[str, str], list[tuple[str | None, int]]]] = [
    ({"filter": '[["type", "equal", "b"]]'}, [("b", n) for n in range(6)]),
    ({"q": "type:b"}, [("b", n) for n in range(6)]),
    ({"filter": '[["type", "in", ["a", "c"]], ["status", "equal", "PROCESSED"]]'}, [("a", 1), ("a", 3), ("a", 5)]),
    ({"q": "result.n>0", "event": "task_succeeded"}, [(kind, n) for kind in "ab" for n in (3, 5)]),
    ({"filter": '[["index", "less_than", 1]]', "q": "-type:a"}, [("b", 0), ("b", 1), (None, 0), (None, 1)]),
]


@pytest.mark.parametrize("query, expected", FILTERS)
async def test_a_stream_has_the_events_that_meet_its_filter(
    settings: Settings, http: ClientSession, query: dict[str, str], expected: list[tuple[str | None, int]]
) -> None:
    types = ["a", "b", None]
    async with listening(http, **query) as stream:
        await asyncio.sleep(0.1)
        for job, type_ in zip(new_jobs(3), types, strict=True):
            await emit(settings, transitions(job, 3, type_))
        found = [data(one) for one in await first(stream, len(expected))]
        assert sorted((one.get("type") or "-", one["seq"]) for one in found) == sorted(
            (type_ or "-", number) for type_, number in expected
        )


async def test_a_stream_that_goes_on_behind_a_mark_meets_its_filter(settings: Settings, http: ClientSession) -> None:
    [job], mark = new_jobs(1), SentEvents()
    async with http.get("/v1/events") as response:
        list(mark.feed(await response.content.readany()))
    await emit(settings, transitions(job, 3, "a"))
    async with listening(http, q="index>0 status:PROCESSED", last_event_id=mark.last_id) as stream:
        assert places(await first(stream, 2)) == [(str(job), 3), (str(job), 5)]


WRONG = [
    ({"filter": "[["}, "filter"),
    ({"filter": "7"}, "filter"),
    ({"filter": '[["meta", "equal", 1]]'}, "filter[0][0]"),
    ({"filter": '[["index", "equal", "1"]]'}, "filter[0][2]"),
    ({"filter": '[["status", "equal", "DONE"]]'}, "filter[0][2]"),
    ({"q": "type:a colour:red"}, "q[7]"),
    ({"job": "me"}, "job"),
    ({"event": "task_done"}, "event"),
    ({"from": "beginning"}, "from"),
    ({"from": "yesterday"}, "from"),
    ({"last_event_id": "17"}, "last_event_id"),
    ({"last_event_id": "9:1"}, "last_event_id"),
    ({"type": "shipping"}, "type"),
]


async def test_a_wrong_parameter_is_refused_before_the_stream_begins(http: ClientSession) -> None:
    for query, field in WRONG:
        status, error = await get(http, "/v1/events", params=query)
        assert (status, [one["field"] for one in error["fields"]]) == (422, [field])
    [job] = new_jobs(1)
    assert (await get(http, "/v1/events", params={"job": str(job)}))[0] == 404


async def test_the_headers_of_a_stream_can_be_had_alone(http: ClientSession) -> None:
    async with http.head("/v1/events", timeout=ClientTimeout(30)) as response:
        assert (response.status, response.content_type) == (200, "text/event-stream")


async def test_a_stream_on_which_nothing_happens_shows_that_it_is_alive_and_moves_its_mark(settings: Settings) -> None:
    often = settings.model_copy(update={"stream_heartbeat_seconds": 0.1})
    async with serving(often) as http, http.get("/v1/events?event=task_failed") as response:
        chunks = response.content.iter_any()
        marks = SentEvents()
        list(marks.feed(await anext(chunks)))
        before = marks.last_id
        await emit(settings, transitions(new_jobs(1)[0], 1))
        async with asyncio.timeout(30):
            while marks.last_id == before:
                beat = await anext(chunks)
                assert b"\n:\n" in beat
                assert list(marks.feed(beat)) == []


@pytest.mark.parametrize("tail_bytes", [100_000, 32 * 1024 * 1024])
async def test_a_slow_reader_gets_all_from_the_tail_or_lags_and_goes_on_from_there(
    settings: Settings, tail_bytes: int
) -> None:
    settings = settings.model_copy(update={"stream_queue_bytes": 10_000, "stream_tail_bytes": tail_bytes})
    jobs, tasks = new_jobs(10), 400
    received: list[SentEvent] = []
    lags, last_id = 0, ""
    async with serving(settings) as http:
        while len(received) < 8 * 10 * 2 * tasks:
            events = SentEvents(last_id)
            headers = {"Last-Event-ID": last_id} if last_id else {}
            async with http.get("/v1/events", headers=headers, read_bufsize=1024) as slow:
                if not last_id:
                    # Far more than the buffers of both sides take.
                    for _ in range(8):
                        await emit(settings, [event for job in jobs for event in transitions(job, tasks)])
                async for one in told(slow.content.iter_any(), events):
                    if one.kind == "lagged":
                        lags += 1
                        break
                    received.append(one)
                    if len(received) == 8 * 10 * 2 * tasks:
                        break
            last_id = events.last_id
    assert (lags > 0) == (tail_bytes == 100_000)
    by_job: dict[str, list[int]] = defaultdict(list)
    for job, number in places(received):
        by_job[job].append(number)
    assert by_job == {str(job): list(range(2 * tasks)) * 8 for job in jobs}


async def test_a_mark_of_another_log_is_told_and_the_stream_begins_with_this_one(
    settings: Settings, http: ClientSession
) -> None:
    [job] = new_jobs(1)
    await emit(settings, transitions(job, 2))
    async with listening(http, last_event_id="0:999,1:999,2:999,3:999") as stream:
        gap, *events = await first(stream, 5)
    assert gap.kind == "gap"
    assert places(events) == [(str(job), number) for number in range(4)]


async def test_without_kafka_a_stream_is_refused_in_time(
    settings: Settings, unused_tcp_port_factory: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("web.streams.feed.LIVE_SECONDS", 0.5)
    nobody = f"127.0.0.1:{unused_tcp_port_factory()}"
    # A copy would share what the settings have made of the servers they name.
    elsewhere = Settings(**(settings.model_dump() | {"kafka": nobody}))
    async with serving(elsewhere) as http:
        status, error = await get(http, "/v1/events")
    assert (status, error["type"]) == (503, "unavailable")


async def test_a_process_that_stops_ends_its_streams_at_once(settings: Settings) -> None:
    app = build(settings)
    await app.start()
    async with session_of(settings) as http, listening(http) as stream:
        reading = asyncio.create_task(anext(stream, None))
        await asyncio.sleep(0.2)
        async with asyncio.timeout(30):
            await app.stop()
            assert await reading is None
