"""Where a page begins: ``[offset, limit]``, or the token that an answer gave for the page behind it.

A token holds the values by which the last item was ordered, so that what is added or goes meanwhile moves nothing. It
is bound to its search by a digest and is no secret: whatever it says is read as a value of its field's type.
"""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from jabba.errors import InvalidRequest
from jabba.jobs import json_codec
from jabba.search.language import DEFAULT_LIMIT, Kind, Order, Rule, Search
from jabba.search.serialize import write_conditions, write_order
from jabba.search.values import integer, list_of, read_value, text

MAX_LIMIT = 1000
MAX_OFFSET = 2**31 - 1

_DIGEST_BYTES = 12
_FORMS = "must be [offset, limit], or what an answer had as next, alone or as [next, limit]"
_NO_TOKEN = "is not what an answer to this search had as next"  # noqa: S105 — the text of an error


class Cursor(NamedTuple):
    """Where a page begins and how long it is; ``limit`` is None when the token tells."""

    offset: int = 0
    limit: int | None = DEFAULT_LIMIT
    token: str | None = None


def read_cursor(cursor: Any) -> Cursor:
    """Read a cursor as it is sent; what its token says is read by ``begin_at``.

    Raises:
        InvalidRequest: names the part that is wrong.
    """
    if cursor is None:
        return Cursor()
    if isinstance(cursor, str):
        return Cursor(limit=None, token=cursor)
    if not isinstance(cursor, list | tuple) or len(cursor) != 2:  # noqa: PLR2004 — where it begins, and limit
        raise InvalidRequest.at("cursor", _FORMS)
    first, limit = cursor
    if isinstance(first, str):
        return Cursor(limit=_limit(limit), token=first)
    return Cursor(_offset(first), _limit(limit))


def begin_at(search: Search, cursor: Cursor) -> Search:
    """Return the page of a search that a cursor asks for.

    Raises:
        InvalidRequest: the token is none, or that of another search.
    """
    if cursor.token is None:
        return replace(search, offset=cursor.offset, limit=cursor.limit or DEFAULT_LIMIT)
    limit, after = _read_token(search, cursor.token)
    return replace(search, limit=cursor.limit or limit, after=after)


def write_token(search: Search, values: Sequence[Any]) -> str:
    """Write the token of the page behind an item with these values of the search's keys; JSON comes as its text."""
    said = json_codec.encode([search.limit, *values])
    return base64.urlsafe_b64encode(_digest(search, said) + said).rstrip(b"=").decode()


def _read_token(search: Search, token: str) -> tuple[int, tuple[Any, ...]]:
    try:
        packed = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        digest, said = packed[:_DIGEST_BYTES], packed[_DIGEST_BYTES:]
        if digest != _digest(search, said):
            raise InvalidRequest.at("cursor", _NO_TOKEN)
        limit, *values = list_of(json_codec.decode(said), "cursor")
        after = tuple(_read_key(key, value) for key, value in zip(search.keys, values, strict=True))
        return _limit(limit), after
    except (ValueError, InvalidRequest) as error:
        raise InvalidRequest.at("cursor", _NO_TOKEN) from error


def _read_key(key: Order, value: Any) -> Any:
    if key.field.kind is not Kind.JSON or value is None:
        return read_value(value, "cursor", key.field, Rule.EQUAL)
    return json_codec.encode(json_codec.decode(text(value, "cursor"))).decode()


def _digest(search: Search, said: bytes) -> bytes:
    conditions = write_conditions(search.conditions, search.collection)
    binding = json_codec.encode([search.collection.name, conditions, write_order(search.keys)])
    return hashlib.sha256(binding + b"\n" + said).digest()[:_DIGEST_BYTES]


def _offset(value: Any) -> int:
    if not 0 <= integer(value, "cursor[0]") <= MAX_OFFSET:
        raise InvalidRequest.at("cursor[0]", f"the offset must be from 0 to {MAX_OFFSET}")
    return int(value)


def _limit(value: Any) -> int:
    if not 1 <= integer(value, "cursor[1]") <= MAX_LIMIT:
        raise InvalidRequest.at("cursor[1]", f"the limit must be from 1 to {MAX_LIMIT}")
    return int(value)
