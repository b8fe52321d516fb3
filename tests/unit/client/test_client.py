import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote
from uuid import UUID

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

import jabba
from jabba.client import Client, SyncClient, error_of
from jabba.errors import (
    FieldError,
    InvalidRequest,
    JabbaError,
    NotFound,
    NotReady,
    RequestError,
    TooExpensive,
    Unavailable,
)
from jabba.jobs import ids
from jabba.jobs.lifecycle import JobStatus, Strategy, TaskStatus
from jabba.jobs.models import Job
from jabba.jobs.pages import Count
from web import responses

ID = str(ids.new_job_id(1_800_000_000))
MOMENT = datetime(2027, 1, 15, tzinfo=UTC).isoformat()
JOB: dict[str, Any] = {
    "id": ID,
    "name": None,
    "type": "shipping",
    "status": "PENDING",
    "strategy": "SEQUENTIALLY",
    "meta": {},
    "callback": None,
    "run_at": None,
    "ended_at": None,
    "inserted_at": MOMENT,
    "updated_at": MOMENT,
}
TASK = {
    "id": ID,
    "job_id": ID,
    "name": "one",
    "callback": {"service": "local", "module": "shop", "function": "ship", "args": [1]},
    "priority": 1,
    "status": "PROCESSED",
    "result": {"parcel": 7},
    "meta": {},
    "attempt": 1,
    "ended_at": MOMENT,
    "inserted_at": MOMENT,
    "updated_at": MOMENT,
}
UNAVAILABLE = (503, {"error": {"type": "unavailable", "message": "PostgreSQL", "fields": []}})
Serve = Callable[..., Awaitable[Client]]


