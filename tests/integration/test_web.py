import asyncio
import contextlib
import gzip
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
from aiohttp import ClientError, ClientSession

from jabba.database import queries
from jabba.jobs import ids
from jabba.settings import Settings
from tests.support.http import answer, get, post, serving, session_of
from tests.support.log import read_slices
from web.app import WebServer
from web.service import build

TASK = ["local", "shop", "ship", [1]]
JOB = {"tasks": [TASK], "type": "shipping"}
ROUTES = {
    ("POST", "/v1/jobs"),
    ("POST", "/v1/jobs/bulk"),
    ("GET", "/v1/jobs"),
    ("GET", "/v1/jobs/{id}"),
    ("GET", "/v1/jobs/{id}/tasks"),
    ("GET", "/v1/jobs/{id}/progress"),
    ("POST", "/v1/jobs/search"),
    ("POST", "/v1/tasks/search"),
    ("GET", "/v1/tasks"),
    ("GET", "/v1/events"),
    ("GET", "/v1/tasks"),
    ("GET", "/v1/stats"),
    ("GET", "/v1/services"),
    ("GET", "/metrics"),
    ("GET", "/v1/audit"),
    ("GET", "/health/live"),
    ("GET", "/health/submit"),
    ("GET", "/health/ready"),
    ("GET", "/openapi.json"),
    ("GET", "/docs"),
    ("GET", "/v1/tasks/{id}"),
    ("POST", "/v1/session"),
    ("GET", "/v1/session"),
    ("DELETE", "/v1/session"),
    ("GET", "/"),
    ("GET", "/assets/{path}"),
}


def test_only_the_routes_of_the_contract_are_served_and_no_page_of_fausts(settings: Settings) -> None:
    app = build(settings)
    app.web.init_server()
    router = cast("WebServer", app.web).web_app.router
    served = {(route.method, route.resource.canonical) for route in router.routes() if route.resource}
    assert len(served) == len(list(router.routes()))
    assert {one for one in served if one[0] != "HEAD"} == ROUTES
    assert {path for method, path in served if method == "HEAD"} == {path for method, path in ROUTES if method == "GET"}


async def test_a_submission_is_answered_when_the_log_has_it(settings: Settings, http: ClientSession) -> None:
    body: dict[str, Any] = {"tasks": [{"callback": TASK, "name": "ship", "meta": {"n": 1}}], "type": "shipping"}
    body |= {"strategy": "concurrent", "meta": {"request_id": "☃"}, "name": "one"}
    async with http.post("/v1/jobs", json=body) as response:
        location = response.headers["Location"]
        status, data = await answer(response)
    assert status == 201
    assert location == f"/v1/jobs/{data['id']}"
    assert (data["type"], data["name"], data["meta"]) == ("shipping", "one", {"request_id": "☃"})
    assert (data["status"], data["strategy"], data["ended_at"]) == ("PENDING", "CONCURRENTLY", None)
    [(partition, offset, part)] = await read_slices(settings)
    assert data["position"] == f"{partition}:{offset}"
    assert (str(part.job), part.tasks[0].name, part.meta) == (data["id"], "ship", {"request_id": "☃"})


async def test_any_content_type_will_do(http: ClientSession) -> None:
    for content_type in ("application/json", "application/x-www-form-urlencoded", ""):
        assert (await post(http, "/v1/jobs", JOB, headers={"Content-Type": content_type}))[0] == 201


def job_with(**changes: Any) -> bytes:
    return json.dumps(JOB | changes).encode()


