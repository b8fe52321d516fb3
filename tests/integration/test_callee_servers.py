"""A callee behind real servers: aiohttp's own, and uvicorn with Starlette."""

import asyncio
import contextlib
import io
import json
import socket
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import uvicorn
from aiohttp import ClientSession, ClientTimeout, web
from starlette.applications import Starlette
from starlette.routing import Mount

from jabba.callee import Callee, Context
from tests.support.calls import SECRET, call_body, signed

Serving = Callable[[Callee], Any]


@contextlib.asynccontextmanager
async def by_aiohttp(callee: Callee) -> AsyncIterator[str]:
    app = web.Application()
    app.add_subapp("/jabba", callee.aiohttp_app())
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/jabba"
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def by_uvicorn(callee: Callee) -> AsyncIterator[str]:
    app = Starlette(routes=[Mount("/jabba", app=callee.asgi_app())])
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        serving = asyncio.create_task(server.serve([listening]))
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/jabba/"
        finally:
            server.should_exit = True
            await serving


SERVERS: dict[str, Serving] = {"aiohttp": by_aiohttp, "uvicorn": by_uvicorn}


@pytest.fixture
def callee() -> Callee:
    return Callee("billing", [SECRET])


@pytest.fixture(params=list(SERVERS))
async def url(request: pytest.FixtureRequest, callee: Callee) -> AsyncIterator[str]:
    async with SERVERS[request.param](callee) as served:
        yield served


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    async with ClientSession(timeout=ClientTimeout(60)) as opened:
        yield opened


def call(function: str, *args: Any, **other: Any) -> dict[str, Any]:
    return signed(call_body(function, *args), now=time.time(), **other)


async def test_a_call_is_answered_with_the_mark(callee: Callee, url: str, session: ClientSession) -> None:
    @callee.callback("shop.double")
    async def double(number: int) -> dict[str, int]:
        return {"doubled": 2 * number}

    async with session.post(url, **call("shop.double", 4)) as answer:
        assert (answer.status, answer.headers["jabba-answer"]) == (200, "1")
        assert await answer.json() == {"ok": {"doubled": 8}}


async def test_refusals_reach_the_caller(url: str, session: ClientSession) -> None:
    async with session.get(url) as answer:
        assert (answer.status, answer.headers["jabba-answer"]) == (405, "1")
    async with session.post(url, data=b"{}", headers={"webhook-signature": "\xff,,"}) as answer:
        assert (answer.status, answer.headers["jabba-answer"]) == (401, "1")
    async with session.post(url, data=io.BytesIO(b" " * (3 << 20))) as answer:
        assert (answer.status, answer.headers["jabba-answer"]) == (413, "1")


async def test_progress_comes_while_the_callback_runs(callee: Callee, url: str, session: ClientSession) -> None:
    read = asyncio.Event()

    @callee.callback("shop.import")
    async def stream(context: Context) -> dict[str, int]:
        await context.progress({"done": 1})
        await read.wait()
        return {"done": 2}

    async with session.post(url, **call("shop.import")) as answer:
        assert json.loads(await answer.content.readline()) == {"progress": {"done": 1}}
        read.set()
        assert json.loads(await answer.content.read()) == {"ok": {"done": 2}}


async def test_a_closed_connection_is_a_cancellation_and_the_answer_is_kept(
    callee: Callee, url: str, session: ClientSession
) -> None:
    begun, left = asyncio.Event(), asyncio.Event()

    @callee.callback("shop.slow")
    async def slow(context: Context) -> dict[str, bool]:
        begun.set()
        await context.cancelled.wait()
        left.set()
        return {"cancelled": True}

    request = asyncio.create_task(session.post(url, **call("shop.slow", id="a-0")).__aenter__())
    await begun.wait()
    request.cancel()
    async with asyncio.timeout(30):
        await left.wait()

    async with session.post(url, **call("shop.slow", id="a-0")) as answer:
        assert await answer.json() == {"ok": {"cancelled": True}}
