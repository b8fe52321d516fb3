"""Reading requests: from bytes and query parameters to what the rest understands; no I/O."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID

from jabba import strictjson
from jabba.errors import FieldError, Forbidden, InvalidRequest, NotFound, RequestError
from jabba.filters import DEFAULT_LIMIT, MAX_LIMIT, MAX_OFFSET, Collection, Condition, Search, parse_search

_PAGE_PARAMETERS = frozenset({"cursor", "limit", "offset"})
MAX_WAIT_SECONDS = 60
"""How long one request may wait for a job to end."""

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_TRUSTED_FETCHES = frozenset({"same-origin", "none"})


def decode_json(body: bytes) -> Any:
    """Decode a body.

    Raises:
        RequestError: it is not JSON; the message has line and column.
    """
    if not body.strip():
        raise RequestError("the body is empty; it must be JSON")
    try:
        return strictjson.decode(body)
    except ValueError as error:
        raise RequestError(f"the body is not JSON: {error}") from error


def read_job_id(text: str) -> UUID:
    """Read the id in a path; NotFound when it is none, since no job has it."""
    try:
        return UUID(text)
    except ValueError as error:
        raise NotFound(f"there is no job {text!r}, since that is no UUID") from error


def read_page(query: Mapping[str, str]) -> tuple[int, int]:
    """Read offset and limit from ``cursor=OFFSET,LIMIT`` or from ``offset=`` and ``limit=``.

    Raises:
        InvalidRequest: names the parameter.
    """
    if "cursor" in query:
        parts = query["cursor"].split(",")
        if len(parts) != 2:  # noqa: PLR2004 — offset and limit
            raise InvalidRequest.at("cursor", "must be offset and limit, such as 0,50")
        offset, limit = parts
        return _natural("cursor", offset, 0, MAX_OFFSET), _natural("cursor", limit, 1, MAX_LIMIT)
    offset, limit = query.get("offset", "0"), query.get("limit", str(DEFAULT_LIMIT))
    return _natural("offset", offset, 0, MAX_OFFSET), _natural("limit", limit, 1, MAX_LIMIT)


def read_wait(query: Mapping[str, str]) -> int:
    """Read for how many seconds ``wait=`` asks to wait; InvalidRequest when that is no number or too long."""
    return _natural("wait", query.get("wait", "0"), 0, MAX_WAIT_SECONDS)


def read_list(query: Iterable[tuple[str, str]], collection: Collection) -> Search:
    """Read the parameters of a list as the search they stand for: every value equal, newest first.

    Raises:
        InvalidRequest: names the parameters.
    """
    parameters = list(query)
    offset, limit = read_page(dict(parameters))
    conditions: list[Condition] = []
    mistakes: list[FieldError] = []
    for name, value in parameters:
        if name not in _PAGE_PARAMETERS:
            try:
                conditions += parse_search({"filter": [[name, "equal", value]]}, collection).conditions
            except InvalidRequest as error:
                mistakes += [FieldError(name, one.message) for one in error.fields]
    if mistakes:
        raise InvalidRequest("; ".join(f"{one.field}: {one.message}" for one in mistakes), mistakes)
    return replace(parse_search({"cursor": [offset, limit]}, collection), conditions=tuple(conditions))


def refuse_unknown(query: Iterable[str], known: frozenset[str]) -> None:
    """Raise InvalidRequest for a parameter that means nothing here: a misspelt one must not be passed over."""
    unknown = sorted(set(query) - known)
    if unknown:
        raise InvalidRequest.at(unknown[0], f"is no parameter here; there are {', '.join(sorted(known))}")


def refuse_cross_site(method: str, host: str, headers: Mapping[str, str]) -> None:
    """Raise Forbidden when a page of another site makes a browser send this.

    A browser asks nobody before it sends a POST without a JSON content type, so that any page could submit jobs to
    a Jabba on its visitor's machine. It tells where the page is from, and programs tell nothing.
    """
    if method in _SAFE_METHODS:
        return
    fetch, origin = headers.get("Sec-Fetch-Site"), headers.get("Origin")
    trusted = fetch in _TRUSTED_FETCHES if fetch else origin is None or origin.partition("://")[2] == host
    if not trusted:
        raise Forbidden("requests from the pages of other sites are refused")


def _natural(field: str, text: str, least: int, most: int) -> int:
    number = int(text) if text.isascii() and text.isdecimal() and len(text) <= len(str(most)) else -1
    if not least <= number <= most:
        raise InvalidRequest.at(field, f"{text!r} is not a number from {least} to {most}")
    return number
