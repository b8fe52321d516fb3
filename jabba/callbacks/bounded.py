"""What callbacks return, as bounded JSON and bounded text: a result costs no more than what is kept of it.

A callback may return an endless iterator, a list of millions of numbers, or an object whose ``repr`` raises. None of it
may hold up the worker's other steps, fill its memory, or get into the log in a form that cannot be read back.
"""

import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import date, datetime, timedelta
from datetime import time as time_of_day
from decimal import Decimal
from enum import Enum
from typing import Any, NamedTuple
from uuid import UUID

from pydantic import ValidationError

from jabba.errors import InvalidRequest
from jabba.jobs import json_codec

LONGEST_TEXT = 10_000
"""Characters of a ``repr`` or an exception's text that are kept."""

SERIALIZE_SECONDS = 10.0
"""How long it may take to read a result, whose iterators may be slow."""

_PLAIN_VALUES = 5_000
"""So many values are encoded or shown in no time."""

_LEAVES = frozenset({str, int, float, bool, type(None), bytes, UUID, datetime, date, time_of_day, timedelta, Decimal})
_TEXTS = (str, bytes, bytearray)


class Unstorable(Exception):
    """A result has no form in which it can be stored; the message continues "the result …"."""


class StoredJson(NamedTuple):
    """A value as it is stored, and as it is read back."""

    value: Any
    text: bytes


def is_plain(value: Any) -> bool:
    """Whether a value is small and of builtin types, so that reading it runs no foreign code and takes no time."""
    return _size_within(value, _PLAIN_VALUES, foreign=False)


def to_stored_json(value: Any, limit: int, monotonic: Callable[[], float] = time.monotonic) -> StoredJson:
    """Encode a result, reading every iterator in it once.

    Args:
        value: the result.
        limit: the bytes that its JSON may have.
        monotonic: the clock that bounds the reading of slow iterators.

    Raises:
        Unstorable: it has no JSON form, is too large or too deep, takes too long, or has two keys with one text.
    """
    if not is_plain(value):
        value = _Copy(limit, monotonic).of(value, 0)
    try:
        text = json_codec.encode(value)
    except InvalidRequest as error:
        [fault] = error.fields
        raise Unstorable(f"{fault.message}, at {fault.field}" if fault.field else fault.message) from error
    if len(text) > limit:
        raise Unstorable(f"has {len(text):,} bytes of JSON, and the limit is {limit:,}")
    try:
        found = json_codec.decode(text)
        json_codec.refuse_deep(found, "", text)
    except InvalidRequest as error:
        raise Unstorable(error.message) from error
    except ValueError as error:
        # Only what is deeper than readers go is JSON and cannot be read.
        raise Unstorable(f"cannot be read back: {error}") from error
    if (key := json_codec.merged_key(text)) is not None:
        raise Unstorable(f"has two keys that both become {key!r} in JSON")
    return StoredJson(found, text)


def shown(value: Any, how: Callable[[Any], str] = repr) -> str:
    """Return a text for people, of a bounded length and in a bounded time, whatever the value does."""
    try:
        if isinstance(value, ValidationError):
            return json_codec.storable(without_inputs(value)[:LONGEST_TEXT])
        content = value.args if isinstance(value, BaseException) else value
        if not _size_within(content, LONGEST_TEXT, foreign=True):
            value = _beginning(value)
        return json_codec.storable(how(value)[:LONGEST_TEXT])
    except BaseException as error:  # noqa: BLE001 — a foreign __repr__ or __str__ may raise anything
        return f"<{type(value).__name__} whose {how.__name__} raises {type(error).__name__}>"


def without_inputs(error: ValidationError) -> str:
    """Return pydantic's report without the values that were refused: they may be secrets."""
    problems = error.errors(include_url=False, include_input=False, include_context=False)
    lines = [
        f"{'.'.join(map(str, one['loc'])) or '(root)'}: {one['msg']} [type={one['type']}]" for one in problems[:100]
    ]
    return "\n".join([f"{error.error_count()} validation errors for {error.title}", *lines])


