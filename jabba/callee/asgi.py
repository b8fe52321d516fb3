"""A callee as an ASGI application."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from jabba.callee.callee import Callee
from jabba.callee.wire import Request, Response, WireError, refusal

Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


class _Gone(Exception):
    """The connection closed before the request was complete."""


class AsgiApp:
    """Answers every path below where it is mounted."""

    def __init__(self, callee: Callee) -> None:
        self._callee = callee

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one scope of ASGI 3."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            with contextlib.suppress(_Gone):
                await self._serve(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            kind = (await receive())["type"].rpartition(".")[2]
            if kind == "shutdown":
                await self._callee.drain()
            await send({"type": f"lifespan.{kind}.complete"})
            if kind == "shutdown":
                return

    async def _serve(self, scope: Message, receive: Receive, send: Send) -> None:
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
        body = await self._body(receive)
        try:
            request = Request.of(scope["method"], headers, body)
        except WireError as error:
            await _send(refusal(error), send)
            return
        watching = asyncio.create_task(self._watch(receive, request))
        try:
            await _send(await self._callee.answer(request), send)
        finally:
            watching.cancel()

    async def _body(self, receive: Receive) -> bytes:
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _Gone
            body += message.get("body", b"")
            if not message.get("more_body") or len(body) > self._callee.most_request_bytes:
                return bytes(body)  # the callee refuses one that is too large

    async def _watch(self, receive: Receive, request: Request) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._callee.leave(request)


async def _send(response: Response, send: Send) -> None:
    headers = [(name.encode(), value.encode()) for name, value in response.all_headers.items()]
    if response.lines is None:
        headers.append((b"content-length", str(len(response.body)).encode()))
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    # A server whose connection has closed may raise OSError.
    with contextlib.suppress(OSError):
        if response.lines is not None:
            async for line in response.lines:
                await send({"type": "http.response.body", "body": line, "more_body": True})
        body = b"" if response.lines is not None else response.body
        await send({"type": "http.response.body", "body": body, "more_body": False})
