"""Callbacks that are calls of services over HTTP, signed by Standard Webhooks: see ``docs/services.md``."""

import asyncio
import logging
import secrets
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from random import random
from types import SimpleNamespace
from typing import Any

import aiohttp

from jabba.callbacks import http_answers
from jabba.callbacks.breaker import Breaker
from jabba.callbacks.error_report import sentence
from jabba.callbacks.guarded_sockets import guarded_socket
from jabba.callbacks.http_answers import Reading, Response
from jabba.callbacks.registry import TaskContext
from jabba.callbacks.results import BOUNDS, OUTCOMES, Answer, Bounds
from jabba.callbacks.services import KeyedService, Service
from jabba.callbacks.signature import ID, SIGNATURE, TIMESTAMP, sign
from jabba.callbacks.throttle import Throttle
from jabba.callbacks.transport import Accepted, Postponed, Reply, Unanswered
from jabba.clock import Clock
from jabba.jobs import json_codec
from jabba.jobs.models import Callback

logger = logging.getLogger(__name__)

NDJSON = "application/x-ndjson"

_ENVELOPE_BYTES = 4096
"""How much longer than a result an answer may be."""

_MARGIN_SECONDS = 0.05
"""How long before its time is over an attempt ends: so its reply has the address, and the breaker counts it."""

_ALERT_SECONDS = 60.0
_ALERTS = {
    401: "is its secret the right one?",
    403: "does something in between forbid the calls?",
    410: "it is gone, and its tasks wait",
}
_JITTER = 0.2
_PIECE_BYTES = 64 * 1024
_USER_AGENT = "jabba"
CLASSES = (*OUTCOMES.values(), "infrastructure", "timeout", "postponed", "accepted", "cancelled")
"""How a call can end."""


class _Broken(Exception):
    """An exchange that did not come to its end; ``outcome`` as in Unanswered."""

    def __init__(self, message: str, outcome: str = "infrastructure", status_code: int | None = None) -> None:
        super().__init__(message)
        self.outcome = outcome
        self.status_code = status_code


@dataclass(slots=True)
class _Remote:
    """What one worker knows of one service, as long as its entry in the file does not change."""

    name: str
    keyed: KeyedService
    throttle: Throttle
    breaker: Breaker = field(default_factory=Breaker)
    turns: Iterator[int] = field(default_factory=count)
    alerted: float = float("-inf")

    @property
    def service(self) -> Service:
        return self.keyed.service

    def next_url(self) -> str:
        urls = self.service.url or [""]
        return urls[next(self.turns) % len(urls)]


@dataclass(slots=True)
class _Request:
    """One attempt's request, and how far it has come."""

    url: str
    headers: dict[str, str]
    body: bytes
    phase: asyncio.Timeout | None = None
    first_byte_timeout: float = 0.0
    connected: bool = False
    reused: bool = False

    @property
    def address(self) -> str:
        """Return the URL as it may be shown: a query may hold what nobody is to read."""
        return self.url.partition("?")[0]


