"""From what was sent to a checked search."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar
from uuid import UUID

from jabba.errors import FieldError, InvalidRequest
from jabba.printable import quoted
from jabba.search.cursor import Cursor, begin_at, read_cursor
from jabba.search.language import (
    COLLECTIONS,
    MAX_CONDITIONS,
    MAX_DEPTH,
    POSITION,
    TASKS,
    Below,
    Collection,
    Comparison,
    Condition,
    Field,
    Group,
    Inside,
    Join,
    Kind,
    Member,
    Order,
    Related,
    Rule,
    Search,
)
from jabba.search.text_parser import read_text
from jabba.search.values import list_of, listed, read_json_value, read_value, refused, text

_ALIASES = {"started_at": "inserted_at"}
_PARTS = ("filter", "query", "order_by", "cursor", "count")

Item = TypeVar("Item")
Reader = Callable[[Any, str, int], Condition]
"""Reads a condition that stands at a path, in so many others."""


def parse_search(body: Any, collection: Collection) -> Search:
    """Check a search.

    Raises:
        InvalidRequest: names every mistake by its path, such as ``filter[2][1]``.
    """
    if not isinstance(body, Mapping):
        raise InvalidRequest.at("", f"a search is an object with some of {listed(_PARTS)}")
    mistakes = [FieldError(str(key), f"must be one of {listed(_PARTS)}") for key in body if key not in _PARTS]
    nothing: tuple[Condition, ...] = ()
    conditions = _collect(
        mistakes, lambda: parse_conditions(body.get("filter"), body.get("query"), collection), nothing
    )
    order_by: list[Order] = _collect(mistakes, lambda: _order_by(body.get("order_by"), collection), [])
    cursor = _collect(mistakes, lambda: read_cursor(body.get("cursor")), Cursor())
    counted = _collect(mistakes, lambda: _count(body.get("count")), otherwise=False)
    if mistakes:
        raise refused(mistakes)
    return begin_at(Search(collection, conditions, tuple(order_by), counted=counted), cursor)


def parse_conditions(filter: Any, query: Any, collection: Collection) -> tuple[Condition, ...]:  # noqa: A002 — its name in the interface
    """Check conditions alone, as a list and as a text; errors as for ``parse_search``."""
    mistakes: list[FieldError] = []
    conditions: list[Condition] = _collect(mistakes, lambda: _filter(filter, collection), [])
    conditions += _collect(mistakes, lambda: _query(query, collection), [])
    if mistakes:
        raise refused(mistakes)
    if (number := _number(tuple(conditions))) > MAX_CONDITIONS:
        raise InvalidRequest.at("filter", f"{number} conditions, and the limit is {MAX_CONDITIONS}")
    return tuple(conditions)


def tasks_of_job(job: UUID, conditions: tuple[Condition, ...] = (), *, cursor: Any = None, count: Any = None) -> Search:
    """Return the search for the tasks of a job that meet conditions, in their order; errors as for ``parse_search``."""
    of_job = Comparison(TASKS.fields["job_id"], Rule.EQUAL, job)
    search = Search(TASKS, (of_job, *conditions), (Order(POSITION, descending=False),), counted=_count(count))
    return begin_at(search, read_cursor(cursor))


def _collect(mistakes: list[FieldError], parse: Callable[[], Item], otherwise: Item) -> Item:
    """Return what is parsed, or note what is wrong with it and go on."""
    try:
        return parse()
    except InvalidRequest as error:
        mistakes.extend(error.fields)
        return otherwise


def _each(items: Any, path: str, parse: Callable[[Any, str], Item]) -> list[Item]:
    """Parse every item of a list, and name the mistakes of all."""
    parsed: list[Item] = []
    mistakes: list[FieldError] = []
    for number, item in enumerate(list_of(items, path)):
        try:
            parsed.append(parse(item, f"{path}[{number}]"))
        except InvalidRequest as error:
            mistakes.extend(error.fields)
    if mistakes:
        raise refused(mistakes)
    return parsed


def _filter(conditions: Any, collection: Collection) -> list[Condition]:
    if conditions is None:
        return []
    read = _condition_on(collection)
    return _each(_few(conditions, "filter"), "filter", lambda item, path: read(item, path, 0))


def _query(query: Any, collection: Collection) -> list[Condition]:
    """Read the conditions that are given as a text."""
    if query is None:
        return []
    conditions, places = read_text(text(query, "query"), collection)
    try:
        return _filter(conditions, collection)
    except InvalidRequest as error:
        raise refused([FieldError(places.of(one.field), one.message) for one in error.fields]) from error


def _number(conditions: tuple[Condition, ...]) -> int:
    nested = (one.conditions for one in conditions if not isinstance(one, Comparison | Member))
    return len(conditions) + sum(_number(inner) for inner in nested)


def _condition_on(collection: Collection) -> Reader:
    """Make the reader of conditions on the items of a collection."""

    def read(item: Any, path: str, depth: int) -> Condition:
        name, rule, value = _triple(item, path)
        if rule is None and (nested := _nested_on(collection, name)):
            make, reader = nested
            return make(_below(value, path, depth, reader or read))
        field = _field(name, f"{path}[0]", collection, *(collection.related if rule is None else ()))
        known = _rule(rule, f"{path}[1]")
        return Comparison(field, known, read_value(value, path, field, known))

    return read


def _nested_on(
    collection: Collection, name: Any
) -> tuple[Callable[[tuple[Condition, ...]], Condition], Reader | None] | None:
    """Return what a condition that holds others becomes, and how to read these if not as itself."""
    if not isinstance(name, str):
        return None
    if name in tuple(Join):
        return lambda conditions: Group(Join(name), conditions), None
    if other := collection.related.get(name):
        return lambda conditions: Related(other, conditions), _condition_on(COLLECTIONS[other])
    field = collection.fields.get(name)
    if field is not None and field.kind is Kind.JSON:
        return lambda conditions: Inside(field, conditions), _in_json
    return None


def _in_json(item: Any, path: str, depth: int) -> Condition:
    """Read a condition on a map in JSON, where a name is a key."""
    name, rule, value = _triple(item, path)
    key = text(name, f"{path}[0]")
    if rule is not None:
        known = _rule(rule, f"{path}[1]")
        return Member(key, known, read_json_value(value, path, known))
    conditions = _below(value, path, depth, _in_json)
    return Group(Join(key), conditions) if key in tuple(Join) else Below(key, conditions)


def _below(conditions: Any, path: str, depth: int, read: Reader) -> tuple[Condition, ...]:
    if depth == MAX_DEPTH:
        raise InvalidRequest.at(path, f"stands deeper than {MAX_DEPTH} conditions in one another")
    where = f"{path}[2]"
    return tuple(_each(_few(conditions, where), where, lambda item, inner: read(item, inner, depth + 1)))


def _few(conditions: Any, path: str) -> Sequence[Any]:
    """Return a list of conditions that is not too long by itself."""
    if len(list_of(conditions, path)) > MAX_CONDITIONS:
        raise InvalidRequest.at(path, f"{len(conditions)} conditions, and the limit is {MAX_CONDITIONS}")
    return list(conditions)


def _triple(item: Any, path: str) -> tuple[Any, Any, Any]:
    if not isinstance(item, list | tuple) or len(item) != 3:  # noqa: PLR2004 — field, rule, value
        raise InvalidRequest.at(path, "a condition is [field, rule, value]")
    return item[0], item[1], item[2]


def _field(name: Any, path: str, collection: Collection, *others: str) -> Field:
    field = collection.fields.get(name) if isinstance(name, str) else None
    if field is None:
        names = listed([*collection.fields, *others])
        if isinstance(name, str) and name in collection.withheld:
            raise InvalidRequest.at(path, f"{quoted(name)} of {collection.name} changes; what does not: {names}")
        raise InvalidRequest.at(path, f"{quoted(name)} is no field of {collection.name}: {names}")
    return field


def _rule(rule: Any, path: str) -> Rule:
    if rule not in tuple(Rule):
        raise InvalidRequest.at(path, f"{quoted(rule)} is no rule here: {listed(Rule)}")
    return Rule(rule)


def _order_by(keys: Any, collection: Collection) -> list[Order]:
    given = list_of([] if keys is None else keys, "order_by") or [["desc", "inserted_at"]]
    if len(given) > len(collection.fields):
        raise InvalidRequest.at("order_by", f"{len(given)} keys, and there are {len(collection.fields)} fields")
    return _each(given, "order_by", lambda item, path: _order(item, path, collection))


def _order(item: Any, path: str, collection: Collection) -> Order:
    if not isinstance(item, list | tuple) or len(item) != 2:  # noqa: PLR2004 — direction and field
        raise InvalidRequest.at(path, "an order is [direction, field]")
    direction, name = item
    if direction not in ("asc", "desc"):
        raise InvalidRequest.at(f"{path}[0]", f"{quoted(direction)} is neither asc nor desc")
    known = _ALIASES.get(name, name) if isinstance(name, str) else name
    return Order(_field(known, f"{path}[1]", collection), direction == "desc")


def _count(wanted: Any) -> bool:
    if wanted is not None and not isinstance(wanted, bool):
        raise InvalidRequest.at("count", f"{quoted(wanted)} is neither true nor false")
    return bool(wanted)
