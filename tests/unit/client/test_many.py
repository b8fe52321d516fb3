import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from jabba import Client, Delivery, Forbidden, InvalidRequest, SyncClient, Unavailable
from jabba.jobs import ids
from tests.unit.client.test_client import JOB as ACCEPTED

JOB: dict[str, Any] = {"type": "shipping", "tasks": ["local", "shop", "ship", [1]]}
UNAVAILABLE = {"type": "unavailable", "message": "Kafka", "fields": []}
WRONG_ID = {"type": "invalid_request", "message": "id", "fields": [{"field": "id", "message": "too old"}]}
WRONG = {"type": "invalid_request", "message": "type", "fields": [{"field": "type", "message": "short"}]}

Decide = Callable[[int, dict[str, Any]], dict[str, Any] | None]
"""Answers the error of a job, empty when it is accepted, None when the connection breaks before it; requests count."""


class Bulk:
    """A web process that decides about each job, and remembers what it was sent."""

    def __init__(self) -> None:
        self.requests: list[list[dict[str, Any]]] = []
        self.decide: Decide = lambda _, __: {}
        self.status = 200

    async def serve(self, request: web.Request) -> web.StreamResponse:
        jobs = [json.loads(line) for line in (await request.read()).splitlines()]
        self.requests.append(jobs)
        if self.status != 200:
            document = {"error": {"type": "forbidden", "message": "no", "fields": []}}
            return web.json_response(document, status=self.status)
        response = web.StreamResponse()
        await response.prepare(request)
        for line, job in enumerate(jobs, 1):
            error = self.decide(len(self.requests), job)
            if error is None:
                assert request.transport is not None
                request.transport.abort()
                return response
            named = ACCEPTED | {"id": job.get("id", ACCEPTED["id"]), "type": job["type"], "position": "0:1"}
            result = {"line": line, "error": error} if error else {"line": line, "data": named}
            await response.write(json.dumps(result).encode() + b"\n")
        return response


@pytest.fixture
def bulk() -> Bulk:
    return Bulk()


@pytest.fixture
async def url(bulk: Bulk) -> AsyncIterator[str]:
    app = web.Application(client_max_size=10**9)
    app.router.add_post("/v1/jobs/bulk", bulk.serve)
    async with TestServer(app) as server:
        yield str(server.make_url(""))


@pytest.fixture
async def client(url: str) -> AsyncIterator[Client]:
    async with Client(url) as made:
        yield made


def numbered(count: int) -> Iterator[dict[str, Any]]:
    return (JOB | {"type": f"t{number}"} for number in range(count))


async def collected(deliveries: AsyncIterator[Delivery]) -> list[Delivery]:
    return [one async for one in deliveries]


async def test_many_jobs_share_requests_and_are_answered_in_their_order(bulk: Bulk, client: Client) -> None:
    deliveries = await collected(client.create_jobs(numbered(2500)))
    assert [one.number for one in deliveries] == list(range(2500))
    assert [one.result().job.type for one in deliveries] == [f"t{number}" for number in range(2500)]
    assert sorted(map(len, bulk.requests)) == [500, 1000, 1000]
    assert [one.result().position for one in deliveries[:1]] == [{0: 1}]
    assert len({one.id for one in deliveries}) == 2500


async def test_large_jobs_are_sent_in_smaller_pieces(bulk: Bulk, client: Client) -> None:
    await collected(client.create_jobs([JOB | {"meta": {"a": "x" * 1_500_000}}] * 5))
    assert sorted(map(len, bulk.requests)) == [1, 2, 2]


async def test_a_wrong_job_is_an_error_and_the_others_go_on(bulk: Bulk, client: Client) -> None:
    bulk.decide = lambda _, job: WRONG if job["type"] == "" else {}
    given = ids.new_job_id(1_800_000_000)

    async def jobs() -> AsyncIterator[Any]:
        yield JOB
        yield JOB | {"type": "", "id": str(given)}
        yield JOB | {"meta": {"a": float("nan")}}
        yield JOB

    first, wrong, unstorable, last = await collected(client.submit_many(jobs()))
    assert (first.error, last.error) == (None, None)
    assert (wrong.number, wrong.id) == (1, given)
    assert isinstance(wrong.error, InvalidRequest)
    with pytest.raises(InvalidRequest, match="meta"):
        unstorable.result()
    assert [len(jobs) for jobs in bulk.requests] == [3]


async def test_what_was_not_answered_is_sent_again_under_its_id(bulk: Bulk, client: Client) -> None:
    bulk.decide = lambda request, job: None if request == 1 and job["type"] == "t5" else {}
    deliveries = await collected(client.create_jobs(numbered(10)))
    first, second = bulk.requests
    assert second == first[5:]
    assert [str(one.result().id) for one in deliveries] == [job["id"] for job in first]


async def test_what_was_not_acknowledged_is_sent_again_until_there_is_no_patience_left(
    bulk: Bulk, client: Client
) -> None:
    bulk.decide = lambda request, job: UNAVAILABLE if job["type"] in ("t1", f"t{request + 1}") else {}
    deliveries = await collected(client.create_jobs(numbered(4)))
    assert [[job["type"] for job in jobs] for jobs in bulk.requests] == [
        ["t0", "t1", "t2", "t3"],
        ["t1", "t2"],
        ["t1"],
    ]
    assert [type(one.error) for one in deliveries] == [type(None), Unavailable, type(None), type(None)]
    assert str(deliveries[1].id) == bulk.requests[0][1]["id"]


async def test_where_the_clock_is_wrong_the_server_chooses_the_ids_and_nothing_is_repeated(
    bulk: Bulk, client: Client
) -> None:
    given = JOB | {"id": str(ids.new_job_id(1.0))}
    bulk.decide = lambda request, job: WRONG_ID if "id" in job else UNAVAILABLE if job["type"] == "t1" else {}
    deliveries = await collected(client.create_jobs([*numbered(2), given]))
    assert [len(jobs) for jobs in bulk.requests] == [3, 2]
    assert [type(one.error) for one in deliveries] == [type(None), Unavailable, InvalidRequest]
    assert deliveries[1].id is None


async def test_a_server_that_takes_no_jobs_is_an_error_of_the_call(bulk: Bulk, client: Client) -> None:
    bulk.status = 403
    with pytest.raises(Forbidden):
        await collected(client.create_jobs(numbered(3)))
    assert len(bulk.requests) == 1


async def test_without_a_server_every_job_says_so(unused_tcp_port: int) -> None:
    async with Client(f"http://127.0.0.1:{unused_tcp_port}", retries=1) as client:
        deliveries = await collected(client.create_jobs(numbered(3)))
    assert [type(one.error) for one in deliveries] == [Unavailable] * 3
    assert None not in {one.id for one in deliveries}


async def test_code_without_an_event_loop_reads_its_jobs_in_its_own_thread(bulk: Bulk, url: str) -> None:
    threads: set[int] = set()

    def jobs() -> Iterator[dict[str, Any]]:
        for one in numbered(1500):
            threads.add(threading.get_ident())
            yield one

    def work() -> tuple[int, list[int]]:
        with SyncClient(url) as client:
            return threading.get_ident(), [one.number for one in client.create_jobs(jobs()) if one.error is None]

    thread, numbers = await asyncio.to_thread(work)
    assert threads == {thread}
    assert numbers == list(range(1500))
