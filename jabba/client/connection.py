"""Requests to a web process: connections, repeats, and errors as the server describes them."""

import asyncio
import io
import logging
import ssl
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import aiohttp

from jabba.arguments import MOST_SECONDS, check_count, check_seconds, check_web_url
from jabba.client.answers import ERROR, Form, shown
from jabba.concurrency.backoff import Backoff
from jabba.errors import (
    Closed,
    Forbidden,
    InternalError,
    InvalidArgument,
    Refused,
    RequestError,
    Unauthorized,
    Unavailable,
)
from jabba.printable import printable

logger = logging.getLogger("jabba.client")

Value = TypeVar("Value")

_FIRST_PAUSE_SECONDS = 0.1
_PAUSE_GROWTH = 3.0
_CONNECT_SECONDS = 10.0


class Connection:
    """Connections to one web process, made when they are needed.

    ``key`` is the API key, sent with every request and shown nowhere. ``timeout`` is what one call may take in seconds,
    with its repeats; ``retries`` how often one is repeated that the server was not able to answer; ``connections`` how
    many there may be at a time, beside those of streams.

    Raises:
        InvalidArgument: names the argument that is wrong.
    """

    def __init__(self, url: str, key: str | None, timeout: float, retries: int, connections: int) -> None:
        self._url = check_web_url("url", url)
        self.timeout = check_seconds("timeout", timeout)
        self.retries = check_count("retries", retries)
        self._headers = {} if key is None else {"Authorization": f"Bearer {_printable(key)}"}
        self._connections = check_count("connections", connections, least=1)
        # Streams hold theirs for as long as they last: they must not let the requests starve.
        self._sessions: dict[bool, _Session] = {}
        self._closed = False

    async def close(self) -> None:
        """Close the connections; nothing may be asked any more."""
        self._closed = True
        sessions, self._sessions = self._sessions, {}
        for session in sessions.values():
            await session.close()

    def check_open(self) -> None:
        """Raise Closed after ``close()``."""
        if self._closed:
            raise Closed("this client is closed")

    async def get(self, path: str, query: Mapping[str, str], form: Form[Value]) -> Value:
        """Return what stands at a path."""
        return await self._request("GET", path, form, params=query)

    async def post(self, path: str, body: bytes, form: Form[Value], *, retries: int | None = None) -> Value:
        """Send JSON that may be sent again without harm; return the answer."""
        return await self._request("POST", path, form, body, retries)

    @asynccontextmanager
    async def streaming(
        self, method: str, path: str, *, idle_seconds: float, **options: Any
    ) -> AsyncGenerator[aiohttp.ClientResponse]:
        """Open an answer that comes bit by bit, and lasts as long as it is never silent for ``idle_seconds``.

        Raises:
            RequestError: as for any other request.
            Unavailable: also when the stream breaks off.
        """
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS, sock_read=idle_seconds)
        try:
            session = await self._opened(streams=True)
            async with session.request(method, self._url + path, timeout=timeout, **options) as response:
                if response.status >= 400:  # noqa: PLR2004 — where HTTP's errors begin
                    raise error_of(response.status, await response.read())
                yield response
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._silent(error, idle_seconds) from error

    def url_of(self, path: str) -> str:
        """Return the URL of a path."""
        return self._url + path

    async def _request(
        self,
        method: str,
        path: str,
        form: Form[Value],
        body: bytes | None = None,
        retries: int | None = None,
        **options: Any,
    ) -> Value:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.timeout
        for pause in pauses(self.retries if retries is None else retries):
            try:
                return await self._once(method, path, form, body, deadline - loop.time(), **options)
            except Unavailable as error:
                if isinstance(error, Refused) or loop.time() + pause >= deadline:
                    raise
                log_retry(error, pause)
            await asyncio.sleep(pause)
        return await self._once(method, path, form, body, deadline - loop.time(), **options)

    async def _once(
        self, method: str, path: str, form: Form[Value], body: bytes | None, within: float, **options: Any
    ) -> Value:
        timeout = aiohttp.ClientTimeout(total=within, sock_connect=_CONNECT_SECONDS)
        if body is not None:
            # As a stream, since aiohttp warns of large bodies that are bytes.
            options |= {"data": io.BytesIO(body), "headers": {"Content-Type": "application/json"}}
        try:
            session = await self._opened()
            async with session.request(method, self._url + path, timeout=timeout, **options) as response:
                status, answer = response.status, await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._silent(error, within) from error
        if status >= 400:  # noqa: PLR2004 — where HTTP's errors begin
            raise error_of(status, answer)
        return form.of_text(self.url_of(path), answer)

    async def _opened(self, *, streams: bool = False) -> aiohttp.ClientSession:
        self.check_open()
        session = self._sessions.get(streams)
        if session is None or not session.is_usable():
            session = self._sessions[streams] = _Session(0 if streams else self._connections, self._headers)
        return await session.opened()

    def _silent(self, error: Exception, seconds: float) -> Unavailable:
        if isinstance(error, TimeoutError):
            return Unavailable(f"{self._url} does not answer within {seconds:.3g} s")
        reason = printable(str(error) or repr(error))
        if _is_permanent(error):
            return Refused(f"{self._url} cannot be asked: {reason}; are the URL and its scheme right?")
        return Unavailable(f"{self._url} does not answer: {reason}")