WRONG_SUBMISSIONS: list[tuple[bytes, int, str, str | None]] = [
    (b"", 400, "bad_request", None),
    (b'{"tasks": [', 400, "bad_request", None),
    (b'{"tasks": [], "type": "\xff"}', 400, "bad_request", None),
    (b"[" * 100_000, 400, "bad_request", None),
    (b'{"type": 1e999, "tasks": 1}', 422, "invalid_request", "type"),
    (b"null", 422, "invalid_request", ""),
    (b"[]", 422, "invalid_request", ""),
    (b"{}", 422, "invalid_request", "tasks"),
    (job_with(tasks=[]), 422, "invalid_request", "tasks"),
    (job_with(tasks=7), 422, "invalid_request", "tasks"),
    (job_with(tasks=[TASK, 7]), 422, "invalid_request", "tasks[1]"),
    (job_with(tasks=[["local", "shop"]]), 422, "invalid_request", "tasks[0]"),
    (job_with(tasks=[{"callback": {"service": "local"}}]), 422, "invalid_request", "tasks[0].callback.module"),
    (job_with(tasks=[{"callback": TASK, "retries": 3}]), 422, "invalid_request", "tasks[0].retries"),
    (job_with(type=""), 422, "invalid_request", "type"),
    (job_with(type="x" * 256), 422, "invalid_request", "type"),
    (job_with(type=None), 422, "invalid_request", "type"),
    (job_with(name="nul\0"), 422, "invalid_request", "name"),
    (job_with(meta=[]), 422, "invalid_request", "meta"),
    (job_with(meta={"a": ["b\0"]}), 422, "invalid_request", "meta.a[0]"),
    (job_with(tasks=[["local", "m", "f", ["\0"]]]), 422, "invalid_request", "tasks[0].callback.args[0]"),
    (job_with(strategy="both"), 422, "invalid_request", "strategy"),
    (job_with(id="me"), 422, "invalid_request", "id"),
    (job_with(id=str(uuid4())), 422, "invalid_request", "id"),
    (job_with(id=str(ids.new_job_id(1.0))), 422, "invalid_request", "id"),
    (job_with(callback=TASK), 422, "invalid_request", "callback"),
    (job_with(run_at="2030-01-01T00:00:00Z"), 422, "invalid_request", "run_at"),
    (job_with(retry={"max_attempts": 0}), 422, "invalid_request", "retry.max_attempts"),
    (job_with(retry={"retry_on": ["error.:x"]}), 422, "invalid_request", "retry.retry_on[0]"),
    (job_with(deadline=0), 422, "invalid_request", "deadline"),
    (job_with(tasks=[{"callback": TASK, "timeout": -1}]), 422, "invalid_request", "tasks[0].timeout"),
    (job_with(tasks=[["local", "m", "f", ["x" * 1024 * 1024]]]), 413, "limit_exceeded", "tasks[0].callback.args"),
    (job_with(meta={"a": "x" * 64 * 1024}), 413, "limit_exceeded", "meta"),
    (job_with(tasks=[["l", "m", "f"]] * 100_001), 413, "limit_exceeded", "tasks"),
    (job_with(name="x" * 16 * 1024 * 1024), 413, "limit_exceeded", None),
]


async def test_a_wrong_submission_is_refused_by_the_name_of_its_field(settings: Settings, http: ClientSession) -> None:
    for body, status, kind, field in WRONG_SUBMISSIONS:
        answered, error = await post(http, "/v1/jobs", body)
        assert (answered, error["type"]) == (status, kind), (body[:100], error)
        assert error["message"]
        assert field is None or field in [one["field"] for one in error["fields"]], (body[:100], error)
    assert await read_slices(settings) == []


async def test_a_body_without_a_length_is_read_no_further_than_the_limit(http: ClientSession) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 400:
            yield b"x" * 1024 * 1024
            sent += 1

    with contextlib.suppress(ClientError):
        async with http.post("/v1/jobs", data=endless()) as response:
            status, error = await answer(response)
            assert (status, error["type"]) == (413, "limit_exceeded")
    assert (await get(http, "/health/live"))[0] == 200


async def test_a_body_that_is_not_what_its_encoding_says_is_a_400(http: ClientSession) -> None:
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    assert (await post(http, "/v1/jobs", b"no gzip at all", headers=headers))[0] == 400


async def test_a_compressed_body_counts_as_what_it_becomes(http: ClientSession) -> None:
    headers = {"Content-Encoding": "gzip"}
    assert (await post(http, "/v1/jobs", gzip.compress(json.dumps(JOB).encode()), headers=headers))[0] == 201
    bomb = gzip.compress(job_with(name="x" * 64 * 1024 * 1024))
    assert (await post(http, "/v1/jobs", bomb, headers=headers))[0] == 413


WRONG_PATHS = [
    ("POST", "/", 405, "method_not_allowed"),
    ("GET", "/assets/nothing.js", 404, "not_found"),
    ("GET", "/table/", 404, "not_found"),
    ("GET", "/router/", 404, "not_found"),
    ("GET", "/v1", 404, "not_found"),
    ("GET", "/v1/jobs/", 404, "not_found"),
    ("GET", "/v1/jobs/%ff%fe", 404, "not_found"),
    ("GET", "/v1/jobs/not-an-id", 404, "not_found"),
    ("GET", "/v1/jobs/not-an-id/tasks", 404, "not_found"),
    ("DELETE", "/v1/jobs", 405, "method_not_allowed"),
    ("GET", "/v1/tasks/search", 405, "method_not_allowed"),
    ("GET", "/v1/jobs/search", 405, "method_not_allowed"),
    ("POST", "/health/live", 405, "method_not_allowed"),
    ("OPTIONS", "/v1/jobs", 405, "method_not_allowed"),
]


async def test_wrong_paths_and_methods_have_the_form_of_every_error(http: ClientSession) -> None:
    for method, path, status, kind in WRONG_PATHS:
        async with http.request(method, path) as response:
            assert response.headers["Server"] == "jabba"
            assert (response.status, (await answer(response))[1]["type"]) == (status, kind), path


