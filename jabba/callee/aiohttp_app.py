"""A callee as an application of aiohttp."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from aiohttp import web

from jabba.callee.callee import Callee
from jabba.callee.wire import Request, Response, WireError, refusal

_LOOK_SECONDS = 0.25
"""How often a connection is looked at while a callback runs: aiohttp does not say when it closes."""


def application(callee: Callee) -> web.Application:
    """Return an application that answers every path below where it is mounted."""
    app = web.Application()
    handler = _handler(callee)
    # The first one is the mount point itself, without a slash.
    app.router.add_route("*", "", handler)
    app.router.add_route("*", "/{path:.*}", handler)
    app.on_shutdown.append(lambda _: callee.drain())
    return app


def _handler(callee: Callee) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            received = Request.of(request.method, request.headers.items(), await _body(callee, request))
        except WireError as error:
            return _whole(refusal(error))
        watching = asyncio.create_task(_watch(callee, request, received))
        try:
            response = await callee.answer(received)
            return _whole(response) if response.lines is None else await _stream(request, response)
        finally:
            watching.cancel()

    return handle


async def _body(callee: Callee, request: web.Request) -> bytes:
    body = bytearray()
    async for chunk in request.content.iter_any():
        body += chunk
        if len(body) > callee.most_request_bytes:
            break  # the callee refuses it
    return bytes(body)


async def _watch(callee: Callee, request: web.Request, received: Request) -> None:
    while request.transport is not None and not request.transport.is_closing():  # noqa: ASYNC110 — nothing says so
        await asyncio.sleep(_LOOK_SECONDS)
    callee.leave(received)


def _whole(response: Response) -> web.Response:
    return web.Response(status=response.status, body=response.body, headers=response.all_headers)


async def _stream(request: web.Request, response: Response) -> web.StreamResponse:
    stream = web.StreamResponse(status=response.status, headers=response.all_headers)
    with contextlib.suppress(ConnectionError):
        await stream.prepare(request)
        async for line in response.lines or ():  # type: ignore[union-attr]
            await stream.write(line)
        await stream.write_eof()
    return stream
