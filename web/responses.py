"""Writing answers: ``{"data": …}`` or ``{"error": {"type", "message", "fields"}}``, and each error's status; no I/O."""

from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, NamedTuple

from aiohttp.web import HTTPException, RequestPayloadError
from multidict import MultiDict
from pydantic_core import to_json

from jabba.errors import InternalError, NotReady, Refused, RequestError, Unauthorized, Unavailable, request_errors
from jabba.jobs.pages import Page
from jabba.producer.submission import Submitted

_NO_HEADERS: Mapping[str, str] = MappingProxyType({})


# Basic makes a browser ask for the key, and send it with all that its pages load from here. Each scheme needs a line of
# its own, since not every browser takes a line apart.
_CHALLENGES: Mapping[str, str] = MultiDict(
    [("WWW-Authenticate", 'Bearer realm="jabba"'), ("WWW-Authenticate", 'Basic realm="jabba", charset="UTF-8"')]
)


class Answer(NamedTuple):
    """What goes back to the caller; ``body`` is JSON."""

    status: int
    body: bytes
    headers: Mapping[str, str] = _NO_HEADERS


def of_data(value: Any, *, status: int = 200, headers: Mapping[str, str] = _NO_HEADERS, **beside: Any) -> Answer:
    """Return ``{"data": value}``, with ``beside`` beside it; models become their JSON forms."""
    return Answer(status, to_json({"data": value} | beside), headers)


def of_page(page: Page[Any]) -> Answer:
    """Return a page with the cursor of the one behind it, and the count if that was asked for."""
    if page.total is None:
        return of_data(page, next=page.next)
    return of_data(page, next=page.next, count=page.total)


def of_submission(submitted: Submitted) -> Answer:
    """Return 201 with the job as accepted, its position among its fields."""
    job = submitted.job.model_dump_json().encode()
    body = b'{"data":%b,"position":"%b"}}' % (job[:-1], submitted.position_text.encode())
    return Answer(201, body, {"Location": f"/v1/jobs/{submitted.id}"})


def of_error(error: Exception, *, asks: bool = True) -> Answer:
    """Return what a caller may know of an error; of one that nobody expected, only that there was one.

    ``asks`` lets a browser ask its user for a password.
    """
    if isinstance(error, HTTPException):
        return _of_http(error)
    refusal = _as_refusal(error) or InternalError("an internal error; the web process has logged it")
    headers = _CHALLENGES if isinstance(refusal, Unauthorized) and asks else _NO_HEADERS
    return Answer(refusal.status, to_json({"error": refusal.as_json()}), headers)


def is_expected(error: Exception) -> bool:
    """Whether an error is a refusal, not a defect."""
    return isinstance(error, HTTPException) or _as_refusal(error) is not None


def _as_refusal(error: Exception) -> RequestError | None:
    if isinstance(error, Refused):
        # It names brokers and users.
        return Unavailable("Kafka does not allow this web process what it needs for that; its log says more")
    if isinstance(error, RequestError):
        return error
    if isinstance(error, NotReady):
        return Unavailable(str(error))
    return RequestError("the body cannot be read") if isinstance(error, RequestPayloadError) else None


def _of_http(error: HTTPException) -> Answer:
    """Turn what the HTTP library refuses by itself into our form: an unknown route, a method that a route has not."""
    allowed = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else _NO_HEADERS
    refusal = _BY_STATUS.get(error.status, RequestError)(HTTPStatus(error.status).phrase)
    return Answer(error.status, to_json({"error": refusal.as_json()}), allowed)


_BY_STATUS = {cls.status: cls for cls in request_errors().values()}
