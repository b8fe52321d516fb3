"""Requests to a web process: connections, repeats, and errors as the server describes them."""

import asyncio
import io
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from jabba.errors import FieldError, Forbidden, InternalError, RequestError, Unauthorized, Unavailable, request_errors

_FIRST_PAUSE_SECONDS = 0.1
_PAUSE_GROWTH = 3.0
_CONNECT_SECONDS = 10.0


class Connection:
    """Connections to one web process, made when they are needed.

    ``key`` is the API key, sent with every request and told nowhere. ``timeout`` is what one call may take in seconds,
    with its repeats; ``retries`` how often one is repeated that the server was not able to answer; ``connections`` how
    many there may be at a time, beside those of streams.
    """

    def __init__(self, url: str, key: str | None, timeout: float, retries: int, connections: int) -> None:
        self.timeout = timeout
        self._url = url.rstrip("/")
        self.retries = retries
        self._headers = {} if key is None else {"Authorization": f"Bearer {_printable(key)}"}
        self._connections = connections
        # Streams hold theirs for as long as they last: they must not let the requests starve.
        self._sessions: dict[bool, aiohttp.ClientSession] = {}

    async def close(self) -> None:
        """Close the connections."""
        sessions, self._sessions = self._sessions, {}
        for session in sessions.values():
            await session.close()

    async def get(self, path: str, query: Mapping[str, str]) -> Any:
        """Ask for what stands at a path."""
        return await self._request("GET", path, params=query)

    async def post(self, path: str, body: bytes, *, retries: int | None = None) -> Any:
        """Send JSON that may be sent again without harm."""
        return await self._request("POST", path, body, retries)

    @asynccontextmanager
    async def streaming(
        self, method: str, path: str, *, idle_seconds: float, **options: Any
    ) -> AsyncGenerator[aiohttp.StreamReader]:
        """Open an answer that comes bit by bit, and lasts as long as it is never silent for ``idle_seconds``.

        Raises:
            RequestError: as for any other request.
            Unavailable: also when the stream breaks off.
        """
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS, sock_read=idle_seconds)
        try:
            session = self._opened(streams=True)
            async with session.request(method, self._url + path, timeout=timeout, **options) as response:
                if response.status >= 400:  # noqa: PLR2004 — where HTTP's errors begin
                    raise error_of(response.status, await response.read())
                yield response.content
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._silent(error) from error

    async def _request(
        self, method: str, path: str, body: bytes | None = None, retries: int | None = None, **options: Any
    ) -> Any:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.timeout
        for pause in pauses(self.retries if retries is None else retries):
            try:
                return await self._once(method, path, body, deadline - loop.time(), **options)
            except Unavailable:
                if loop.time() + pause >= deadline:
                    raise
            await asyncio.sleep(pause)
        return await self._once(method, path, body, deadline - loop.time(), **options)

    async def _once(self, method: str, path: str, body: bytes | None, within: float, **options: Any) -> Any:
        timeout = aiohttp.ClientTimeout(total=within, sock_connect=_CONNECT_SECONDS)
        if body is not None:
            # As a stream, since aiohttp warns of large bodies that are bytes.
            options |= {"data": io.BytesIO(body), "headers": {"Content-Type": "application/json"}}
        try:
            async with self._opened().request(method, self._url + path, timeout=timeout, **options) as response:
                status, answer = response.status, await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._silent(error) from error
        if status >= 400:  # noqa: PLR2004 — where HTTP's errors begin
            raise error_of(status, answer)
        return _decoded(answer)

    def _opened(self, *, streams: bool = False) -> aiohttp.ClientSession:
        if streams not in self._sessions:
            connector = aiohttp.TCPConnector(limit=0 if streams else self._connections)
            self._sessions[streams] = aiohttp.ClientSession(connector=connector, headers=self._headers)
        return self._sessions[streams]

    def _silent(self, error: Exception) -> Unavailable:
        return Unavailable(f"{self._url} does not answer: {str(error) or repr(error)}")


def _decoded(answer: bytes) -> Any:
    try:
        return json.loads(answer)
    except ValueError as error:
        raise RequestError(f"this is not Jabba: the answer is no JSON: {_begin(answer)}") from error


def _begin(answer: bytes) -> str:
    return answer[:200].decode(errors="replace")


def pauses(retries: int) -> list[float]:
    """Return how many seconds to wait before each repeat."""
    return [_FIRST_PAUSE_SECONDS * _PAUSE_GROWTH**number for number in range(retries)]


def _printable(key: str) -> str:
    if not (key.isascii() and key.isprintable()):
        raise ValueError("this is no key: it holds characters that no header can carry")
    return key


def error_of(status: int, body: bytes) -> RequestError:
    """Make the error that a server's answer describes; an answer of something in between goes by its status."""
    try:
        return described(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        cls = _GATEWAY_CLASSES.get(status, RequestError)
        return cls(f"the server answered {status}: {_begin(body)}")


def described(error: Mapping[str, Any]) -> RequestError:
    """Make the error with this type, message and fields."""
    fields = [FieldError(one["field"], one["message"]) for one in error["fields"]]
    return _CLASSES.get(error["type"], RequestError)(error["message"], fields)


_CLASSES = request_errors()
_GATEWAY_CLASSES: dict[int, type[RequestError]] = {
    401: Unauthorized,
    403: Forbidden,
    500: InternalError,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}
