"""What each rule means for a value, in plain Python, as PostgreSQL has it."""

import operator
from collections.abc import Callable
from typing import Any

from jabba.search.language import ONE_OF, Rule

MISSING = object()
"""What stands in JSON under a key that is not there."""

_COMPARE: dict[Rule, Callable[[Any, Any], Any]] = {
    Rule.LESS_THAN: operator.lt,
    Rule.LESS_THAN_OR_EQUAL: operator.le,
    Rule.GREATER_THAN: operator.gt,
    Rule.GREATER_THAN_OR_EQUAL: operator.ge,
}


def compares(held: Any, rule: Rule, value: Any) -> bool:
    """Return whether what a field holds, or None, compares so with a value of its type."""
    if rule in ONE_OF:
        return (held in value) == (rule is not Rule.NOT_IN)
    if rule in (Rule.EQUAL, Rule.NOT_EQUAL):
        return bool(held == value) == (rule is Rule.EQUAL)
    if held is None:
        return False
    return value.lower() in held.lower() if rule is Rule.LIKE else bool(_COMPARE[rule](held, value))


def json_compares(held: Any, rule: Rule, value: Any) -> bool:
    """Return whether a JSON value, or ``MISSING``, compares so with another one."""
    if rule in ONE_OF:
        return any(_same(held, one) for one in value) == (rule is not Rule.NOT_IN)
    if rule is Rule.NOT_EQUAL and value is None:
        return held is not MISSING and held is not None
    if rule in (Rule.EQUAL, Rule.NOT_EQUAL):
        return _same(held, value) == (rule is Rule.EQUAL)
    if rule is Rule.CONTAINS:
        return isinstance(held, list) and _holds(held, value if isinstance(value, list) else [value])
    if rule is Rule.LIKE:
        return isinstance(held, str) and value.lower() in held.lower()
    return sort_of(held) == sort_of(value) and bool(_COMPARE[rule](held, value))


def sort_of(value: Any) -> str:
    """Return what JSON calls a value: true is no number."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return "number"
    return type(value).__name__


def _same(left: Any, right: Any) -> bool:
    if sort_of(left) != sort_of(right):
        return False
    if isinstance(left, list):
        return len(left) == len(right) and all(map(_same, left, right))
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(_same(left[key], right[key]) for key in left)
    return bool(left == right)


def _holds(held: Any, part: Any) -> bool:
    """Return whether JSON contains other JSON, as ``@>`` does."""
    if isinstance(held, list) and isinstance(part, list):
        return all(any(_holds(item, one) for item in held) for one in part)
    if isinstance(held, dict) and isinstance(part, dict):
        return all(key in held and _holds(held[key], part[key]) for key in part)
    return not isinstance(held, list | dict) and _same(held, part)