class _Copy:
    """Copies a value with its iterators read, as long as there is time and room."""

    def __init__(self, limit: int, monotonic: Callable[[], float]) -> None:
        self._limit = limit
        self._bytes = 0
        self._monotonic = monotonic
        self._until = monotonic() + SERIALIZE_SECONDS

    def of(self, value: Any, depth: int) -> Any:
        if isinstance(value, _TEXTS):
            self._add(len(value) + 2)
            return value
        self._add(1)
        if depth > json_codec.DEEPEST:
            raise Unstorable(f"has more than {json_codec.DEEPEST} maps and lists in one another")
        if isinstance(value, dict):
            # No map: it would lose one of two keys with one text.
            return {self._key(key): self.of(inner, depth + 1) for key, inner in self._each(value.items())}
        if isinstance(value, list | tuple | set | frozenset | Iterator):
            return [self.of(inner, depth + 1) for inner in self._each(value)]
        if _is_dataclass(value):
            fields = [one.name for one in dataclasses.fields(value)]
            return {name: self.of(getattr(value, name), depth + 1) for name in fields}
        return value

    def _key(self, key: Any) -> Any:
        self._add(len(key) + 2 if isinstance(key, _TEXTS) else 2)
        return key

    def _each(self, values: Iterable[Any]) -> Iterator[Any]:
        for value in values:
            self._add(1)
            yield value

    def _add(self, size: int) -> None:
        self._bytes += size
        # The last comma is one too many.
        if self._bytes > self._limit + 1:
            raise Unstorable(f"has more than {self._limit:,} bytes of JSON, which is the limit")
        if self._monotonic() > self._until:
            raise Unstorable(f"took longer than {SERIALIZE_SECONDS:g} s to be read")


def _size_within(value: Any, limit: int, *, foreign: bool) -> bool:
    """Whether a value has at most ``limit`` values; other than builtin ones are looked into only if ``foreign``."""
    left = limit
    level = [value]
    while level:
        inside: list[Any] = []
        for one in level:
            if (size := _size(one, foreign=foreign)) is None or (left := left - size) < 0:
                return False
            inside += _parts(one)
        level = inside
    return True


def _size(value: Any, *, foreign: bool) -> int | None:
    """Return how many values there are, texts by their kilobytes; None of what would have to be called for that."""
    kind = type(value)
    if kind in _LEAVES:
        return 1 + (len(value) >> 10 if kind is str or kind is bytes else 0)
    if kind in _CONTAINERS or (foreign and isinstance(value, Mapping | Sequence | AbstractSet)):
        return 1 + len(value)
    return 1 if foreign or isinstance(value, Enum) or _is_dataclass(value) else None


def _parts(value: Any) -> Iterable[Any]:
    if isinstance(value, Mapping):
        return [*value.keys(), *value.values()]
    if isinstance(value, Sequence | AbstractSet) and not isinstance(value, (*_TEXTS, memoryview, range)):
        return value
    if isinstance(value, Enum):
        return (value.value,)
    if _is_dataclass(value):
        return [getattr(value, one.name, None) for one in dataclasses.fields(value)]
    return ()


def _is_dataclass(value: Any) -> bool:
    """Whether it is an instance of a dataclass; pydantic has its own."""
    return dataclasses.is_dataclass(value) and not isinstance(value, type) and not hasattr(value, _PYDANTICS)


_PYDANTICS = "__pydantic_serializer__"
_CONTAINERS = frozenset({dict, list, tuple, set, frozenset})


def _beginning(value: Any) -> Any:
    """Return something whose ``repr`` begins as that of a large value does."""
    if type(value) in _TEXTS:
        return value[:LONGEST_TEXT]
    if type(value) in (list, tuple):
        return type(value)(_shortened(inner) for inner in value[: LONGEST_TEXT // 3])
    return _Placeholder(value)


def _shortened(value: Any) -> Any:
    return value if _size_within(value, 100, foreign=True) else _Placeholder(value)


class _Placeholder:
    """Stands for a value that is too large to be shown."""

    def __init__(self, value: Any) -> None:
        size = f" of {len(value):,}" if hasattr(value, "__len__") else ""
        self._text = f"<large {type(value).__name__}{size}>"

    def __repr__(self) -> str:
        return self._text