class Asked:
    """A web process of canned answers: each request takes the next one, and the last stays."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, Any]] = []
        self.requests: list[tuple[str, str, Any]] = []
        self.at_once = self.most_at_once = 0

    async def serve(self, request: web.Request) -> web.Response:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        body = await request.text()
        self.requests.append((request.method, str(request.rel_url), json.loads(body) if body else None))
        status, document = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        text = document if isinstance(document, str) else json.dumps(document)
        await asyncio.sleep(0.001)
        self.at_once -= 1
        kind = "text/event-stream" if text.startswith("event:") else "application/json"
        return web.Response(status=status, text=text, content_type=kind)


@pytest.fixture
def asked() -> Asked:
    return Asked()


@pytest.fixture
async def url(asked: Asked) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", asked.serve)
    async with TestServer(app) as server:
        yield str(server.make_url(""))


@pytest.fixture
async def client(url: str) -> AsyncIterator[Client]:
    async with Client(url) as made:
        yield made


async def test_a_submission_becomes_a_post_and_its_answer_a_job_with_its_position(asked: Asked, client: Client) -> None:
    asked.answers = [(201, {"data": JOB | {"position": "0:3,7:1"}})]
    submitted = await client.create_job(["local", "shop", "ship", [1]], "shipping", meta={"a": 1}, id=ID)
    assert (str(submitted.id), submitted.position, submitted.job.status) == (ID, {0: 3, 7: 1}, "PENDING")
    callback = {"service": "local", "module": "shop", "function": "ship", "args": [1]}
    document = {"tasks": [{"callback": callback}], "type": "shipping", "strategy": "sequential"}
    assert asked.requests == [("POST", "/v1/jobs", document | {"meta": {"a": 1}, "id": ID})]


async def test_reads_ask_for_what_their_arguments_say(asked: Asked, client: Client) -> None:
    asked.answers = [(200, {"data": JOB}), (200, {"data": [TASK]}), (200, {"data": [JOB]}), (200, {"data": [TASK]})]
    job = await client.get_job(ID, after={1: 2, 0: 9})
    [task] = await client.get_tasks(job.id, cursor=(50, 10))
    [found] = await client.search_jobs([["status", "equal", "PENDING"]], [["desc", "inserted_at"]], (0, 10))
    await client.search_tasks([["job_id", "equal", ID]])
    assert found == job
    assert (type(job.status), type(job.strategy), type(task.status)) == (JobStatus, Strategy, TaskStatus)
    assert task.result == {"parcel": 7}
    paths = [(method, path) for method, path, _ in asked.requests]
    assert paths[0] == ("GET", f"/v1/jobs/{ID}?after=0:9,1:2")
    assert paths[1] == ("GET", f"/v1/jobs/{ID}/tasks?cursor=50,10")
    assert asked.requests[2][2] == {
        "filter": [["status", "equal", "PENDING"]],
        "order_by": [["desc", "inserted_at"]],
        "cursor": [0, 10],
    }
    assert paths[3] == ("POST", "/v1/tasks/search")


async def test_a_page_is_a_list_that_knows_what_follows(asked: Asked, client: Client) -> None:
    count = {"value": 10_001, "exact": False}
    asked.answers = [(200, {"data": [JOB], "next": "TOKEN", "count": count}), (200, {"data": [TASK], "next": None})]
    page = await client.search_jobs("status:PENDING", cursor=(0, 1), count=True)
    assert (len(page), page[0].type, page == [Job.model_validate(JOB)]) == (1, "shipping", True)
    assert (page.next, page.total) == ("TOKEN", Count(value=10_001, exact=False))
    tasks = await client.get_tasks(ID, cursor=("TOKEN", 10))
    await client.get_tasks(ID, "name~a&b", count=True)
    await client.get_tasks(ID, [("status", "equal", "FAILED")])
    assert (len(tasks), tasks.next, tasks.total) == (1, None, None)
    await client.search_tasks(("status", "equal", "FAILED"), [["asc", "name"]], page.next or "")
    assert [document for _, _, document in asked.requests if document] == [
        {"query": "status:PENDING", "cursor": [0, 1], "count": True},
        {"filter": [["status", "equal", "FAILED"]], "order_by": [["asc", "name"]], "cursor": "TOKEN"},
    ]
    assert [unquote(path) for _, path, _ in asked.requests[1:4]] == [
        f"/v1/jobs/{ID}/tasks?cursor=TOKEN,10",
        f"/v1/jobs/{ID}/tasks?cursor=0,50&q=name~a&b&count=true",
        f'/v1/jobs/{ID}/tasks?cursor=0,50&filter=[["status","equal","FAILED"]]',
    ]


async def test_all_pages_are_asked_for_one_after_the_other(asked: Asked, client: Client) -> None:
    pages = [{"data": [JOB] * 2, "next": "B"}, {"data": [JOB], "next": "C"}, {"data": [], "next": None}]
    asked.answers = [(200, answer) for answer in pages]
    found = [job.type async for job in client.iter_jobs("type:shipping", [["asc", "id"]], page_size=2)]
    assert found == ["shipping"] * 3
    assert [document["cursor"] for _, _, document in asked.requests] == [[0, 2], "B", "C"]
    assert {str(document["order_by"]) for _, _, document in asked.requests} == {"[['asc', 'id']]"}


async def test_no_page_is_asked_for_that_nobody_wants(asked: Asked, client: Client) -> None:
    asked.answers = [(200, {"data": [TASK] * 2, "next": "B"})]
    async for task in client.iter_tasks():
        assert task.name == "one"
        break
    assert len(asked.requests) == 1


async def test_an_id_cannot_lead_to_another_path(asked: Asked, client: Client) -> None:
    asked.answers = [(404, {"error": {"type": "not_found", "message": "no", "fields": []}})]
    with pytest.raises(NotFound):
        await client.get_job("../../health/live?x=1")
    assert asked.requests[0][1] == "/v1/jobs/..%2F..%2Fhealth%2Flive%3Fx=1"


async def test_waiting_lasts_until_every_task_has_ended(asked: Asked, client: Client) -> None:
    failed = JOB | {"status": "FAILED"}
    asked.answers = [(200, {"data": JOB}), UNAVAILABLE, (200, {"data": failed})]
    asked.answers.append((200, {"data": failed | {"ended_at": MOMENT}}))
    job = await client.wait(ID)
    assert (job.status, job.ended_at) == ("FAILED", datetime(2027, 1, 15, tzinfo=UTC))
    assert [path for _, path, _ in asked.requests] == [f"/v1/jobs/{ID}?wait=30"] * 4


async def test_a_submission_that_was_not_answered_is_repeated_under_its_id(asked: Asked, url: str) -> None:
    asked.answers = [UNAVAILABLE, UNAVAILABLE, (201, {"data": JOB | {"position": "0:3"}})]
    async with Client(url) as client:
        await client.create_job(["local", "shop", "ship"], "shipping")
        first, second, third = asked.requests
        assert first == second == third
        assert ids.job_seconds(UUID(first[2]["id"])) == pytest.approx(time.time(), abs=60)
        asked.answers = [UNAVAILABLE]
        with pytest.raises(Unavailable):
            await client.get_job(ID)
        assert len(asked.requests) == 6


async def test_repeats_end_with_the_time_of_the_call(asked: Asked, url: str) -> None:
    asked.answers = [UNAVAILABLE]
    async with Client(url, timeout=0.3, retries=100) as client:
        with pytest.raises(Unavailable):
            await client.get_job(ID)
    assert 1 < len(asked.requests) < 5


async def test_where_the_clock_is_wrong_the_server_chooses_the_id_and_nothing_is_repeated(
    asked: Asked, client: Client
) -> None:
    fields = [{"field": "id", "message": "its time is more than 300 s away from now"}]
    refused = (422, {"error": {"type": "invalid_request", "message": "id", "fields": fields}})
    asked.answers = [refused, (201, {"data": JOB | {"position": "0:3"}})]
    await client.create_job(["local", "shop", "ship"], "shipping")
    assert ["id" in document for _, _, document in asked.requests] == [True, False]
    asked.answers = [refused, UNAVAILABLE]
    with pytest.raises(Unavailable):
        await client.create_job(["local", "shop", "ship"], "shipping")
    assert len(asked.requests) == 4
    asked.answers = [refused]
    with pytest.raises(InvalidRequest):
        await client.create_job(["local", "shop", "ship"], "shipping", id=ID)
    assert len(asked.requests) == 5


async def test_waiting_ends_with_the_time_given(asked: Asked, client: Client) -> None:
    asked.answers = [(200, {"data": JOB})]
    with pytest.raises(TimeoutError):
        await client.wait(ID, timeout=0.2)


async def test_waiting_for_nothing_is_an_error_at_once(asked: Asked, client: Client) -> None:
    asked.answers = [(404, {"error": {"type": "not_found", "message": "no job", "fields": []}})]
    with pytest.raises(NotFound, match="no job"):
        await client.wait(ID)


async def test_a_server_that_is_not_there_is_unavailable(unused_tcp_port: int) -> None:
    async with Client(f"http://127.0.0.1:{unused_tcp_port}") as client:
        with pytest.raises(Unavailable, match="does not answer"):
            await client.get_job(ID)


async def test_arguments_without_a_json_form_are_refused_before_anything_is_sent(asked: Asked, client: Client) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        await client.create_job(["local", "shop", "ship", [float("inf")]], "shipping")
    assert [one.field for one in refusal.value.fields] == ["tasks[0].callback.args[0]"]
    assert asked.requests == []


async def test_code_without_an_event_loop_asks_the_same(asked: Asked, url: str) -> None:
    asked.answers = [(200, {"data": JOB | {"ended_at": MOMENT}})]

    def work() -> str:
        with SyncClient(url) as client:
            return f"{client.get_job(ID).status} {client.wait(ID, timeout=5).id}"

    assert await asyncio.to_thread(work) == f"PENDING {ID}"


async def test_pages_without_an_event_loop(asked: Asked, url: str) -> None:
    asked.answers = [(200, {"data": [JOB], "next": "B"}), (200, {"data": [JOB], "next": "B"})]
    asked.answers.append((200, {"data": [JOB], "next": None}))

    def work() -> tuple[str | None, int]:
        with SyncClient(url) as client:
            return client.search_jobs("type:shipping").next, len(list(client.iter_jobs("type:shipping")))

    assert await asyncio.to_thread(work) == ("B", 2)


def every_class(root: type[RequestError] = RequestError) -> list[type[RequestError]]:
    mine = [root] if "type" in vars(root) else []
    return [*mine, *(one for cls in root.__subclasses__() for one in every_class(cls))]


def refusals_of_the_http_library() -> list[web.HTTPException]:
    made = [web.HTTPMethodNotAllowed("PUT", ["GET"]), web.HTTPRequestEntityTooLarge(max_size=1, actual_size=2)]
    others = (one for one in vars(web).values() if isinstance(one, type) and issubclass(one, web.HTTPClientError))
    simple = [one() for one in others if one.status_code not in (-1, 405, 413, 451)]
    assert len(simple) > 20
    return [*made, *simple]


@pytest.mark.parametrize(
    "told, cls",
    [
        *((cls("it is so", [FieldError("meta", "why")]), cls) for cls in every_class()),
        (NotReady("no topics"), Unavailable),
    ],
    ids=repr,
)
def test_whatever_the_server_refuses_is_raised_as_its_class(told: JabbaError, cls: type[RequestError]) -> None:
    answer = responses.of_error(told)
    error = error_of(answer.status, answer.body)
    assert type(error) is cls
    assert error.message == str(told)
    assert error.fields == getattr(told, "fields", [])
    assert error.status == answer.status


@pytest.mark.parametrize("told", refusals_of_the_http_library(), ids=repr)
def test_whatever_the_http_library_refuses_is_raised_as_a_class_of_its_type(told: web.HTTPException) -> None:
    answer = responses.of_error(told)
    error = error_of(answer.status, answer.body)
    assert json.loads(answer.body)["error"]["type"] == error.type
    assert answer.status == told.status
    assert error.status == told.status or type(error) is RequestError


def test_errors_are_a_tree_and_each_type_has_one_class() -> None:
    classes = every_class()
    assert len({cls.type for cls in classes}) == len(classes)
    assert len({cls.status for cls in classes if cls is not TooExpensive}) == len(classes) - 1
    assert all(getattr(jabba, cls.__name__) is cls for cls in classes)


def test_an_error_of_a_later_version_is_one_of_requests() -> None:
    described = {"type": "from_a_later_version", "message": "it is so", "fields": []}
    assert type(error_of(400, json.dumps({"error": described}).encode())) is RequestError


async def test_an_answer_that_is_no_json_is_an_error_too(asked: Asked, client: Client) -> None:
    asked.answers = [(200, "<html>a hotel's network</html>")]
    with pytest.raises(RequestError, match="hotel"):
        await client.get_job(ID)


async def test_calls_share_the_connections_they_may_have(url: str, asked: Asked) -> None:
    asked.answers = [(200, {"data": JOB})]
    async with Client(url, connections=3) as client:
        await asyncio.gather(*(client.get_job(ID) for _ in range(30)))
    assert len(asked.requests) == 30
    assert asked.most_at_once == 3


async def test_a_watch_ends_with_its_time(asked: Asked, client: Client) -> None:
    asked.answers = [UNAVAILABLE]
    with pytest.raises(TimeoutError):
        await anext(client.watch(ID, timeout=0.2))


@pytest.mark.parametrize("body", [b"<html>", b"", b"[]", b'{"error": 7}', b'"x"'])
def test_what_a_proxy_answers_goes_by_its_status(body: bytes) -> None:
    assert type(error_of(502, body)) is Unavailable
    assert type(error_of(418, body)) is RequestError


async def test_a_watch_says_when_the_log_has_forgotten_what_it_would_tell(
    client: Client, asked: Asked, caplog: pytest.LogCaptureFixture
) -> None:
    told = {"event": "task_failed", "job": ID, "index": 0, "run": 0, "epoch": 1, "seq": 1, "result": {}}
    gap = {"event": "gap", "message": "events are gone"}
    asked.answers = [(200, "".join(f"event: {one['event']}\ndata: {json.dumps(one)}\n\n" for one in (gap, told)))]
    async with aclosing(client.watch()) as events:
        assert (await anext(events)).event == "task_failed"
    assert [one.message for one in caplog.records] == ["events are missing: events are gone"]