WRONG_PARAMETERS = [
    ("/v1/jobs?status=RUNNING", "status"),
    ("/v1/jobs?colour=red", "colour"),
    ("/v1/jobs?limit=1001", "limit"),
    ("/v1/jobs?cursor=0,0", "cursor"),
    ("/v1/jobs?type=%00", "type"),
    ("/v1/jobs?limit=1&limit=1", "limit"),
    ("/v1/jobs?cursor=0,1&cursor=9", "cursor"),
    ("/v1/jobs/{id}?wait=1&wait=99", "wait"),
    ("/v1/jobs/{id}/tasks?filter=[]&filter=[]", "filter"),
    ("/v1/events?job={id}&job={id}", "job"),
    ("/v1/events?from=now&from=beginning", "from"),
    ("/v1/audit?limit=1&limit=x", "limit"),
    ("/health/live?x=1", "x"),
    ("/v1/jobs/{id}?after=yesterday", "after"),
    ("/v1/jobs/{id}?afer=0:1", "afer"),
    ("/v1/jobs/{id}/tasks?offset=-1", "offset"),
    ("/v1/jobs/{id}/tasks?cursor=1", "cursor"),
]


async def test_a_wrong_parameter_is_refused_by_its_name(http: ClientSession) -> None:
    for path, field in WRONG_PARAMETERS:
        status, error = await get(http, path.format(id=uuid7()))
        assert (status, [one["field"] for one in error["fields"]]) == (422, [field]), (path, error)


WRONG_SEARCHES: list[tuple[Any, str]] = [
    ([], ""),
    ({"filters": []}, "filters"),
    ({"filter": [["status", "equal", "DONE"]]}, "filter[0][2]"),
    ({"filter": [["name", "equal", "x"], ["colour", "equal", "red"]]}, "filter[1][0]"),
    ({"filter": [["meta", None, [["a", "equal", "\0"]]]]}, "filter[0][2][0][2]"),
    ({"order_by": [["up", "name"]]}, "order_by[0][0]"),
    ({"cursor": [0, 1001]}, "cursor[1]"),
]


@pytest.mark.parametrize("what", ["jobs", "tasks"])
async def test_a_wrong_search_is_refused_by_the_path_to_its_mistake(http: ClientSession, what: str) -> None:
    for search, field in WRONG_SEARCHES:
        status, error = await post(http, f"/v1/{what}/search", search)
        assert status == 422, (search, error)
        assert field in [one["field"] for one in error["fields"]], (search, error)


async def test_a_search_may_not_be_large(http: ClientSession) -> None:
    search = {"filter": [["name", "equal", "x" * 256 * 1024]]}
    assert (await post(http, "/v1/jobs/search", search))[0] == 413


async def test_pages_of_other_sites_cannot_submit(settings: Settings, http: ClientSession) -> None:
    status, error = await post(http, "/v1/jobs", JOB, headers={"Sec-Fetch-Site": "cross-site"})
    assert (status, error["type"]) == (403, "forbidden")
    assert await read_slices(settings) == []


async def test_an_old_id_that_nobody_has_is_a_404_at_once_and_a_young_one_after_a_while(
    settings: Settings, http: ClientSession, unused_tcp_port_factory: Callable[[], int]
) -> None:
    old = ids.new_job_id(time.time() - 60)
    begin = time.monotonic()
    assert (await get(http, f"/v1/jobs/{uuid7()}"))[0] == 404
    assert time.monotonic() - begin >= settings.visible_seconds
    patient = settings.model_copy(update={"visible_seconds": 50.0, "web_port": unused_tcp_port_factory()})
    async with serving(patient) as other, asyncio.timeout(30):
        assert (await get(other, f"/v1/jobs/{old}"))[0] == 404


async def test_a_large_submission_lets_others_go_on(settings: Settings, http: ClientSession) -> None:
    tasks = [["local", "shop", "ship", [number]] for number in range(100_000)]
    large = asyncio.create_task(post(http, "/v1/jobs", JOB | {"tasks": tasks, "strategy": "concurrent"}))
    answered = 0
    while not large.done():
        assert (await get(http, "/health/live"))[0] == 200
        answered += 1
    status, data = await large
    assert status == 201
    assert answered > 10
    assert sum(len(part.tasks) for _, _, part in await read_slices(settings)) == 100_000
    assert set(data["position"].replace(",", ":").split(":")[::2]) == {"0", "1", "2", "3"}


async def test_a_defect_is_logged_and_not_told(
    http: ClientSession, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: object) -> None:
        raise ZeroDivisionError("a secret of the inside")

    monkeypatch.setattr(queries, "search_jobs", broken)
    status, error = await get(http, "/v1/jobs")
    assert (status, error["type"]) == (500, "internal_error")
    assert "secret" not in error["message"]
    assert "a secret of the inside" in caplog.text


async def test_a_web_process_that_stops_lets_requests_finish(settings: Settings) -> None:
    app = build(settings)
    await app.start()
    async with session_of(settings) as http:
        assert (await get(http, "/health/live"))[0] == 200
        waiting = asyncio.create_task(get(http, f"/v1/jobs/{uuid7()}"))
        await asyncio.sleep(0.1)
        async with asyncio.timeout(30):
            await app.stop()
        assert (await waiting)[0] == 404


def uuid7() -> UUID:
    return ids.new_job_id(time.time())
