"""What stands behind an item in the order of a search: the condition by which the next page begins there.

As PostgreSQL orders: null comes after every value when ascending, and before when descending.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, Text, and_, cast, false, literal, or_, true, tuple_
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.sql.selectable import FromClause

from jabba.search import Kind, Order

Boolean = ColumnElement[bool]

_NEVER_NULL = frozenset({"attempt", "id", "inserted_at", "job_id", "position", "status", "updated_at"})


def key_of(order: Order, table: FromClause) -> ColumnElement[Any]:
    """Return what a key orders; texts by their characters, the same in every database and as Python does."""
    column = table.c[order.field.name]
    return column.collate("C") if order.field.kind is Kind.TEXT else column


def direction_of(order: Order, table: FromClause) -> ColumnElement[Any]:
    """Return a key with its direction."""
    key = key_of(order, table)
    return key.desc() if order.descending else key.asc()


def behind(keys: Sequence[Order], values: Sequence[Any], table: FromClause) -> Boolean:
    """Return the condition of what comes behind an item with these values of the keys.

    A row comparison, where it says all of it, is one walk of an index; else the first key tells where to begin.
    """
    if None not in values and _alike(keys):
        left = tuple_(*(key_of(key, table) for key in keys))
        right = tuple_(*(_bound(key, value) for key, value in zip(keys, values, strict=True)))
        return left < right if keys[0].descending else left > right
    return _behind([_Place(key, value, key_of(key, table)) for key, value in zip(keys, values, strict=True)])


def _alike(keys: Sequence[Order]) -> bool:
    """Whether comparing rows says it: in one direction, with no null that would come behind."""
    if any(key.descending != keys[0].descending for key in keys):
        return False
    return keys[0].descending or all(key.field.name in _NEVER_NULL for key in keys)


class _Place(NamedTuple):
    """The place of an item in the order of one key."""

    key: Order
    value: Any
    column: ColumnElement[Any]

    def behind(self) -> Boolean:
        """Return what comes behind it."""
        if self.value is None:
            return self.column.is_not(None) if self.key.descending else false()
        bound = _bound(self.key, self.value)
        return self.column < bound if self.key.descending else self._or_null(self.column > bound)

    def not_before(self) -> Boolean:
        """Return what comes behind it or stands beside it."""
        if self.value is None:
            return true() if self.key.descending else self.column.is_(None)
        bound = _bound(self.key, self.value)
        return self.column <= bound if self.key.descending else self._or_null(self.column >= bound)

    def _or_null(self, condition: Boolean) -> Boolean:
        return condition if self.key.field.name in _NEVER_NULL else or_(condition, self.column.is_(None))


def _behind(places: Sequence[_Place]) -> Boolean:
    first, *rest = places
    return and_(first.not_before(), or_(first.behind(), _behind(rest))) if rest else first.behind()


def _bound(key: Order, value: Any) -> ColumnElement[Any]:
    """Bind a value as psycopg2 takes it; JSON is read from its text."""
    if key.field.kind is Kind.JSON:
        return cast(literal(value, Text), JSONB)
    return literal(str(value) if isinstance(value, UUID) else value, Text)
