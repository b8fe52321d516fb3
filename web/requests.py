"""Reading requests: from bytes and query parameters to what the rest understands; no I/O."""

import base64
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from jabba.errors import FieldError, Forbidden, InvalidRequest, NotFound, RequestError, Unauthorized
from jabba.jobs import json_codec
from jabba.printable import quoted
from jabba.search import (
    DEFAULT_LIMIT,
    MAX_LIMIT,
    MAX_OFFSET,
    Collection,
    Condition,
    Search,
    parse_conditions,
    parse_search,
    written,
)

_PAGE_PARAMETERS = frozenset({"count", "cursor", "limit", "offset"})
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
        return json_codec.decode_unique(body)
    except ValueError as error:
        raise RequestError(f"the body is not JSON: {error}") from error


def read_job_id(text: str) -> UUID:
    """Read the id in a path; NotFound when it is none, since no job has it."""
    try:
        return UUID(text)
    except ValueError as error:
        raise NotFound(f"there is no job {quoted(text)}, since that is no UUID") from error


def read_paging(query: Mapping[str, str]) -> dict[str, Any]:
    """Read the page that a list is asked for, and whether to count, as a search has them.

    ``cursor=OFFSET,LIMIT`` or ``offset=`` and ``limit=``; behind another page ``cursor=NEXT`` or ``cursor=NEXT,LIMIT``,
    or ``limit=`` beside it.

    Raises:
        InvalidRequest: names the parameter.
    """
    return {"cursor": _read_cursor(query), "count": _read_flag(query, "count")}


def _read_cursor(query: Mapping[str, str]) -> Any:
    limit = _natural("limit", query.get("limit", str(DEFAULT_LIMIT)), 1, MAX_LIMIT)
    if "cursor" not in query:
        return [_natural("offset", query.get("offset", "0"), 0, MAX_OFFSET), limit]
    begin, comma, length = query["cursor"].partition(",")
    if not comma:
        return [begin, limit] if "limit" in query else begin
    limit = _natural("cursor", length, 1, MAX_LIMIT)
    return [_natural("cursor", begin, 0, MAX_OFFSET) if begin.isdecimal() else begin, limit]


def _read_flag(query: Mapping[str, str], name: str) -> bool:
    if query.get(name, "false") not in ("true", "false"):
        raise InvalidRequest.at(name, f"{quoted(query[name])} is neither true nor false")
    return query.get(name) == "true"


def read_wait(query: Mapping[str, str]) -> int:
    """Read for how many seconds ``wait=`` asks to wait; InvalidRequest when that is no number or too long."""
    return _natural("wait", query.get("wait", "0"), 0, MAX_WAIT_SECONDS)


def read_list(query: Iterable[tuple[str, str]], collection: Collection) -> Search:
    """Read the parameters of a list as the search they stand for: every value equal, and ``q=``, newest first.

    Raises:
        InvalidRequest: names the parameters, and the place in ``q``.
    """
    parameters = list(query)
    paging = read_paging(dict(parameters))
    conditions: list[list[Any]] = []
    texts: list[str] = []
    mistakes: list[FieldError] = []
    for name, value in parameters:
        if name == "q":
            texts.append(value)
            mistakes += [FieldError(f"q{place}", said) for place, said in _mistakes(collection, query=value)]
        elif name not in _PAGE_PARAMETERS:
            conditions.append([name, "equal", written(value, collection.fields.get(name))])
            mistakes += [FieldError(name, said) for _, said in _mistakes(collection, filter=conditions[-1:])]
    if mistakes:
        raise InvalidRequest("; ".join(f"{one.field}: {one.message}" for one in mistakes), mistakes)
    return parse_search({"filter": conditions, "query": _all_of(texts), **paging}, collection)


