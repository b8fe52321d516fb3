"""Checked conditions in the form in which they are sent; ``parse_search`` reads them back as they were."""

from collections.abc import Iterable, Sequence
from typing import Any

from jabba.search.language import (
    COLLECTIONS,
    Below,
    Collection,
    Comparison,
    Condition,
    Group,
    Inside,
    Member,
    Order,
    Related,
)

Written = list[Any]
"""``[field, rule, value]``."""


def write_conditions(conditions: Iterable[Condition], collection: Collection) -> list[Written]:
    """Write conditions on the items of a collection."""
    return [_written(condition, collection) for condition in conditions]


def write_order(keys: Sequence[Order]) -> list[list[str]]:
    """Write an order."""
    return [["desc" if key.descending else "asc", key.field.name] for key in keys]


def _written(condition: Condition, collection: Collection) -> Written:
    match condition:
        case Comparison(field, rule, value):
            return [field.name, rule.value, list(value) if isinstance(value, tuple) else value]
        case Member(key, rule, value):
            return [key, rule.value, list(value) if isinstance(value, tuple) else value]
        case Group(join, conditions):
            return [join.value, None, write_conditions(conditions, collection)]
        case Inside(field, conditions):
            return [field.name, None, write_conditions(conditions, collection)]
        case Below(key, conditions):
            return [key, None, write_conditions(conditions, collection)]
        case Related(other, conditions):
            (name,) = (name for name, related in collection.related.items() if related == other)
            return [name, None, write_conditions(conditions, COLLECTIONS[other])]
