"""Many jobs in one request, streamed both ways."""

import asyncio
import contextlib
import gzip
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from aiohttp import ClientResponse, ClientSession
from pydantic import SecretStr

from jabba import Client
from jabba.jobs import ids
from jabba.kafka import admin
from jabba.projection.projector import Projector
from jabba.settings import Settings
from tests.support.http import get, serving, session_of
from tests.support.kafka import KafkaServer
from tests.support.keys import KEY
from tests.support.log import read_slices
from tests.support.postgres import PostgresServer
from tests.support.processes import eventually, jabba_process
from web import bulk
from web.service import build

JOB = {"type": "shipping", "tasks": ["local", "shop", "ship", [1]]}
HEAD = (
    b"POST /v1/jobs/bulk HTTP/1.1\r\nHost: me\r\nTransfer-Encoding: chunked\r\n"
    b"Authorization: Bearer %b\r\n\r\n" % KEY.encode()
)


@pytest.fixture
def options() -> dict[str, Any]:
    return {"request_bytes": 200_000}


def lines(jobs: Iterable[Any]) -> bytes:
    return b"".join(one if isinstance(one, bytes) else json.dumps(one).encode() + b"\n" for one in jobs)


async def bulk_of(http: ClientSession, body: Any, **options: Any) -> list[dict[str, Any]]:
    """Post a body; return its results."""
    async with http.post("/v1/jobs/bulk", data=body, **options) as response:
        assert (response.status, response.content_type) == (200, "application/x-ndjson")
        return [one async for one in results(response)]


async def results(response: ClientResponse) -> AsyncIterator[dict[str, Any]]:
    async for line in response.content:
        assert line.endswith(b"\n")
        yield json.loads(line)


def told(result: dict[str, Any]) -> tuple[int, str]:
    """Return the line, and the type of the job or of the error."""
    assert set(result) in ({"line", "data"}, {"line", "error"})
    return result["line"], result["data"]["type"] if "data" in result else result["error"]["type"]


async def test_every_line_is_answered_in_its_order_and_a_wrong_one_is_alone_in_it(
    settings: Settings, http: ClientSession
) -> None:
    jobs = [
        JOB | {"type": "first", "meta": {"☃": 1}},
        b"\n",
        JOB | {"type": ""},
        b"{nonsense\n",
        JOB | {"meta": {"a": "x" * 64 * 1024}},
        JOB | {"name": "x" * 200_000},
        {"type": "large", "tasks": [["local", "shop", "ship", [number]] for number in range(3000)]},
        b'{"type": "last", "tasks": ["local", "shop", "ship"]}',
    ]
    answered = await bulk_of(http, lines(jobs))
    assert [told(one) for one in answered] == [
        (1, "first"),
        (3, "invalid_request"),
        (4, "bad_request"),
        (5, "limit_exceeded"),
        (6, "limit_exceeded"),
        (7, "large"),
        (8, "last"),
    ]
    assert [one["field"] for one in answered[1]["error"]["fields"]] == ["type"]
    assert answered[0]["data"]["meta"] == {"☃": 1}
    found = await read_slices(settings)
    assert {str(part.job): part.type for _, _, part in found} == {
        one["data"]["id"]: one["data"]["type"] for one in answered if "data" in one
    }
    places = {(str(part.job), f"{partition}:{offset}") for partition, offset, part in found}
    assert {(one["data"]["id"], one["data"]["position"]) for one in answered if "data" in one} <= places


async def test_no_job_at_all_is_no_mistake(http: ClientSession) -> None:
    assert await bulk_of(http, b"") == []
    assert await bulk_of(http, b"\n\n") == []


async def test_compressed_lines_are_taken_and_what_is_not_compressed_is_told(http: ClientSession) -> None:
    headers = {"Content-Encoding": "gzip"}
    assert len(await bulk_of(http, gzip.compress(lines([JOB] * 50)), headers=headers)) == 50
    answered = await bulk_of(http, lines([JOB] * 50), headers=headers)
    assert [told(one) for one in answered] == [(1, "bad_request")]