def read_conditions(listed: str | None, texts: list[str], collection: Collection) -> tuple[Condition, ...]:
    """Read the conditions that ``filter=`` holds as JSON and ``q=`` as a text; all of them must hold.

    Raises:
        InvalidRequest: names the parameter and the place in it.
    """
    try:
        conditions = None if listed is None else json_codec.decode_unique(listed)
    except ValueError as error:
        raise InvalidRequest.at("filter", f"is not JSON: {error}") from error
    mistakes = [FieldError(f"q{place}", said) for text in texts for place, said in _mistakes(collection, query=text)]
    mistakes += [FieldError(place, said) for place, said in _mistakes(collection, filter=conditions)]
    if mistakes:
        raise InvalidRequest("; ".join(f"{one.field}: {one.message}" for one in mistakes), mistakes)
    return parse_conditions(conditions, _all_of(texts), collection)


def _all_of(texts: list[str]) -> str:
    """Join texts of which each is right by itself; in one of them ``or`` may stand, which binds less."""
    if len(texts) == 1:
        return texts[0]
    return " ".join(f"({text})" for text in texts if text.strip())


def _mistakes(collection: Collection, *, filter: Any = None, query: str | None = None) -> list[tuple[str, str]]:  # noqa: A002 — its name in the interface
    """Return what is wrong with conditions, and where in them."""
    try:
        parse_conditions(filter, query, collection)
    except InvalidRequest as error:
        return [(one.field.removeprefix("query"), one.message) for one in error.fields]
    return []


def refuse_unknown(query: Iterable[str], known: frozenset[str]) -> None:
    """Raise InvalidRequest for a parameter that means nothing here: a misspelt one must not be passed over."""
    unknown = sorted(set(query) - known)
    if unknown:
        raise InvalidRequest.at(unknown[0], f"is no parameter here; there are {', '.join(sorted(known)) or 'none'}")


def refuse_repeated(query: Iterable[tuple[str, str]], single: frozenset[str]) -> None:
    """Raise InvalidRequest for a parameter that is there twice, if it may be there once: who knows which is meant."""
    times = Counter(name for name, _ in query)
    repeated = sorted(name for name in single if times[name] > 1)
    if repeated:
        raise InvalidRequest.at(repeated[0], "is there more than once")


def read_key(authorization: str | None) -> str:
    """Read the key in an ``Authorization`` header: as Bearer or, as browsers send it, the password of Basic.

    Raises:
        Unauthorized: there is none.
    """
    scheme, _, given = (authorization or "").partition(" ")
    match scheme.lower():
        case "bearer":
            return given.strip()
        case "basic":
            return _password(given)
    raise Unauthorized("this needs a key: send it as `Authorization: Bearer KEY`")


def refuse_cross_site(method: str, host: str, headers: Mapping[str, str], *, by_cookie: bool = False) -> None:
    """Raise Forbidden when a page of another site makes a browser send this.

    A browser asks nobody before it sends a POST without a JSON content type, so that any page could submit jobs to
    a Jabba on its visitor's machine. It tells where the page is from, and programs tell nothing; a request that is let
    in ``by_cookie`` must tell.
    """
    if method in _SAFE_METHODS:
        return
    fetch, origin = headers.get("Sec-Fetch-Site"), headers.get("Origin")
    trusted = (
        fetch in _TRUSTED_FETCHES
        if fetch
        else (origin is None and not by_cookie) or (origin or "").partition("://")[2] == host
    )
    if not trusted:
        raise Forbidden("requests from the pages of other sites are refused")


def _password(given: str) -> str:
    """Return the password of Basic credentials; the name before it may be any."""
    try:
        return base64.b64decode(given.strip(), validate=True).decode().partition(":")[2]
    except ValueError as error:
        raise Unauthorized("the credentials cannot be read") from error


def _natural(field: str, text: str, least: int, most: int) -> int:
    number = int(text) if text.isascii() and text.isdecimal() and len(text) <= len(str(most)) else -1
    if not least <= number <= most:
        raise InvalidRequest.at(field, f"{quoted(text)} is not a number from {least} to {most}")
    return number
