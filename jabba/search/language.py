"""What a checked search is made of, and the fields that it may name."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import Any

from jabba.jobs.lifecycle import JobStatus, Strategy, TaskStatus
from jabba.messages.events import KINDS

DEFAULT_LIMIT = 50
MAX_CONDITIONS = 100
"""How many conditions a search may have, those that hold others included."""
MAX_DEPTH = 20
"""How deep conditions may stand in others."""
MAX_VALUES = 1000
"""How many values ``in`` and its like may list."""
MAX_TEXT = 65_536
"""How many characters a search in text may have."""


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
    """What is searched: the fields that conditions and order may name.

    ``related`` names what belongs to an item: the name of the association and that of the other collection. What is
    ``withheld`` is there, and changes, so that no condition of this collection may be on it.
    """

    name: str
    fields: Mapping[str, Field]
    related: Mapping[str, str] = field(default_factory=dict)
    withheld: frozenset[str] = frozenset()


class Rule(StrEnum):
    """How a value is compared."""

    EQUAL = "equal"
    NOT_EQUAL = "not_equal"
    EQUAL_ONE_OF = "equal_one_of"
    IN = "in"
    NOT_IN = "not_in"
    LESS_THAN = "less_than"
    LESS_THAN_OR_EQUAL = "less_than_or_equal"
    GREATER_THAN = "greater_than"
    GREATER_THAN_OR_EQUAL = "greater_than_or_equal"
    CONTAINS = "contains"
    LIKE = "like"


ONE_OF = frozenset({Rule.EQUAL_ONE_OF, Rule.IN, Rule.NOT_IN})
"""Their value is a list of what the field may hold."""

ORDERED = frozenset(
    {Rule.LESS_THAN, Rule.LESS_THAN_OR_EQUAL, Rule.GREATER_THAN, Rule.GREATER_THAN_OR_EQUAL},
)
"""They ask what comes before what; nothing comes before or after null."""


class Join(StrEnum):
    """How a group joins its conditions; ``not`` holds when not all of them do."""

    AND = "and"
    OR = "or"
    NOT = "not"


def taken_for_group(key: str) -> str | None:
    """Say why no conditions may stand below a key of JSON; None where they may."""
    if key not in tuple(Join):
        return None
    return f"{key} would be read as a group of conditions here; a key that is called so is compared as a whole"


@dataclass(frozen=True, slots=True)
class Comparison:
    """A field compared with a value of its type; a null value stands for a field without one."""

    field: Field
    rule: Rule
    value: Any


@dataclass(frozen=True, slots=True)
class Member:
    """What stands under a key of a JSON map, compared; a null value stands for an explicit null."""

    key: str
    rule: Rule
    value: Any


@dataclass(frozen=True, slots=True)
class Inside:
    """The map in a JSON field meets all conditions."""

    field: Field
    conditions: tuple["Condition", ...]


@dataclass(frozen=True, slots=True)
class Below:
    """Under a key of a JSON map stands a map that meets all conditions, or a list that holds such a map."""

    key: str
    conditions: tuple["Condition", ...]


@dataclass(frozen=True, slots=True)
class Related:
    """An item of another collection (``tasks``, ``jobs``) belongs to this one and meets all conditions."""

    collection: str
    conditions: tuple["Condition", ...]


@dataclass(frozen=True, slots=True)
class Group:
    """Conditions on the same thing, joined."""

    join: Join
    conditions: tuple["Condition", ...]


Condition = Comparison | Member | Inside | Below | Related | Group


@dataclass(frozen=True, slots=True)
class Order:
    """A key of the order."""

    field: Field
    descending: bool


@dataclass(frozen=True, slots=True)
class Search:
    """A checked search: all conditions hold; ``limit`` items from ``offset`` on.

    With ``after``, the items behind one with these values of the keys; JSON stands there as its text. With ``counted``
    it is also asked how many items there are in all. ``within`` holds for who asks, whatever is asked: it is no part of
    the search that a token belongs to.
    """

    collection: Collection
    conditions: tuple[Condition, ...] = ()
    order_by: tuple[Order, ...] = ()
    offset: int = 0
    limit: int = DEFAULT_LIMIT
    after: tuple[Any, ...] | None = None
    counted: bool = False
    within: tuple[Condition, ...] = ()

    @property
    def keys(self) -> tuple[Order, ...]:
        """The order in which no two items are equal: by id in the last key's direction, so that one index serves."""
        for number, key in enumerate(self.order_by):
            if key.field == ID:
                return self.order_by[: number + 1]
        return (*self.order_by, Order(ID, bool(self.order_by) and self.order_by[-1].descending))


ID = Field("id", Kind.ID)
POSITION = Field("position", Kind.INTEGER)
"""The place of a task in its job, by which its tasks are listed; nothing that can be searched for."""


def _collection(name: str, related: Mapping[str, str], *fields: Field) -> Collection:
    return Collection(name, {field.name: field for field in fields}, related)


JOBS = _collection(
    "jobs",
    {"tasks": "tasks"},
    ID,
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
    {"job": "jobs"},
    ID,
    Field("job_id", Kind.ID),
    Field("name", Kind.TEXT),
    Field("callback", Kind.JSON),
    Field("priority", Kind.INTEGER),
    Field("status", Kind.TEXT, tuple(TaskStatus)),
    Field("result", Kind.JSON),
    Field("meta", Kind.JSON),
    Field("attempt", Kind.INTEGER),
    Field("began_at", Kind.MOMENT),
    Field("worker", Kind.TEXT),
    Field("ended_at", Kind.MOMENT),
    Field("inserted_at", Kind.MOMENT),
    Field("updated_at", Kind.MOMENT),
)
_LASTING = ("id", "name", "type", "strategy", "meta", "callback")
JOBS_OF_EVENTS = Collection(
    "jobs of events",
    {name: JOBS.fields[name] for name in _LASTING},
    withheld=frozenset({*JOBS.fields, *JOBS.related} - set(_LASTING)),
)
"""A job as those know it who hear of its events: by what its submission said of it, which never changes."""

EVENTS = _collection(
    "events",
    {"job": JOBS_OF_EVENTS.name},
    Field("event", Kind.TEXT, tuple(sorted(KINDS))),
    Field("job_id", Kind.ID),
    Field("type", Kind.TEXT),
    Field("task_id", Kind.ID),
    Field("index", Kind.INTEGER),
    Field("count", Kind.INTEGER),
    Field("status", Kind.TEXT, tuple(TaskStatus)),
    Field("attempt", Kind.INTEGER),
    Field("result", Kind.JSON),
    Field("reason", Kind.TEXT),
    Field("run", Kind.INTEGER),
    Field("epoch", Kind.INTEGER),
    Field("seq", Kind.INTEGER),
)
"""What live streams tell; they are not in PostgreSQL."""

COLLECTIONS = {one.name: one for one in (JOBS, TASKS, JOBS_OF_EVENTS)}
