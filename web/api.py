"""What the views share: the answer's form on the wire, the reading of bodies, errors, and the way to the backends."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from aiohttp import web
from faust.web import View
from multidict import CIMultiDict

from jabba.auth.roles import ANYONE, Caller
from jabba.errors import LimitExceeded, RequestError
from web import requests, responses
from web.backends import Backends
from web.http_errors import SERVER
from web.operations import CALLER
from web.responses import Answer

logger = logging.getLogger(__name__)

BACKENDS = web.AppKey("backends", Backends)
VIEWS: web.AppKey[Iterable[type[View]]] = web.AppKey("views")
OPEN_ROUTES: web.AppKey[frozenset[tuple[str, str]]] = web.AppKey("open_routes")
HEADERS = SERVER

COOKIE = "jabba_session"
"""Where a browser has its session."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

BODY_SECONDS = 60.0
"""How long a caller may take to send a body."""

SEARCH_BYTES = 256 * 1024
"""Limit of a search."""


class ApiView(View):
    """A view that answers JSON, and knows only the methods that it implements."""

    def get_methods(self) -> set[str]:
        """Return the methods; Faust adds HEAD even to a view that has no GET."""
        methods: set[str] = super().get_methods()
        return methods if "GET" in methods else methods - {"HEAD"}


@web.middleware
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Return every error in the one form; log the unexpected with its traceback.

    Who has no key hears of nothing else: not what is wrong with the request, nor whether there is such a route.
    """
    try:
        request[CALLER] = await admit(request)
        by_cookie = _has_session(request) and not _is_open(request)
        requests.refuse_cross_site(request.method, request.host, request.headers, by_cookie=by_cookie)
        return await handler(request)
    except Exception as error:
        if not responses.is_expected(error):
            logger.exception("request failed", extra={"method": request.method, "path": request.path})
        return respond(responses.of_error(error, asks=_asks_for_password(request)))


def respond(answer: Answer) -> web.Response:
    """Make the response of an answer."""
    return web.Response(
        status=answer.status,
        body=answer.body,
        content_type="application/json",
        headers=CIMultiDict([*HEADERS.items(), *answer.headers.items()]),
    )


def backends(request: web.Request) -> Backends:
    """Return the backends of the process that serves this request."""
    return request.app[BACKENDS]


async def admit(request: web.Request) -> Caller:
    """Return who sends a request, by its key or its session.

    Raises:
        Unauthorized: it has none that is valid now.
        Unavailable: PostgreSQL cannot tell.
    """
    keyring = backends(request).keyring
    if keyring is None or _is_open(request):
        return ANYONE
    if _has_session(request):
        return await keyring.caller_of(backends(request).sessions.key_of(request.cookies[COOKIE]))
    return await keyring.caller(requests.read_key(request.headers.get("Authorization")))


def caller(request: web.Request) -> Caller:
    """Return who sends a request."""
    return request[CALLER]


async def read_body(request: web.Request, limit: int) -> bytes:
    """Read a body as it comes, and stop as soon as it is too large.

    Raises:
        LimitExceeded: it has more than ``limit`` bytes.
        HTTPRequestTimeout: it has not come within a minute.
    """
    if (request.content_length or 0) > limit:
        raise _too_large(limit)
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await _read_at_most(request, limit)
    except TimeoutError as error:
        raise web.HTTPRequestTimeout from error


async def read_search(request: web.Request) -> Any:
    """Read a search as JSON; it is read in the event loop, so it may not be large."""
    return requests.decode_json(await read_body(request, SEARCH_BYTES))


def _has_session(request: web.Request) -> bool:
    return "Authorization" not in request.headers and COOKIE in request.cookies


def _asks_for_password(request: web.Request) -> bool:
    """Whether a browser may ask its user for a password: not when a script has sent the request."""
    return request.headers.get("Sec-Fetch-Mode", "navigate") == "navigate"


def _is_open(request: web.Request) -> bool:
    resource = request.match_info.route.resource
    method = "GET" if request.method == "HEAD" else request.method
    return resource is not None and (method, resource.canonical) in request.app[OPEN_ROUTES]


async def _read_at_most(request: web.Request, limit: int) -> bytes:
    body = bytearray()
    try:
        async for chunk in request.content.iter_any():
            body += chunk
            if len(body) > limit:
                raise _too_large(limit)
    except ConnectionError as error:
        raise RequestError("the caller went away in the middle of the body") from error
    return bytes(body)


def _too_large(limit: int) -> LimitExceeded:
    return LimitExceeded(f"the request is larger than {limit:,} bytes")
