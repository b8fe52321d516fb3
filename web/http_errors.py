"""What is answered to requests that cannot be read: the HTTP library would tell its name and version, as a text.

They never come as far as the views, nor does one that expects what no server can do.
"""

import logging
from http import HTTPStatus
from typing import Any

from aiohttp.web import AppRunner, BaseRequest, HTTPException, Response, Server, StreamResponse, json_response
from aiohttp.web_protocol import RequestHandler

from jabba.errors import RequestError

logger = logging.getLogger(__name__)

SERVER = {"Server": "jabba"}
"""The default tells which versions to look up known holes of."""


class Runner(AppRunner):
    """Runs an application whose every answer has the one form of errors."""

    async def _make_server(self) -> Server:
        # There is no public way to choose who speaks the protocol.
        made = await super()._make_server()
        return _Server(made.request_handler, request_factory=made.request_factory, **made._kwargs)  # noqa: SLF001


class _Server(Server):
    def __call__(self) -> RequestHandler:
        return _Protocol(self, loop=self._loop, **self._kwargs)


class _Protocol(RequestHandler):
    __slots__ = ()

    def handle_error(
        self,
        request: BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> StreamResponse:
        """Return what is no request; whoever sends such things must not fill the log."""
        if status != HTTPStatus.BAD_REQUEST or request.writer.output_size:
            return super().handle_error(request, status, exc, message)
        logger.debug("malformed HTTP request", extra={"remote": request.remote, "error": message})
        return _refusal(status, f"this is no request: {_first_line(message)}")

    async def finish_response(
        self, request: BaseRequest, resp: StreamResponse, start_time: float | None
    ) -> tuple[StreamResponse, bool]:
        """Send an answer."""
        answer = _refusal(resp.status, resp.reason) if isinstance(resp, HTTPException) else resp
        return await super().finish_response(request, answer, start_time)


def _refusal(status: int, message: str) -> Response:
    refused: dict[str, Any] = {"error": RequestError(message).as_json()}
    response = json_response(refused, status=status, headers=SERVER)
    response.force_close()
    return response


def _first_line(message: str | None) -> str:
    """Return what is wrong; the lines behind it repeat what was sent."""
    return (message or "").partition("\n")[0].rstrip(":")