class _Session:
    """A session of aiohttp's for the running event loop.

    It ends with its loop, at the latest: asyncio closes generators that are still open then. So a client that is used
    in one ``asyncio.run`` after the other leaves no connections behind.
    """

    def __init__(self, limit: int, headers: Mapping[str, str]) -> None:
        self._loop = asyncio.get_running_loop()
        self._life = _open_session(limit, headers)
        self._session: aiohttp.ClientSession | None = None

    def is_usable(self) -> bool:
        """Whether the session belongs to the running loop, and is open.

        Raises:
            Closed: it belongs to another loop, which has not ended.
        """
        if self._loop is not asyncio.get_running_loop() and not self._loop.is_closed():
            raise Closed("this client is in use in another event loop: make one for each loop")
        return self._session is not None and not self._session.closed

    async def opened(self) -> aiohttp.ClientSession:
        """Return the session, which is opened first."""
        if self._session is None:
            self._session = await anext(self._life)
        return self._session

    async def close(self) -> None:
        """Close it."""
        self.is_usable()
        await self._life.aclose()


async def _open_session(limit: int, headers: Mapping[str, str]) -> AsyncGenerator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=limit), headers=headers) as session:
        yield session


def _is_permanent(error: Exception) -> bool:
    """Whether the same request will fail for ever: wrong URL or scheme, a certificate that is not valid, not HTTP."""
    if isinstance(error, aiohttp.ClientSSLError):
        return not isinstance(error.os_error, ssl.SSLEOFError | ssl.SSLZeroReturnError)
    return isinstance(error, aiohttp.InvalidURL | aiohttp.ClientResponseError | aiohttp.ServerFingerprintMismatch)


def log_retry(error: Exception, pause: float) -> None:
    """Log what went wrong, and when it is tried again."""
    logger.warning("%s; trying again in %.2g s", printable(str(error)), pause)


def pauses(retries: int) -> Iterator[float]:
    """Return how many seconds to wait before each repeat."""
    backoff = Backoff(_FIRST_PAUSE_SECONDS, MOST_SECONDS, _PAUSE_GROWTH)
    return (backoff.next() for _ in range(retries))


def _printable(key: Any) -> str:
    if not (isinstance(key, str) and key.isascii() and key.isprintable()):
        raise InvalidArgument("key", "is not an API key: only printable ASCII characters may stand in one")
    return key


def error_of(status: int, body: bytes) -> RequestError:
    """Make the error that a server's answer describes; an answer of something in between goes by its status."""
    try:
        return ERROR.of_text("", body)
    except RequestError:
        cls = _GATEWAY_CLASSES.get(status, RequestError)
        return cls(f"the server answered {status}: {shown(body)}")


_GATEWAY_CLASSES: dict[int, type[RequestError]] = {
    401: Unauthorized,
    403: Forbidden,
    500: InternalError,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}