async def test_the_result_comes_while_the_request_is_still_open(http: ClientSession) -> None:
    more = asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        for number in range(3):
            yield lines([JOB | {"type": f"t{number}"}])
            await more.wait()
            more.clear()

    async with http.post("/v1/jobs/bulk", data=slowly()) as response:
        for number in range(3):
            assert told(json.loads(await response.content.readline())) == (number + 1, f"t{number}")
            more.set()
        assert await response.content.read() == b""


async def test_repeats_are_answered_as_for_a_single_submission(settings: Settings, http: ClientSession) -> None:
    jobs = [JOB | {"id": str(ids.new_job_id(time.time()))} for _ in range(20)]
    other = jobs[3] | {"type": "another"}
    answered = await bulk_of(http, lines([*jobs, other]))
    assert [told(one)[1] for one in answered] == ["shipping"] * 20 + ["conflict"]
    projector = Projector(settings)
    await projector.start()
    last = answered[19]["data"]
    assert (await get(http, f"/v1/jobs/{last['id']}", params={"after": last["position"]}))[0] == 200
    sent = len(await read_slices(settings))
    again = await bulk_of(http, lines([other, *jobs]))
    assert [told(one)[1] for one in again] == ["conflict"] + ["shipping"] * 20
    assert [one["data"]["id"] for one in again[1:]] == [job["id"] for job in jobs]
    await projector.stop()
    shown = await bulk_of(http, lines([jobs[19]]))
    assert shown[0]["data"]["position"] == "0:0"
    assert len(await read_slices(settings)) <= sent + 20


async def test_one_request_shares_messages(settings: Settings, http: ClientSession) -> None:
    answered = await bulk_of(http, lines([JOB] * 2000))
    assert [told(one) for one in answered] == [(number, "shipping") for number in range(1, 2001)]
    found = await read_slices(settings)
    assert len(found) == 2000
    assert len({(partition, offset) for partition, offset, _ in found}) < 400


async def test_the_client_submits_any_number_of_jobs(settings: Settings, http: ClientSession) -> None:
    async with Client(f"http://127.0.0.1:{settings.web_port}", key=KEY) as client:
        deliveries = [one async for one in client.create_jobs(JOB | {"type": f"t{n}"} for n in range(2500))]
    assert [one.result().job.type for one in deliveries] == [f"t{n}" for n in range(2500)]
    assert {part.job for _, _, part in await read_slices(settings)} == {one.id for one in deliveries}


async def test_who_takes_no_results_is_not_read_any_further(
    settings: Settings, http: ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "STALL_SECONDS", 0.5)
    sent = 0
    _, writer = await asyncio.open_connection("127.0.0.1", settings.web_port, limit=1024)
    writer.write(HEAD)
    text = lines([JOB | {"meta": {"a": "x" * 60_000}}])
    with contextlib.suppress(ConnectionError):
        while sent < 10_000:
            writer.write(b"%x\r\n%b\r\n" % (len(text), text))
            await writer.drain()
            sent += 1
    assert 10 < sent < 2000
    assert (await get(http, "/health/live"))[0] == 200


async def test_a_caller_that_says_nothing_for_long_is_told_so(
    http: ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "BODY_SECONDS", 2)

    async def silent() -> AsyncIterator[bytes]:
        yield lines([JOB]) + b'{"half'
        await asyncio.sleep(60)

    async with http.post("/v1/jobs/bulk", data=silent()) as response:
        assert [told(one) async for one in results(response)] == [(1, "shipping"), (2, "request_timeout")]


async def test_what_was_acknowledged_stays_when_the_caller_goes_away(settings: Settings, http: ClientSession) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", settings.web_port)
    writer.write(HEAD)
    text = lines([*[JOB] * 10, b'{"half'])
    writer.write(b"%x\r\n%b\r\n" % (len(text), text))
    await writer.drain()

    async def all_are_there() -> bool:
        return len(await read_slices(settings)) == 10

    await eventually(all_are_there, what="jobs in the log")
    writer.transport.abort()
    assert len(await bulk_of(http, lines([JOB]))) == 1
    assert len(await read_slices(settings)) == 11


