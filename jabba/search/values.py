"""The values of conditions: each rule takes what its field can hold, and every mistake is named by its path."""

import re
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from jabba.errors import FieldError, InvalidRequest
from jabba.jobs import json_codec
from jabba.printable import quoted
from jabba.search.language import MAX_VALUES, ONE_OF, ORDERED, Field, Kind, Rule

_LAST = chr(0x10FFFF)
_INTEGER = re.compile(r"-?\d{1,400}", re.ASCII)

# Of what stands between day and time Python reads the time behind any sign: a day with a zone would become an hour.
_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d|\d{8}|\d{4}-?W\d\d(-?\d)?)([Tt ].+)?", re.ASCII)
_ZONES_END = timedelta(hours=16)
"""PostgreSQL takes no zone so far from UTC."""


def read_value(value: Any, path: str, field: Field, rule: Rule) -> Any:
    """Read what a field is compared with; a list of it for the rules that take one.

    Raises:
        InvalidRequest: the rule is not for such a field, or the value is not what the field holds.
    """
    if field.kind is Kind.JSON:
        return read_json_value(value, path, rule)
    if rule is Rule.CONTAINS or (rule is Rule.LIKE and field.kind is not Kind.TEXT):
        raise InvalidRequest.at(f"{path}[1]", f"{rule} is no rule for {field.name}, which holds {field.kind.value}")
    where = f"{path}[2]"
    if rule is Rule.LIKE:
        return text(value, where)
    if rule in ONE_OF:
        return tuple(_one(item, f"{where}[{number}]", field) for number, item in enumerate(_values(value, where)))
    if value is None and rule in ORDERED:
        raise InvalidRequest.at(where, f"nothing is ordered before or after null; {rule} takes {field.kind.value}")
    return _one(value, where, field)


def read_json_value(value: Any, path: str, rule: Rule) -> Any:
    """Read what something in JSON is compared with; errors as ``read_value``."""
    where = f"{path}[2]"
    if rule is Rule.LIKE:
        return text(value, where)
    if rule in ONE_OF:
        return tuple(_json(item, f"{where}[{number}]") for number, item in enumerate(_values(value, where)))
    if rule in ORDERED and (isinstance(value, bool) or not isinstance(value, str | int | float)):
        raise InvalidRequest.at(where, f"{quoted(value)} is neither a number nor a text, and {rule} orders only those")
    return _json(value, where)


def list_of(value: Any, path: str) -> Sequence[Any]:
    """Return a list or tuple, refuse anything else."""
    if not isinstance(value, list | tuple):
        raise InvalidRequest.at(path, "must be a list")
    return value


def text(value: Any, path: str) -> str:
    """Return a text that can be stored."""
    if not isinstance(value, str):
        raise InvalidRequest.at(path, f"{quoted(value)} is not {Kind.TEXT.value}")
    json_codec.encode(value, path)
    return value


def integer(value: Any, path: str) -> int:
    """Return an integer, which true and false are not."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidRequest.at(path, f"{quoted(value)} is not {Kind.INTEGER.value}")
    return value


def written(value: str, field: Field | None) -> int | str:
    """Read an integer where a field holds one; whatever else is written is its text, and checked as such."""
    is_integer = field is not None and field.kind is Kind.INTEGER and _INTEGER.fullmatch(value)
    return int(value) if is_integer else value


def refused(mistakes: list[FieldError]) -> InvalidRequest:
    """Make one error of all mistakes."""
    return InvalidRequest("; ".join(f"{one.field}: {one.message}" for one in mistakes), mistakes)


def listed(names: Iterable[str]) -> str:
    """Write names in a row."""
    return ", ".join(names)


def _values(value: Any, path: str) -> Sequence[Any]:
    if len(list_of(value, path)) > MAX_VALUES:
        raise InvalidRequest.at(path, f"{len(value)} values, and the limit is {MAX_VALUES}")
    return list(value)


def _one(value: Any, path: str, field: Field) -> Any:
    if value is None:
        return None
    if field.choices and value not in field.choices:
        raise InvalidRequest.at(path, f"{quoted(value)} is no {field.name}: {listed(field.choices)}")
    return _READERS[field.kind](value, path)


def _id(value: Any, path: str) -> UUID:
    try:
        return value if isinstance(value, UUID) else UUID(value)
    except (ValueError, TypeError, AttributeError) as error:
        raise InvalidRequest.at(path, f"{quoted(value)} is not {Kind.ID.value}") from error


def _moment(value: Any, path: str) -> datetime:
    """Read a moment as one of UTC, which it also is without a time zone."""
    moment = value if isinstance(value, datetime) else _written_moment(value, path)
    if (offset := moment.utcoffset()) is None:
        return moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        # The first and last hours of the calendar have no form in UTC; PostgreSQL knows the zones of most.
        if abs(offset) >= _ZONES_END:
            raise InvalidRequest.at(path, f"{quoted(value)} is too far from the years 1 to 9999 of UTC") from error
        return moment


def _written_moment(value: Any, path: str) -> datetime:
    try:
        if _MOMENT.fullmatch(value):
            return datetime.fromisoformat(value.upper())
    except (ValueError, TypeError):
        pass
    raise InvalidRequest.at(path, f"{quoted(value)} is not {Kind.MOMENT.value}")


def _json(value: Any, path: str) -> Any:
    json_codec.encode(value, path)
    return value


_READERS: dict[Kind, Callable[[Any, str], Any]] = {
    Kind.ID: _id,
    Kind.TEXT: text,
    Kind.INTEGER: integer,
    Kind.MOMENT: _moment,
}


def bounds_of_prefix(prefix: str) -> list[tuple[Rule, str]]:
    """Return between which texts, by their characters, are those that begin with a prefix."""
    lower = (Rule.GREATER_THAN_OR_EQUAL, prefix)
    kept = prefix.rstrip(_LAST)
    if not kept:
        return [lower]
    # Between these two stand the surrogates, which are no characters.
    following = "\ue000" if kept[-1] == "\ud7ff" else chr(ord(kept[-1]) + 1)
    return [lower, (Rule.LESS_THAN, kept[:-1] + following)]
