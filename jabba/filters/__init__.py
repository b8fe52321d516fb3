"""The language of searches: what may be asked of jobs and tasks, checked and typed, without a database.

A search is ``{"filter": [[field, rule, value], …], "order_by": [[direction, field], …], "cursor": [offset, limit]}``,
in JSON or as Python values. Conditions are joined by AND. A condition whose rule is null holds
others: inside a JSON field (``meta``), on what belongs to an item (``tasks``, ``job``), or joined by ``and``, ``or``
and ``not``.
"""

from jabba.filters.language import (
    JOBS,
    ONE_OF,
    ORDERED,
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
from jabba.filters.parsing import (
    DEFAULT_LIMIT,
    MAX_CONDITIONS,
    MAX_DEPTH,
    MAX_LIMIT,
    MAX_OFFSET,
    MAX_VALUES,
    parse_search,
)

__all__ = [
    "DEFAULT_LIMIT",
    "JOBS",
    "MAX_CONDITIONS",
    "MAX_DEPTH",
    "MAX_LIMIT",
    "MAX_OFFSET",
    "MAX_VALUES",
    "ONE_OF",
    "ORDERED",
    "TASKS",
    "Below",
    "Collection",
    "Comparison",
    "Condition",
    "Field",
    "Group",
    "Inside",
    "Join",
    "Kind",
    "Member",
    "Order",
    "Related",
    "Rule",
    "Search",
    "parse_search",
]
