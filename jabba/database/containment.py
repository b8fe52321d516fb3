"""Which documents a JSON map must contain, one of them, to meet conditions: for these PostgreSQL has an index.

``{"a": {"b": 1}}`` contains ``{"a": {"b": 1}}``, and a list contains a list when each item of the second is contained
in some item of the first. So a map below a key, alone or in a list, makes two documents.
"""

from collections.abc import Iterable
from itertools import product
from typing import Any

from jabba.search import Below, Condition, Member, Rule

_MOST = 8
"""With more documents than these, reading the rows is the lesser work."""


def documents(conditions: Iterable[Condition]) -> list[dict[str, Any]] | None:
    """Return the documents, or None when containment does not say all of it.

    It does for maps of scalars: of a list or a map it means a part.
    """
    found: list[dict[str, Any]] = [{}]
    for condition in conditions:
        alternatives = _documents(condition)
        if alternatives is None or len(found) * len(alternatives) > _MOST:
            return None
        if any(known.keys() & new.keys() for known, new in product(found, alternatives)):
            return None
        found = [known | new for known, new in product(found, alternatives)]
    return found


def _documents(condition: Condition) -> list[dict[str, Any]] | None:
    match condition:
        case Member(key, Rule.EQUAL, value) if not isinstance(value, dict | list | tuple):
            return [{key: value}]
        case Below(key, conditions):
            inner = documents(conditions)
            return inner and [{key: form} for one in inner for form in (one, [one])]
    return None
