"""Browser sessions over HTTP: a cookie for a key, and what a page of another site cannot do with it."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import ClientSession, CookieJar

from jabba.auth.api_keys import id_of
from jabba.auth.roles import Role
from jabba.auth.sessions import secret_of, sign_in_code
from jabba.clock import SystemClock
from jabba.database import api_keys
from jabba.database.connection import Database
from jabba.settings import Settings
from tests.support.http import get, post, serving
from tests.support.keys import make_key
from tests.support.processes import eventually

SECRET = "shared by all web processes"  # noqa: S105 — of the tests


@pytest.fixture
def options() -> dict[str, Any]:
    return {"partitions": 2, "visible_seconds": 0, "key_seconds": 0.05, "secret": SECRET}


@pytest.fixture
async def browser(settings: Settings) -> AsyncIterator[ClientSession]:
    """A session that keeps cookies, as a browser does, and sends no key."""
    jar = CookieJar(unsafe=True)
    async with serving(settings), ClientSession(f"http://127.0.0.1:{settings.web_port}", cookie_jar=jar) as session:
        yield session


async def test_a_key_is_exchanged_for_a_cookie_that_scripts_cannot_read(
    browser: ClientSession, projection: Database
) -> None:
    key = await make_key(projection, Role.READER, "order")
    async with browser.post("/v1/session", json={"key": key}) as response:
        assert response.status == 200
        cookie = response.cookies["jabba_session"]
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Strict", "/")
    assert key[20:] not in cookie.value
    status, who = await get(browser, "/v1/session")
    assert (status, who["role"], who["types"], who["key"]) == (200, "reader", ["order"], id_of(key))
    assert (await get(browser, "/v1/jobs"))[0] == 200

    async with browser.delete("/v1/session") as response:
        assert response.status == 200
    assert (await get(browser, "/v1/session"))[0] == 401


async def test_a_write_by_cookie_must_come_from_a_page_of_this_origin(
    browser: ClientSession, projection: Database
) -> None:
    key = await make_key(projection, Role.ADMIN)
    await post(browser, "/v1/session", {"key": key})
    job = {"type": "order", "tasks": ["local", "shop", "ship", [1]]}

    assert (await post(browser, "/v1/jobs", job))[0] == 403
    assert (await post(browser, "/v1/jobs", job, headers={"Origin": "https://elsewhere.example"}))[0] == 403
    assert (await post(browser, "/v1/jobs", job, headers={"Sec-Fetch-Site": "cross-site"}))[0] == 403
    own = {"Origin": str(browser._base_url).rstrip("/")}
    assert (await post(browser, "/v1/jobs", job, headers=own))[0] == 201


async def test_a_session_ends_with_its_key(browser: ClientSession, projection: Database) -> None:
    key = await make_key(projection, Role.ADMIN)
    await post(browser, "/v1/session", {"key": key})
    await api_keys.revoke(projection, id_of(key) or "", datetime.now(UTC))

    async def is_over() -> bool:
        return (await get(browser, "/v1/session"))[0] == 401

    await eventually(is_over, what="the end of the session")


async def test_a_sign_in_link_works_once(browser: ClientSession, projection: Database) -> None:
    key = await make_key(projection, Role.OPERATOR)
    code = sign_in_code(secret_of(SECRET), id_of(key) or "", SystemClock().now())

    assert (await post(browser, "/v1/session", {"code": code}))[0] == 200
    assert (await post(browser, "/v1/session", {"code": code}))[0] == 401
    assert (await get(browser, "/v1/session"))[1]["role"] == "operator"


@pytest.mark.parametrize("body", [{}, {"key": 7}, {"colour": "red"}, [], {"key": None}])
async def test_a_wrong_sign_in_names_its_field(browser: ClientSession, body: Any) -> None:
    assert (await post(browser, "/v1/session", body))[0] == 422


async def test_a_script_is_not_answered_with_a_password_prompt(browser: ClientSession) -> None:
    async with browser.get("/v1/jobs", headers={"Sec-Fetch-Mode": "cors"}) as response:
        assert (response.status, "WWW-Authenticate" in response.headers) == (401, False)


async def test_the_page_needs_no_key_and_is_revalidated(browser: ClientSession) -> None:
    async with browser.get("/") as response:
        assert (response.status, response.content_type) == (200, "text/html")
        tag = response.headers["ETag"]
    async with browser.get("/", headers={"If-None-Match": tag}) as response:
        assert response.status == 304
    async with browser.get("/assets/nothing.js") as response:
        assert response.status == 404
    async with browser.get("/assets/..%2f..%2fviews.py") as response:
        assert response.status == 404