class HttpRunner:
    """Calls services over HTTP; one for each worker, with one pool of connections.

    ``calls`` counts by service and class, one of ``CLASSES``.
    """

    def __init__(self, clock: Clock, bounds: Bounds = BOUNDS) -> None:
        self._clock = clock
        self._bounds = bounds
        self._remotes: dict[str, _Remote] = {}
        self._session: aiohttp.ClientSession | None = None
        self.calls: Counter[tuple[str, str]] = Counter()

    @property
    def breakers(self) -> dict[str, str]:
        """Return the state of each breaker by service: ``closed``, ``open`` or ``half_open``."""
        return {name: remote.breaker.state for name, remote in self._remotes.items()}

    async def run(self, callback: Callback, keyed: KeyedService, context: TaskContext) -> Reply:
        """Call a service and return its reply; only a cancellation is raised."""
        remote = self._remote(callback.service, keyed)
        word = "cancelled"
        try:
            reply = await self._run(remote, callback, context, self._clock.monotonic())
            word = _class(reply)
        finally:
            self.calls[remote.name, word] += 1
        return reply

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()

    def _remote(self, name: str, keyed: KeyedService) -> _Remote:
        remote = self._remotes.get(name)
        if remote is None or remote.keyed != keyed:
            service = keyed.service
            throttle = Throttle(service.concurrency, service.rate, self._clock.monotonic)
            remote = self._remotes[name] = _Remote(name, keyed, throttle)
        return remote

    async def _run(self, remote: _Remote, callback: Callback, context: TaskContext, since: float) -> Reply:
        if (seconds := self._breaker_wait(remote)) > 0:
            return _breaker_open(remote, seconds)
        if (seconds := await remote.throttle.enter()) > 0:
            return Postponed(f"service {remote.name} has its calls: {remote.throttle.running} at a time", seconds)
        began, good, busy = self._clock.monotonic(), None, False
        probe = False
        try:
            if (seconds := self._breaker_wait(remote)) > 0:
                return _breaker_open(remote, seconds)
            probe = remote.breaker.begin()
            reply = await self._attempt(remote, callback, context, self._seconds_left(remote.service, context, since))
            good, busy = not isinstance(reply, Unanswered | Postponed), isinstance(reply, Postponed)
        finally:
            now = self._clock.monotonic()
            remote.throttle.leave(now - began, good=None if busy else bool(good))
            remote.breaker.ended(now, good=None if busy else good, probe=probe)
        return reply

    def _breaker_wait(self, remote: _Remote) -> float:
        return remote.breaker.wait(self._clock.monotonic())

    def _look_at(self, remote: _Remote, response: Response) -> None:
        """Alert at what is wrong for every task of a service, once a minute; one that is gone is left alone."""
        now = self._clock.monotonic()
        if response.status == 410:  # noqa: PLR2004 — gone
            remote.breaker.trip(now)
        if response.status in _ALERTS and now >= remote.alerted + _ALERT_SECONDS:
            remote.alerted = now
            text = "service %s answers with HTTP %d: %s"
            logger.error(text, remote.name, response.status, _ALERTS[response.status])

    async def _attempt(self, remote: _Remote, callback: Callback, context: TaskContext, seconds: float) -> Reply:
        request = self._request(remote, callback, context, seconds)
        total = asyncio.timeout(seconds)
        try:
            async with total:
                response = await self._exchange(request, remote.service)
        except TimeoutError:
            if not total.expired():
                raise
            limit = context.timeout or remote.service.timeout
            return Unanswered(f"timeout: no answer within {limit:g} s", "timeout", address=request.address)
        except _Broken as error:
            return Unanswered(str(error), error.outcome, status_code=error.status_code, address=request.address)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # The last one is of names that have no form in DNS.
            return Unanswered(f"no answer of {request.address}: {sentence(error, 500)}", address=request.address)
        self._look_at(remote, response)
        return http_answers.read(response, Reading(self._bounds, remote.service.completion_timeout, self._clock.now()))

    def _seconds_left(self, service: Service, context: TaskContext, since: float) -> float:
        limit = context.timeout or service.timeout
        seconds = limit - min(_MARGIN_SECONDS, 0.1 * limit) - (self._clock.monotonic() - since)
        if context.deadline is not None:
            seconds = min(seconds, context.deadline - self._clock.now())
        return max(seconds, 0.001)

    def _request(self, remote: _Remote, callback: Callback, context: TaskContext, seconds: float) -> _Request:
        now = self._clock.now()
        identity = f"{context.task_id}-{context.run}"
        body = json_codec.encode(
            {
                "type": "jabba.call",
                "timestamp": _iso(now),
                "service": remote.name,
                "job_id": context.job_id,
                "task_id": context.task_id,
                "run": context.run,
                "attempt": context.attempt,
                "module": callback.module,
                "function": callback.function,
                "args": callback.args,
                "kwargs": {},
                "meta": dict(context.meta),
                "deadline": None if context.deadline is None else _iso(context.deadline),
            }
        )
        headers = {
            "content-type": "application/json",
            "accept": f"application/json, {NDJSON}",
            "accept-encoding": "identity",
            "user-agent": _USER_AGENT,
            ID: identity,
            TIMESTAMP: str(int(now)),
            SIGNATURE: " ".join(sign(key, identity, int(now), body) for key in remote.keyed.keys),
            "idempotency-key": f'"{identity}"',
            "traceparent": f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01",
            "jabba-attempt": str(context.attempt),
            "jabba-timeout": f"{seconds:.3f}",
            "jabba-type": "call",
        }
        return _Request(remote.next_url(), headers, body, first_byte_timeout=remote.service.first_byte_timeout)

    async def _exchange(self, request: _Request, service: Service) -> Response:
        """Send a request and read the response; once more at once if its connection, used before, was dropped."""
        session = self._session = self._session or _session()
        try:
            return await self._send(session, request, service)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
            if not request.reused:
                raise
        async with _session() as fresh:
            return await self._send(fresh, request, service)

    async def _send(self, session: aiohttp.ClientSession, request: _Request, service: Service) -> Response:
        request.connected = request.reused = False
        try:
            async with asyncio.timeout(service.connect_timeout) as request.phase:
                response = await session.post(
                    request.url,
                    data=request.body,
                    headers=request.headers,
                    allow_redirects=False,
                    trace_request_ctx=request,
                )
        except TimeoutError:
            if request.phase is None or not request.phase.expired():
                raise
            if request.connected:
                message = f"the first byte did not come within {service.first_byte_timeout:g} s"
            else:
                message = f"no connection to {request.address} within {service.connect_timeout:g} s"
            raise _Broken(message, "timeout") from None
        # What follows is not sent again, however the connection ends.
        request.reused = False
        async with response:
            body = await self._body(response, service)
            if body is None:
                response.close()
        stream = response.content_type == NDJSON
        return Response(response.status, response.headers, body, request.address, stream)

    async def _body(self, response: aiohttp.ClientResponse, service: Service) -> bytes | None:
        """Return the body, or the last line of a stream; None if that is longer than an answer may be."""
        limit = self._bounds.result_bytes + _ENVELOPE_BYTES
        kept = _LastLine() if response.content_type == NDJSON else _Whole()
        unpack = _unpacker(response)
        idle = asyncio.timeout(service.idle_timeout)
        try:
            async with idle:
                async for chunk in response.content.iter_chunked(_PIECE_BYTES):
                    idle.reschedule(asyncio.get_running_loop().time() + service.idle_timeout)
                    for piece in unpack(chunk):
                        kept.add(piece)
                        if kept.size > limit:
                            return None
        except TimeoutError:
            if not idle.expired():
                raise
            message = f"the answer stood still for {service.idle_timeout:g} s"
            raise _Broken(message, "timeout", response.status) from None
        except zlib.error as error:
            raise _Broken(f"the answer cannot be unpacked: {error}", status_code=response.status) from error
        return kept.end()


