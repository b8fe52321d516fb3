"""From a checked search to SQL. Every value is bound; nothing of a request becomes part of a statement's text."""

from functools import reduce
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, ColumnElement, Select, Table, Text, and_, cast, literal, select
from sqlalchemy.dialects.postgresql import JSONB

from jabba import strictjson
from jabba.filters import Condition, Kind, Order, Rule, Search


def compile_search(search: Search, table: Table, answered: list[ColumnElement[Any]]) -> Select[Any]:
    """Make the statement that answers a search with these columns, in an order that never has two ways."""
    keys = [_order(key, table) for key in search.order_by]
    return (
        select(*answered)
        .where(*(_condition(condition, table) for condition in search.conditions))
        .order_by(*keys, table.c.id)
        .offset(search.offset)
        .limit(search.limit)
    )


def _order(key: Order, table: Table) -> ColumnElement[Any]:
    column = table.c[key.field.name]
    return column.desc() if key.descending else column.asc()


def _condition(condition: Condition, table: Table) -> ColumnElement[bool]:
    column = table.c[condition.field.name]
    compiler = _INSIDE if condition.path else _WHOLE
    return compiler[condition.rule](column, condition)


def _equal(column: ColumnElement[Any], condition: Condition) -> ColumnElement[bool]:
    if condition.value is None:
        return column.is_(None)
    if condition.field.kind is Kind.JSON:
        return column == _json(condition.value)
    return column == literal(_bound(condition.value), Text)


def _equal_inside(column: ColumnElement[Any], condition: Condition) -> ColumnElement[bool]:
    """Use the index, which knows what a document contains; of a list or map that means a part, so compare it too."""
    document = reduce(lambda inner, key: {key: inner}, reversed(condition.path), condition.value)
    contains: ColumnElement[bool] = column.op("@>")(_json(document))
    if not isinstance(condition.value, dict | list | tuple):
        return contains
    path = cast(literal(list(condition.path), ARRAY(Text)), ARRAY(Text))
    return and_(contains, column.op("#>")(path) == _json(condition.value))


_WHOLE = {Rule.EQUAL: _equal}
_INSIDE = {Rule.EQUAL: _equal_inside}


def _json(value: Any) -> ColumnElement[Any]:
    return cast(literal(strictjson.encode(value).decode(), Text), JSONB)


def _bound(value: Any) -> Any:
    """Answer a value as psycopg2 takes it; PostgreSQL reads ids and statuses from their text."""
    return str(value) if isinstance(value, str | UUID) else value
