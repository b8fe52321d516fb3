"""The language of searches: what may be asked of jobs and tasks, checked and typed, without a database.

A search is ``{"filter": [[field, rule, value], …], "order_by": [[direction, field], …], "cursor": [offset, limit]}``,
in JSON or as Python values. Conditions are joined by AND. A condition whose rule is null looks inside a JSON field:
``["meta", null, [["request_id", "equal", "…"]]]``.
"""

import reprlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, StrEnum
from typing import Any, TypeVar
from uuid import UUID

from jabba import strictjson
from jabba.errors import FieldError, InvalidRequest
from jabba.lifecycle import JobStatus, Strategy, TaskStatus

DEFAULT_LIMIT = 50
MAX_LIMIT = 1000
MAX_OFFSET = 2**31 - 1
MAX_CONDITIONS = 100
MAX_DEPTH = 20
"""How deep conditions may look into a JSON field."""


class Kind(Enum):
    """What a field holds."""

    ID = "a UUID"
    TEXT = "a text"
    INTEGER = "an integer"
    MOMENT = "a date and time as in ISO 8601"
    JSON = "a JSON value"


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a collection; ``choices`` are its only values, if it has any."""

    name: str
    kind: Kind
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Collection:
    """What is searched: the fields that conditions and order may name."""

    name: str
    fields: Mapping[str, Field]


class Rule(StrEnum):
    """How a value is compared."""

    EQUAL = "equal"


@dataclass(frozen=True, slots=True)
class Condition:
    """A field, or what stands at a path of keys inside a JSON field, compared with a value of the field's type.

    A null value asks for a field without a value, and inside a JSON field for an explicit null.
    """

    field: Field
    rule: Rule
    value: Any
    path: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Order:
    """A key of the order."""

    field: Field
    descending: bool


@dataclass(frozen=True, slots=True)
class Search:
    """A checked search: all conditions hold; ``limit`` items from ``offset`` on."""

    conditions: tuple[Condition, ...] = ()
    order_by: tuple[Order, ...] = ()
    offset: int = 0
    limit: int = DEFAULT_LIMIT


def _collection(name: str, *fields: Field) -> Collection:
    return Collection(name, {field.name: field for field in fields})


JOBS = _collection(
    "jobs",
    Field("id", Kind.ID),
    Field("name", Kind.TEXT),
    Field("type", Kind.TEXT),
    Field("status", Kind.TEXT, tuple(JobStatus)),
    Field("strategy", Kind.TEXT, tuple(Strategy)),
    Field("meta", Kind.JSON),
    Field("callback", Kind.JSON),
    Field("run_at", Kind.MOMENT),
    Field("reason", Kind.TEXT),
    Field("ended_at", Kind.MOMENT),
    Field("inserted_at", Kind.MOMENT),
    Field("updated_at", Kind.MOMENT),
)
TASKS = _collection(
    "tasks",
    Field("id", Kind.ID),
    Field("job_id", Kind.ID),
    Field("name", Kind.TEXT),
    Field("callback", Kind.JSON),
    Field("priority", Kind.INTEGER),
    Field("status", Kind.TEXT, tuple(TaskStatus)),
    Field("result", Kind.JSON),
    Field("meta", Kind.JSON),
    Field("attempt", Kind.INTEGER),
    Field("ended_at", Kind.MOMENT),
    Field("inserted_at", Kind.MOMENT),
    Field("updated_at", Kind.MOMENT),
)
_ALIASES = {"started_at": "inserted_at"}
_PARTS = ("filter", "order_by", "cursor")

Item = TypeVar("Item")


def parse_search(body: Any, collection: Collection) -> Search:
    """Check a search.

    Raises:
        InvalidRequest: names every mistake by its path, such as ``filter[2][1]``.
    """
    if not isinstance(body, Mapping):
        raise InvalidRequest.at("", "a search is an object with filter, order_by and cursor")
    mistakes = [FieldError(str(key), f"must be one of {_listed(_PARTS)}") for key in body if key not in _PARTS]
    conditions = _collect(mistakes, lambda: _filter(body.get("filter"), collection))
    order_by = _collect(mistakes, lambda: _order_by(body.get("order_by"), collection))
    cursor = _collect(mistakes, lambda: _cursor(body.get("cursor")))
    if mistakes:
        raise _refused(mistakes)
    return Search(tuple(conditions), tuple(order_by), *cursor)


def _collect(mistakes: list[FieldError], parse: Callable[[], list[Item]]) -> list[Item]:
    """Answer what is parsed, or note what is wrong with it and go on."""
    try:
        return parse()
    except InvalidRequest as error:
        mistakes.extend(error.fields)
        return []


def _refused(mistakes: list[FieldError]) -> InvalidRequest:
    return InvalidRequest("; ".join(f"{one.field}: {one.message}" for one in mistakes), mistakes)


def _each(items: Any, path: str, parse: Callable[[Any, str], list[Item]]) -> list[Item]:
    """Parse every item of a list, and name the mistakes of all."""
    parsed: list[Item] = []
    mistakes: list[FieldError] = []
    for number, item in enumerate(_list_of(items, path)):
        parsed += _collect(mistakes, lambda item=item, number=number: parse(item, f"{path}[{number}]"))  # type: ignore[misc]
    if mistakes:
        raise _refused(mistakes)
    return parsed


def _list_of(value: Any, path: str) -> Sequence[Any]:
    if not isinstance(value, list | tuple):
        raise InvalidRequest.at(path, "must be a list")
    return value


def _filter(conditions: Any, collection: Collection) -> list[Condition]:
    if conditions is None:
        return []
    parsed = _each(conditions, "filter", lambda item, path: _condition(item, path, collection))
    if len(parsed) > MAX_CONDITIONS:
        raise InvalidRequest.at("filter", f"{len(parsed)} conditions, and the limit is {MAX_CONDITIONS}")
    return parsed


def _condition(item: Any, path: str, collection: Collection) -> list[Condition]:
    name, rule, value = _triple(item, path)
    field = _field(name, f"{path}[0]", collection)
    if rule is None and field.kind is Kind.JSON:
        return _each(value, f"{path}[2]", lambda inner, where: _inside(inner, where, field, ()))
    return [Condition(field, _rule(rule, f"{path}[1]"), _value(value, f"{path}[2]", field))]


def _inside(item: Any, path: str, field: Field, keys: tuple[str, ...]) -> list[Condition]:
    """Read a condition on what stands below ``keys`` in a JSON field."""
    key, rule, value = _triple(item, path)
    below = (*keys, _text(key, f"{path}[0]"))
    if len(below) > MAX_DEPTH:
        raise InvalidRequest.at(path, f"looks deeper than {MAX_DEPTH} keys")
    if rule is None:
        return _each(value, f"{path}[2]", lambda inner, where: _inside(inner, where, field, below))
    return [Condition(field, _rule(rule, f"{path}[1]"), _json(value, f"{path}[2]"), below)]


def _triple(item: Any, path: str) -> tuple[Any, Any, Any]:
    if not isinstance(item, list | tuple) or len(item) != 3:  # noqa: PLR2004 — field, rule, value
        raise InvalidRequest.at(path, "a condition is [field, rule, value]")
    return item[0], item[1], item[2]


def _field(name: Any, path: str, collection: Collection) -> Field:
    field = collection.fields.get(name) if isinstance(name, str) else None
    if field is None:
        raise InvalidRequest.at(path, f"{_shown(name)} is no field of {collection.name}: {_listed(collection.fields)}")
    return field


def _rule(rule: Any, path: str) -> Rule:
    if rule not in tuple(Rule):
        raise InvalidRequest.at(path, f"{_shown(rule)} is no rule here: {_listed(Rule)}")
    return Rule(rule)


def _value(value: Any, path: str, field: Field) -> Any:
    if value is None:
        return None
    if field.choices and value not in field.choices:
        raise InvalidRequest.at(path, f"{_shown(value)} is no {field.name}: {_listed(field.choices)}")
    return _READERS[field.kind](value, path)


def _text(value: Any, path: str) -> str:
    if not isinstance(value, str):
        raise InvalidRequest.at(path, f"{_shown(value)} is not {Kind.TEXT.value}")
    strictjson.encode(value, path)
    return value


def _integer(value: Any, path: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidRequest.at(path, f"{_shown(value)} is not {Kind.INTEGER.value}")
    return value


def _id(value: Any, path: str) -> UUID:
    try:
        return value if isinstance(value, UUID) else UUID(value)
    except (ValueError, TypeError, AttributeError) as error:
        raise InvalidRequest.at(path, f"{_shown(value)} is not {Kind.ID.value}") from error


def _moment(value: Any, path: str) -> datetime:
    """Read a moment; one without a time zone is UTC."""
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    except (ValueError, TypeError) as error:
        raise InvalidRequest.at(path, f"{_shown(value)} is not {Kind.MOMENT.value}") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _json(value: Any, path: str) -> Any:
    strictjson.encode(value, path)
    return value


_READERS: dict[Kind, Callable[[Any, str], Any]] = {
    Kind.ID: _id,
    Kind.TEXT: _text,
    Kind.INTEGER: _integer,
    Kind.MOMENT: _moment,
    Kind.JSON: _json,
}


def _order_by(keys: Any, collection: Collection) -> list[Order]:
    given = [["desc", "inserted_at"]] if keys is None else keys
    return _each(given, "order_by", lambda item, path: [_order(item, path, collection)])


def _order(item: Any, path: str, collection: Collection) -> Order:
    if not isinstance(item, list | tuple) or len(item) != 2:  # noqa: PLR2004 — direction and field
        raise InvalidRequest.at(path, "an order is [direction, field]")
    direction, name = item
    if direction not in ("asc", "desc"):
        raise InvalidRequest.at(f"{path}[0]", f"{_shown(direction)} is neither asc nor desc")
    known = _ALIASES.get(name, name) if isinstance(name, str) else name
    return Order(_field(known, f"{path}[1]", collection), direction == "desc")


def _cursor(cursor: Any) -> list[int]:
    if cursor is None:
        return [0, DEFAULT_LIMIT]
    if len(_list_of(cursor, "cursor")) != 2:  # noqa: PLR2004 — offset and limit
        raise InvalidRequest.at("cursor", "must be [offset, limit]")
    bounds = [("offset", 0, MAX_OFFSET), ("limit", 1, MAX_LIMIT)]
    for number, (name, least, most) in enumerate(bounds):
        if not least <= _integer(cursor[number], f"cursor[{number}]") <= most:
            raise InvalidRequest.at(f"cursor[{number}]", f"the {name} must be from {least} to {most}")
    return list(cursor)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)


def _shown(value: Any) -> str:
    """Answer enough of a value to recognise it."""
    return _SHORT.repr(value)


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 80
