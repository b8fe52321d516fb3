"""Reading requests: from bytes and query parameters to what the rest understands; no I/O."""

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from jabba import strictjson
from jabba.errors import Forbidden, InvalidRequest, NotFound, RequestError

DEFAULT_LIMIT = 50
MAX_LIMIT = 1000
_MAX_OFFSET = 2**31 - 1
_PAGE_PARAMETERS = frozenset({"cursor", "limit", "offset"})
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
        return _natural("cursor", offset, 0, _MAX_OFFSET), _natural("cursor", limit, 1, MAX_LIMIT)
    offset, limit = query.get("offset", "0"), query.get("limit", str(DEFAULT_LIMIT))
    return _natural("offset", offset, 0, _MAX_OFFSET), _natural("limit", limit, 1, MAX_LIMIT)


def equality_search(query: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Turn the parameters of a list into the search that they stand for: newest first, every value equal."""
    conditions = [[name, "equal", value] for name, value in query if name not in _PAGE_PARAMETERS]
    return {"filter": conditions, "order_by": [["desc", "inserted_at"]], "cursor": list(read_page(dict(query)))}


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
