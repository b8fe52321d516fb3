"""The language of searches: what may be asked of jobs and tasks, checked and typed, without a database.

A search is ``{"filter": [[field, rule, value], …], "order_by": [[direction, field], …], "cursor": [offset, limit],
"count": false}``, in JSON or as Python values. Conditions are joined by AND. A condition whose rule is null holds
others: inside a JSON field (``meta``), on what belongs to an item (``tasks``, ``job``), or joined by ``and``, ``or``
and ``not``.
"""

from jabba.search.cursor import MAX_LIMIT, MAX_OFFSET, write_token
from jabba.search.language import (
    DEFAULT_LIMIT,
    EVENTS,
    JOBS,
    JOBS_OF_EVENTS,
    MAX_CONDITIONS,
    MAX_DEPTH,
    MAX_TEXT,
    MAX_VALUES,
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
    taken_for_group,
)
from jabba.search.matching import Item, meets, relates
from jabba.search.parser import parse_conditions, parse_search, tasks_of_job
from jabba.search.text_writer import write_text
from jabba.search.values import bounds_of_prefix, written

__all__ = [
    "DEFAULT_LIMIT",
    "EVENTS",
    "JOBS",
    "JOBS_OF_EVENTS",
    "MAX_CONDITIONS",
    "MAX_DEPTH",
    "MAX_LIMIT",
    "MAX_OFFSET",
    "MAX_TEXT",
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
    "Item",
    "Join",
    "Kind",
    "Member",
    "Order",
    "Related",
    "Rule",
    "Search",
    "bounds_of_prefix",
    "meets",
    "parse_conditions",
    "parse_search",
    "relates",
    "taken_for_group",
    "tasks_of_job",
    "write_text",
    "write_token",
    "written",
]