class _Whole:
    """Keeps all of a body."""

    def __init__(self) -> None:
        self._kept = bytearray()

    @property
    def size(self) -> int:
        return len(self._kept)

    def add(self, piece: bytes) -> None:
        self._kept += piece

    def end(self) -> bytes:
        return bytes(self._kept)


class _LastLine:
    """Keeps the last line of a stream that is not empty."""

    def __init__(self) -> None:
        self._line = b""
        self._rest = b""

    @property
    def size(self) -> int:
        return max(len(self._line), len(self._rest))

    def add(self, piece: bytes) -> None:
        *lines, self._rest = (self._rest + piece).split(b"\n")
        self._line = next((line for line in reversed(lines) if line.strip()), self._line)

    def end(self) -> bytes:
        return self._rest if self._rest.strip() else self._line


def _unpacker(response: aiohttp.ClientResponse) -> Callable[[bytes], Iterator[bytes]]:
    """Return what unpacks a body piece by piece, so that a small one cannot become large in memory."""
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding == "identity":
        return lambda chunk: iter((chunk,))
    if encoding not in ("gzip", "deflate"):
        raise _Broken(f"the answer is encoded as {encoding!r}, and was asked for without", status_code=response.status)
    return _inflate(zlib.decompressobj(wbits=zlib.MAX_WBITS | 32))


def _inflate(unpacking: "zlib._Decompress") -> Callable[[bytes], Iterator[bytes]]:
    def unpack(chunk: bytes) -> Iterator[bytes]:
        while chunk and not unpacking.eof:
            yield unpacking.decompress(chunk, _PIECE_BYTES)
            chunk = unpacking.unconsumed_tail

    return unpack


def _session() -> aiohttp.ClientSession:
    """Make a pool of connections; how many there are of a service is bounded by its concurrency."""
    trace = aiohttp.TraceConfig()
    trace.on_connection_create_end.append(_connected)
    trace.on_connection_reuseconn.append(_reused)
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, socket_factory=guarded_socket),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
        auto_decompress=False,
        trace_configs=[trace],
    )


async def _connected(_session: Any, context: SimpleNamespace, _parameters: Any) -> None:
    request: _Request = context.trace_request_ctx
    request.connected = True
    if request.phase is not None and not request.phase.expired():
        request.phase.reschedule(asyncio.get_running_loop().time() + request.first_byte_timeout)


async def _reused(session: Any, context: SimpleNamespace, parameters: Any) -> None:
    context.trace_request_ctx.reused = True
    await _connected(session, context, parameters)


def _breaker_open(remote: _Remote, seconds: float) -> Postponed:
    # Not all of them at the same moment.
    return Postponed(f"the breaker of service {remote.name} is open", seconds * (1 + _JITTER * random()))  # noqa: S311


def _class(reply: Reply) -> str:
    if isinstance(reply, Answer):
        return OUTCOMES[reply.event]
    if isinstance(reply, Unanswered):
        return reply.outcome
    return "accepted" if isinstance(reply, Accepted) else "postponed"


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
