"""Talking to a web process whose application runs in the test's own event loop."""

import io
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import ClientResponse, ClientSession

from jabba.settings import Settings
from tests.support.keys import AUTHORIZATION
from web.service import build


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[ClientSession]:
    """Run a web process's application; return a session that talks to it, with the key of the tests."""
    app = build(settings)
    await app.start()
    try:
        async with session_of(settings) as session:
            yield session
    finally:
        await app.stop()


def session_of(settings: Settings, headers: Mapping[str, str] = AUTHORIZATION) -> ClientSession:
    """Make a session that talks to the web process of these settings."""
    return ClientSession(f"http://127.0.0.1:{settings.web_port}", headers=headers)


async def answer(response: ClientResponse) -> tuple[int, Any]:
    """Return the status and what stands under data or error; the form of the body is checked."""
    assert response.content_type == "application/json"
    document = json.loads(await response.read())
    if response.status < 400:
        assert list(document) in (["data"], ["data", "next"], ["data", "next", "count"])
        return response.status, document["data"]
    assert list(document) == ["error"]
    assert list(document["error"]) == ["type", "message", "fields"]
    assert all(list(one) == ["field", "message"] for one in document["error"]["fields"])
    return response.status, document["error"]


async def post(http: ClientSession, path: str, body: Any, **options: Any) -> tuple[int, Any]:
    """Post bytes as they are, anything else as JSON."""
    data = io.BytesIO(body if isinstance(body, bytes) else json.dumps(body).encode())
    async with http.post(path, data=data, **options) as response:
        return await answer(response)


async def get(http: ClientSession, path: str, **options: Any) -> tuple[int, Any]:
    async with http.get(path, **options) as response:
        return await answer(response)
