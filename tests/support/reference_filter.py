"""What a search means, in plain Python over rows in memory: what PostgreSQL answers is compared with it.

It reads conditions as they are sent, so that it does not depend on the parser; what a rule means for a single value
is told by ``jabba.search.comparing``, which PostgreSQL checks and is checked by here.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from jabba.jobs.models import Job, Task
from jabba.search.comparing import MISSING, compares, json_compares, sort_of
from jabba.search.language import Rule

Row = Job | Task


@dataclass(frozen=True)
class Rows:
    """All jobs and tasks there are."""

    jobs: Sequence[Job]
    tasks: Sequence[Task]

    def related(self, row: Row, name: str) -> list[Row]:
        if isinstance(row, Job):
            return [task for task in self.tasks if name == "tasks" and task.job_id == row.id]
        return [job for job in self.jobs if name == "job" and job.id == row.job_id]

    def search(self, rows: Iterable[Row], conditions: list[Any], order_by: list[Any]) -> list[Row]:
        """Return the rows that meet all conditions, in order: equal ones by id, as the last key; null after all.

        Without keys the newest come first.
        """
        found = [row for row in rows if self.meets(row, conditions)]
        keys = order_by or [("desc", "inserted_at")]
        for direction, name in reversed([*keys, (keys[-1][0], "id")]):
            found.sort(key=lambda row: _null_last(_held(row, name)), reverse=direction == "desc")
        return found

    def meets(self, row: Row, conditions: list[Any]) -> bool:
        return all(self._row_meets(row, *condition) for condition in conditions)

    def _row_meets(self, row: Row, name: str, rule: str | None, value: Any) -> bool:
        if rule is not None:
            return _comparison(name)(_held(row, name), Rule(rule), value)
        if name in ("and", "or", "not"):
            return _joined(name, [self._row_meets(row, *one) for one in value])
        if name in ("tasks", "job"):
            return any(self.meets(other, value) for other in self.related(row, name))
        document = _held(row, name)
        return isinstance(document, dict) and _map_meets(document, value)


def _comparison(name: str) -> Callable[[Any, Rule, Any], bool]:
    return json_compares if name in ("meta", "result", "callback") else compares


def _held(row: Row, name: str) -> Any:
    value = getattr(row, name)
    return value.model_dump() if name == "callback" and value else value


def _null_last(value: Any) -> Any:
    return (value is None, _place(value) if isinstance(value, dict) else value)


def _place(value: Any) -> tuple[Any, ...]:
    """Return where JSON stands in the order of ``jsonb``: by its sort, its size, then by what is in it."""
    sorts = ["NoneType", "str", "number", "bool", "list", "dict"]
    sort = sorts.index(sort_of(value))
    if isinstance(value, list):
        return (sort, len(value), *map(_place, value))
    if isinstance(value, dict):
        keys = sorted(value, key=lambda key: (len(key.encode()), key))
        return (sort, len(value), *((key, _place(value[key])) for key in keys))
    return (sort, value)


def _joined(name: str, held: list[bool]) -> bool:
    return {"and": all(held), "or": any(held), "not": not all(held)}[name]


def _map_meets(document: dict[str, Any], conditions: list[Any]) -> bool:
    return all(_member_meets(document, *condition) for condition in conditions)


def _member_meets(document: dict[str, Any], key: str, rule: str | None, value: Any) -> bool:
    if rule is not None:
        return json_compares(document.get(key, MISSING), Rule(rule), value)
    if key in ("and", "or", "not"):
        return _joined(key, [_member_meets(document, *one) for one in value])
    below = document.get(key)
    items = below if isinstance(below, list) else [below]
    return any(isinstance(item, dict) and _map_meets(item, value) for item in items)