async def test_a_process_that_stops_answers_what_it_has_read(settings: Settings) -> None:
    async def endless() -> AsyncIterator[bytes]:
        yield lines([JOB])
        await asyncio.sleep(60)

    app = build(settings)
    await app.start()
    async with (
        session_of(settings) as http,
        http.post("/v1/jobs/bulk", data=endless()) as response,
    ):
        assert told(json.loads(await response.content.readline())) == (1, "shipping")
        stopping = asyncio.create_task(app.stop())
        assert [told(one) async for one in results(response)] == [(2, "unavailable")]
        response.close()
        await stopping


async def test_jobs_that_kafka_does_not_acknowledge_are_told_and_may_be_sent_again(
    migrated: str, tmp_path: Path, unused_tcp_port: int
) -> None:
    with KafkaServer(tmp_path) as kafka:
        settings = Settings(
            kafka=kafka.bootstrap,
            database=SecretStr(migrated),
            partitions=2,
            web_port=unused_tcp_port,
            produce_seconds=1.0,
            bulk_jobs=50,
        )
        await admin.create_topics(settings.cluster)
        jobs = [JOB | {"id": str(ids.new_job_id(time.time()))} for _ in range(2000)]
        waited = 0.0
        async with serving(settings) as http:

            async def answered_are(count: int) -> bool:
                return len(answered) == count

            async def with_an_outage() -> AsyncIterator[bytes]:
                nonlocal waited
                yield lines(jobs[:100])
                await eventually(lambda: answered_are(100))
                kafka.kill()
                begin = time.monotonic()
                yield lines(jobs[100:1900])
                await eventually(lambda: answered_are(1900), 60, "answers")
                waited = time.monotonic() - begin
                kafka.start()
                sent = 1900
                while "error" in answered[-1] and sent < 1990:
                    yield lines([jobs[sent]])
                    sent += 1
                    await eventually(partial(answered_are, sent))
                yield lines(jobs[sent:])

            answered: list[dict[str, Any]] = []
            async with http.post("/v1/jobs/bulk", data=with_an_outage()) as response:
                async for one in results(response):
                    answered += [one]
            kinds = [told(one)[1] for one in answered]
            assert kinds[:1900] == ["shipping"] * 100 + ["unavailable"] * 1800
            assert (len(kinds), set(kinds[1990:])) == (2000, {"shipping"}), "it goes on when Kafka is back"
            assert 1 < waited < 18, "one wait for Kafka, not one for each fifty jobs"
            refused = zip(jobs[100:1900], answered[100:1900], strict=True)
            assert all(job["id"] in one["error"]["message"] for job, one in refused)
            left = [job for job, kind in zip(jobs, kinds, strict=True) if kind == "unavailable"]

            async def all_accepted() -> bool:
                return all("data" in one for one in await bulk_of(http, lines(left)))

            await eventually(all_accepted, 60, "an acknowledgement")
            assert {str(part.job) for _, _, part in await read_slices(settings)} == {job["id"] for job in jobs}


async def test_the_memory_of_the_process_does_not_grow_with_the_request(
    kafka: KafkaServer, postgres: PostgresServer, tmp_path: Path, settings: Settings
) -> None:
    """The real process; bench/submit.py sends it a hundred thousand."""
    with jabba_process("web", environment=settings.as_environ(), log=tmp_path / "web.log") as web:
        web.start().wait_for_port(settings.web_port)
        process = psutil.Process(web.pid)
        async with session_of(settings) as http:
            await bulk_of(http, lines([JOB] * 2000))
            before, peak = process.memory_info().rss, 0
            seen: Counter[str] = Counter()

            async def jobs() -> AsyncIterator[bytes]:
                for _ in range(100):
                    yield lines([JOB | {"meta": {"a": "x" * 10_000}}] * 100)

            async with http.post("/v1/jobs/bulk", data=jobs()) as response:
                async for one in results(response):
                    seen[told(one)[1]] += 1
                    if one["line"] % 500 == 0:
                        peak = max(peak, process.memory_info().rss)
    assert seen == {"shipping": 10_000}
    assert 0 < peak - before < 60e6, "of 100 MB"
