"""What checked conditions mean, in plain Python: for what is in no database."""

from collections.abc import Iterable
from typing import Any, Protocol

from jabba.search.comparing import MISSING, compares, json_compares
from jabba.search.language import Below, Comparison, Condition, Group, Inside, Join, Kind, Member, Related


class Item(Protocol):
    """What conditions are about."""

    def held(self, field: str) -> Any:
        """Return what stands in a field; None when nothing does."""
        ...

    def related(self, collection: str) -> "Iterable[Item]":
        """Return what belongs to it in another collection."""
        ...


def meets(item: Item, conditions: Iterable[Condition]) -> bool:
    """Return whether an item meets all conditions."""
    return all(_meets(item, condition) for condition in conditions)


def relates(condition: Condition) -> bool:
    """Return whether a condition asks for what belongs to an item, and not of the item alone."""
    return isinstance(condition, Related) or (isinstance(condition, Group) and any(map(relates, condition.conditions)))


def _meets(item: Item, condition: Condition) -> bool:
    match condition:
        case Comparison(field, rule, value):
            compare = json_compares if field.kind is Kind.JSON else compares
            return compare(item.held(field.name), rule, value)
        case Group(join, conditions):
            return _joined(join, (_meets(item, one) for one in conditions))
        case Related(collection, conditions):
            return any(meets(other, conditions) for other in item.related(collection))
        case Inside(field, conditions):
            return _map_meets(item.held(field.name), conditions)
    raise TypeError(condition)


def _joined(join: Join, held: Iterable[bool]) -> bool:
    return any(held) if join is Join.OR else all(held) == (join is Join.AND)


def _map_meets(document: Any, conditions: Iterable[Condition]) -> bool:
    return isinstance(document, dict) and all(_member_meets(document, condition) for condition in conditions)


def _member_meets(document: dict[str, Any], condition: Condition) -> bool:
    match condition:
        case Member(key, rule, value):
            return json_compares(document.get(key, MISSING), rule, value)
        case Group(join, conditions):
            return _joined(join, (_member_meets(document, one) for one in conditions))
        case Below(key, conditions):
            below = document.get(key)
            return any(_map_meets(one, conditions) for one in (below if isinstance(below, list) else [below]))
    raise TypeError(condition)
