"""Who may use the interface: keys as they are presented, and what each of them may do."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import ClientSession

from jabba import Client, Forbidden, Unauthorized
from jabba.auth.api_keys import id_of
from jabba.auth.roles import PERMISSIONS, Role
from jabba.client.sse import SentEvents
from jabba.database import api_keys
from jabba.database.connection import Database
from jabba.projection.projector import Projector
from jabba.settings import Settings
from tests.support.http import answer, get, post, serving, session_of
from tests.support.keys import KEY, bearer, make_key
from tests.support.live import emit, transitions
from tests.support.log import read_slices
from tests.support.processes import eventually
from web.openapi import PATH_EXAMPLES, path_of
from web.operations import operations_of
from web.routes import VIEWS

TASK = ["local", "shop", "ship", [1]]
LONG_AGO = datetime(2026, 11, 2, tzinfo=UTC)


@pytest.fixture
def options() -> dict[str, Any]:
    return {"partitions": 2, "visible_seconds": 0, "key_seconds": 0.1, "stream_heartbeat_seconds": 0.1}


@pytest.fixture
async def http(settings: Settings) -> AsyncIterator[ClientSession]:
    """A session without a key."""
    async with serving(settings), session_of(settings, {}) as session:
        yield session


ROUTES = [(method, path_of(view), one) for view in VIEWS for method, one in operations_of(view).items()]


def open_methods(path: str) -> set[str]:
    return {method for method, other, one in ROUTES if other == path and one.needs is None}


async def test_without_a_key_nothing_is_told_of_any_route(http: ClientSession) -> None:
    told = set()
    for method, path, one in ROUTES:
        if one.needs is None:
            continue
        for name in {method, "HEAD" if method == "GET" else method, "DELETE"} - open_methods(path):
            async with http.request(name, path.format(**PATH_EXAMPLES), params={"colour": "red"}) as response:
                assert response.status == 401, (name, path)
                told.add(await response.read())
    for method, path in (("POST", "/"), ("GET", "/table/"), ("POST", "/health/live"), ("OPTIONS", "/v1/jobs")):
        async with http.request(method, path) as response:
            assert response.status == 401, (method, path)
            told.add(await response.read())
    assert len(told - {b""}) == 1


async def test_health_needs_no_key(http: ClientSession) -> None:
    assert await get(http, "/health/live") == (200, {"status": "live"})
    assert await get(http, "/health/submit") == (200, {"kafka": "ok"})
    assert (await get(http, "/health/ready"))[0] == 200


async def test_a_browser_is_asked_for_the_key_and_may_send_it_as_a_password(http: ClientSession) -> None:
    async with http.get("/docs") as response:
        assert response.headers.getall("WWW-Authenticate") == [
            'Bearer realm="jabba"',
            'Basic realm="jabba", charset="UTF-8"',
        ]
        assert (await answer(response))[1]["type"] == "unauthorized"
    credentials = base64.b64encode(f"anyone:{KEY}".encode()).decode()
    async with http.get("/docs", headers={"Authorization": f"Basic {credentials}"}) as response:
        assert (response.status, response.content_type) == (200, "text/html")


NO_KEYS = [
    "",
    "Bearer",
    f"Bearer jabba_{'0' * 12}_{'2' * 64}",
    f"Bearer jabba_{'9' * 12}_{'1' * 64}",
    f"Bearer {KEY}x",
    f"Bearer {KEY.upper()}",
    f"Token {KEY}",
    "Basic !",
    "Basic " + base64.b64encode(b"\xff:\xff").decode(),
    "Basic " + base64.b64encode(KEY.encode()).decode(),
    "Bearer " + "x" * 10_000,
]


async def test_what_is_no_valid_key_is_refused(http: ClientSession) -> None:
    for authorization in NO_KEYS:
        status, error = await get(http, "/v1/jobs", headers={"Authorization": authorization})
        assert (status, error["type"]) == (401, "unauthorized"), authorization
        assert KEY[18:] not in error["message"]


async def test_a_body_is_not_read_before_the_key_is_known(http: ClientSession) -> None:
    async def endless() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.Event().wait()

    async with asyncio.timeout(10), http.post("/v1/jobs", data=endless()) as response:
        assert response.status == 401


async def test_a_key_ends_and_is_told_so(settings: Settings, http: ClientSession, projection: Database) -> None:
    expired = await make_key(projection, expires_at=LONG_AGO)
    status, error = await get(http, "/v1/jobs", headers=bearer(expired))
    assert (status, error["message"]) == (401, "this key is expired")

    text = await make_key(projection)
    assert (await get(http, "/v1/jobs", headers=bearer(text)))[0] == 200
    assert await api_keys.revoke(projection, id_of(text) or "", datetime.now(UTC)) is not None

    async def told() -> bool:
        status, error = await get(http, "/v1/jobs", headers=bearer(text))
        return (status, error) != (200, []) and error["message"] == "this key is revoked"

    await eventually(told, what="refusal")


async def test_a_live_stream_ends_with_its_key(http: ClientSession, projection: Database) -> None:
    text = await make_key(projection)
    async with http.get("/v1/events", headers=bearer(text)) as response, asyncio.timeout(30):
        assert response.status == 200
        for _ in range(4):
            await response.content.readany()
        await api_keys.revoke(projection, id_of(text) or "", datetime.now(UTC))
        *_, last = SentEvents().feed(await response.content.read())
    assert (last.kind, json.loads(last.data)) == (
        "unauthorized",
        {"event": "unauthorized", "message": "this key is revoked"},
    )
    assert (await get(http, "/v1/events", headers=bearer(text)))[0] == 401


async def test_a_watching_client_is_told_when_its_key_ends(
    settings: Settings, http: ClientSession, projection: Database, projector: Projector
) -> None:
    text = await make_key(projection)
    async with Client(f"http://127.0.0.1:{settings.web_port}", key=text) as client, asyncio.timeout(30):
        submitted = await client.create_job(TASK, "shipping")
        await client.get_job(submitted.id, after=submitted.position)
        watching = aiter(client.watch(submitted))
        waiting = asyncio.ensure_future(anext(watching))
        await asyncio.sleep(3 * settings.key_seconds)
        await api_keys.revoke(projection, id_of(text) or "", datetime.now(UTC))
        with pytest.raises(Unauthorized, match="this key is revoked"):
            await waiting


@pytest.mark.parametrize("over", ["revoked", "expired"])
async def test_a_bulk_request_ends_with_its_key(
    settings: Settings, http: ClientSession, projection: Database, over: str
) -> None:
    end = datetime.now(UTC) + timedelta(seconds=3)
    text = await make_key(projection, expires_at=end if over == "expired" else None)
    job = json.dumps({"tasks": TASK, "type": "shipping"}).encode() + b"\n"

    begun = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield job
        await begun.wait()
        while True:
            yield job
            await asyncio.sleep(0.01)

    async with http.post("/v1/jobs/bulk", data=endless(), headers=bearer(text)) as response, asyncio.timeout(30):
        submitted = [json.loads(await response.content.readline())]
        begun.set()
        submitted += [json.loads(await response.content.readline())]
        if over == "revoked":
            await api_keys.revoke(projection, id_of(text) or "", datetime.now(UTC))
        submitted += [json.loads(line) async for line in response.content]
    last = submitted.pop()
    assert all("data" in one for one in submitted)
    told = {"type": "unauthorized", "message": f"this key is {over}", "fields": []}
    assert last == {"line": len(submitted) + 1, "error": told}
    assert len(await read_slices(settings)) == len(submitted)


async def test_each_role_may_do_what_its_permissions_say_and_is_told_what_is_missing(
    http: ClientSession, projection: Database
) -> None:
    for role, permissions in PERMISSIONS.items():
        headers = bearer(await make_key(projection, role))
        for method, path, one in ROUTES:
            if one.needs is None:
                continue
            query = {"colour": "red", **dict.fromkeys(one.needs_without, "me")}
            async with http.request(method, path.format(**PATH_EXAMPLES), params=query, headers=headers) as response:
                if one.needs in permissions:
                    assert response.status not in (401, 403), (role, path)
                else:
                    status, error = await answer(response)
                    assert (status, error["type"]) == (403, "forbidden"), (role, path)
                    assert f"the permission {one.needs}," in error["message"]


async def test_what_needs_more_without_a_parameter_is_refused_without_it_and_tells_nothing(
    http: ClientSession, projection: Database
) -> None:
    more = [(path, one) for _, path, one in ROUTES if one.needs_without]
    for role, permissions in PERMISSIONS.items():
        headers = bearer(await make_key(projection, role))
        for path, one in more:
            for name, permission in one.needs_without.items():
                for method in ("GET", "HEAD"):
                    async with http.request(method, path, params={"colour": "red"}, headers=headers) as response:
                        assert (response.status == 403) == (permission not in permissions), (role, method, path, name)
    assert [path for path, _ in more] == ["/v1/events"]


async def test_a_submitter_hears_the_jobs_whose_ids_it_has_and_no_others(
    settings: Settings, http: ClientSession, projection: Database, projector: Projector
) -> None:
    text = await make_key(projection, Role.SUBMITTER)
    for query in ({}, {"q": "job.meta.secret:17"}, {"event": "task_failed"}, {"last_event_id": "0:1"}):
        status, error = await get(http, "/v1/events", params=query, headers=bearer(text))
        assert (status, "the permission search" in error["message"]) == (403, True), query
    async with Client(f"http://127.0.0.1:{settings.web_port}", key=text) as client, asyncio.timeout(30):
        submitted = await client.create_job(TASK, "shipping")
        await client.get_job(submitted.id, after=submitted.position)
        with pytest.raises(Forbidden, match="the permission search"):
            await anext(aiter(client.watch(filter="type:shipping")))
        watching = aiter(client.watch(submitted))
        waiting = asyncio.ensure_future(anext(watching))
        await emit(settings, transitions(submitted.id, 1))
        assert (await waiting).job == submitted.id


async def test_the_clients_send_the_key_and_name_what_is_wrong_with_it(
    settings: Settings, http: ClientSession, projection: Database
) -> None:
    url = f"http://127.0.0.1:{settings.web_port}"
    async with Client(url, key=await make_key(projection, Role.SUBMITTER)) as client:
        assert (await client.create_job(TASK, "shipping")).job.type == "shipping"
        with pytest.raises(Forbidden, match="the permission search"):
            await client.search_jobs()
    async with Client(url) as client:
        with pytest.raises(Unauthorized, match="this needs a key"):
            await client.search_jobs()


async def test_an_open_web_asks_nobody(settings: Settings) -> None:
    opened = settings.model_copy(update={"access": "open"})
    async with serving(opened), session_of(opened, {}) as http:
        assert (await post(http, "/v1/jobs", {"tasks": TASK, "type": "shipping"}))[0] == 201


async def test_the_documentation_may_be_open(settings: Settings) -> None:
    opened = settings.model_copy(update={"open_docs": True})
    async with serving(opened), session_of(opened, {}) as http:
        for path, status in (("/docs", 200), ("/openapi.json", 200), ("/v1/jobs", 401)):
            async with http.get(path) as response:
                assert response.status == status
