"""JSON as Jabba stores it: UTF-8, finite numbers, no NUL characters (PostgreSQL's jsonb refuses them).

An integer has at most 4,300 digits: readers of JSON, Python's among them, take no longer ones.
"""

import json
import math
import re
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticSerializationError, from_json, to_json

from jabba.errors import InvalidRequest

# What a faulty value leaves in the encoded text. They may also stand in harmless strings, hence the walk behind them.
_SUSPECTS = (b"\\u0000", b"NaN", b"Infinity")

_BOM = b"\xef\xbb\xbf"
_TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*+"|[\[\]{},"]', re.DOTALL)

_DIGITS = 4300
_TOO_LARGE = 10**_DIGITS
_AS_ZEROS = bytes.maketrans(b"123456789", b"0" * 9)
_LONG = b"0" * (_DIGITS + 1)

DEEPEST = 100
"""How many maps and lists may stand in one another in what callers store. Readers give up at 200, and whatever is
stored stands in the maps and lists of a message."""


def encode(value: Any, path: str = "") -> bytes:
    """Encode a value as JSON; what is checked is the text, whatever became part of it on the way.

    Raises:
        InvalidRequest: the value has no JSON form; the field is the path to it, below ``path``.
    """
    try:
        text = to_json(value, inf_nan_mode="constants")
    except (PydanticSerializationError, ValueError) as error:
        raise InvalidRequest.at(_faulty_place(value, path), f"has no JSON form: {error}") from error
    _check(text, path)
    return text


def encode_model(model: BaseModel, path: str) -> bytes:
    """Encode a validated model without its defaults; errors as ``encode``."""
    try:
        text = model.__pydantic_serializer__.to_json(model, exclude_defaults=True)
    except (PydanticSerializationError, ValueError) as error:
        raise InvalidRequest.at(path, f"has no JSON form: {error}") from error
    _check(text, path)
    return text


def decode(text: bytes | str) -> Any:
    """Decode JSON text.

    Raises:
        ValueError: it is not JSON; the message gives line and column.
    """
    if text[:3] == _BOM or text[:1] == "\ufeff":
        message = "it begins with a byte order mark (U+FEFF), which JSON does not allow: send UTF-8 without one"
        raise ValueError(message)
    return from_json(text, allow_inf_nan=False)


def decode_unique(text: bytes | str) -> Any:
    """Decode JSON text of a caller, in which no object may have a key twice: one of the two values would be lost.

    Raises:
        ValueError: it is not JSON, or has a repeated key; the message says where, or which.
    """
    value = decode(text)
    if (key := repeated_key(text)) is not None:
        message = f"the key {key!r} stands twice in one object"
        raise ValueError(message)
    return value


def repeated_key(text: bytes | str) -> str | None:
    """Return the first key that an object in valid JSON text has twice, or None."""
    repeated: list[str] = []

    def note(pairs: list[tuple[str, Any]]) -> None:
        if len(pairs) != len(dict.fromkeys(key for key, _ in pairs)):
            names = [key for key, _ in pairs]
            repeated.append(next(key for number, key in enumerate(names) if key in names[:number]))

    json.loads(text, object_pairs_hook=note)
    return repeated[0] if repeated else None


def merged_key(text: bytes) -> str | None:
    """Return a key that an object in text of ``encode`` has twice, since two keys became the same text; or None."""
    # What is encoded again without it is shorter: almost always that is found out without looking at keys.
    return repeated_key(text) if len(to_json(from_json(text))) != len(text) else None


def split_list(text: bytes) -> list[bytes] | None:
    """Cut the text of a JSON list into the texts of its items, whatever is wrong inside of them; None if it is no list.

    Only brackets and quotes are read, so that an item which cannot be decoded does not hide its neighbours.
    """
    stripped = text.strip()
    if not (stripped.startswith(b"[") and stripped.endswith(b"]")):
        return None
    items, depth, start = [], 0, 1
    for token in _TOKENS.finditer(stripped):
        mark = token[0]
        if mark in (b"[", b"{"):
            depth += 1
        elif mark in (b"]", b"}"):
            depth -= 1
        at_end = depth == 0 and token.end() == len(stripped)
        if at_end or (depth == 1 and mark == b","):
            items.append(stripped[start : token.start()])
            start = token.end()
        elif depth == 0 or mark == b'"':
            return None
    if depth or start != len(stripped):
        return None
    return [] if items == [b""] else items


def storable(text: str) -> str:
    """Replace what JSON cannot carry, or PostgreSQL not store: lone surrogates and NUL."""
    return text.encode(errors="replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")


def refuse_unstorable(value: Any, path: str) -> None:
    """Raise InvalidRequest for the first number that is not finite or too long, or text that holds NUL."""
    for where, leaf in _leaves(value, path):
        if isinstance(leaf, int) and not -_TOO_LARGE < leaf < _TOO_LARGE:
            raise InvalidRequest.at(where, f"has more than {_DIGITS:,} digits")
        if isinstance(leaf, float) and not math.isfinite(leaf):
            raise InvalidRequest.at(where, f"{leaf} is not a JSON number")
        if isinstance(leaf, str) and "\0" in leaf:
            raise InvalidRequest.at(where, "holds a NUL character, which cannot be stored")


def refuse_deep(value: Any, path: str, text: bytes) -> None:
    """Raise InvalidRequest when too many maps and lists stand in one another; ``text`` holds the value as JSON."""
    # It cannot be deeper than it has brackets, and these are counted in no time.
    if text.count(b"[") + text.count(b"{") > DEEPEST and _is_deep(value):
        raise InvalidRequest.at(path, f"has more than {DEEPEST} maps and lists in one another")


def _faulty_place(value: Any, path: str) -> str:
    """Return the path to the innermost value that has no JSON form."""
    for where, inner in _parts(value, path):
        try:
            to_json(inner, inf_nan_mode="constants")
        except (PydanticSerializationError, ValueError):
            return _faulty_place(inner, where)
    return path


def _parts(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield f"{path}.{key}" if path else str(key), inner
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield f"{path}[{index}]", inner


def _check(text: bytes, path: str) -> None:
    if _is_suspect(text):
        refuse_unstorable(json.loads(text, parse_int=_int), path)


def _int(digits: str) -> int:
    # Python reads no longer ones; the least of these stands for all.
    return _TOO_LARGE if len(digits.lstrip("-")) > _DIGITS else int(digits)


def _is_suspect(text: bytes) -> bool:
    """Whether something in it may be no JSON that can be stored."""
    if any(suspect in text for suspect in _SUSPECTS):
        return True
    return len(text) > _DIGITS and _LONG in text.translate(_AS_ZEROS)


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(DEEPEST):
        inside = (inner for one in level for inner in (one.values() if isinstance(one, dict) else one))
        level = [inner for inner in inside if isinstance(inner, dict | list | tuple)]
    return bool(level)


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        yield from ((f"{path}.{key!r}", key) for key in value)
    if isinstance(value, dict | list | tuple):
        for where, inner in _parts(value, path):
            yield from _leaves(inner, where)
    else:
        yield path, value
