"""What a search means, in plain Python over rows in memory: what PostgreSQL answers is compared with it."""

import operator
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from jabba.models import Job, Task

Row = Job | Task
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "less_than": operator.lt,
    "less_than_or_equal": operator.le,
    "greater_than": operator.gt,
    "greater_than_or_equal": operator.ge,
}
_MISSING = object()


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
        """Answer the rows that meet all conditions, in order: equal ones by id, as the last key; null after all."""
        found = [row for row in rows if self.meets(row, conditions)]
        last = order_by[-1][0] if order_by else "asc"
        for direction, name in reversed([*order_by, (last, "id")]):
            found.sort(key=lambda row: _null_last(_held(row, name)), reverse=direction == "desc")
        return found

    def meets(self, row: Row, conditions: list[Any]) -> bool:
        return all(self._row_meets(row, *condition) for condition in conditions)

    def _row_meets(self, row: Row, name: str, rule: str | None, value: Any) -> bool:
        if rule is not None:
            return _compares(_held(row, name), rule, value)
        if name in ("and", "or", "not"):
            return _joined(name, [self._row_meets(row, *one) for one in value])
        if name in ("tasks", "job"):
            return any(self.meets(other, value) for other in self.related(row, name))
        document = _held(row, name)
        return isinstance(document, dict) and _map_meets(document, value)


def _held(row: Row, name: str) -> Any:
    value = getattr(row, name)
    return value.model_dump() if name == "callback" and value else value


def _null_last(value: Any) -> Any:
    return (value is None, _place(value) if isinstance(value, dict) else value)


def _place(value: Any) -> tuple[Any, ...]:
    """Answer where JSON stands in the order of ``jsonb``: by its sort, its size, then by what is in it."""
    sorts = ["NoneType", "str", "number", "bool", "list", "dict"]
    sort = sorts.index(_sort(value))
    if isinstance(value, list):
        return (sort, len(value), *map(_place, value))
    if isinstance(value, dict):
        keys = sorted(value, key=lambda key: (len(key.encode()), key))
        return (sort, len(value), *((key, _place(value[key])) for key in keys))
    return (sort, value)


def _joined(name: str, held: list[bool]) -> bool:
    return {"and": all(held), "or": any(held), "not": not all(held)}[name]


def _compares(held: Any, rule: str, value: Any) -> bool:
    if rule in ("equal", "not_equal"):
        return bool(held == value) == (rule == "equal")
    if rule in ("in", "equal_one_of", "not_in"):
        return any(held == one for one in value) == (rule != "not_in")
    if held is None:
        return False
    return bool(value.lower() in held.lower() if rule == "like" else _COMPARE[rule](held, value))


def _map_meets(document: dict[str, Any], conditions: list[Any]) -> bool:
    return all(_member_meets(document, *condition) for condition in conditions)


def _member_meets(document: dict[str, Any], key: str, rule: str | None, value: Any) -> bool:
    if rule is not None:
        return _json_compares(document.get(key, _MISSING), rule, value)
    if key in ("and", "or", "not"):
        return _joined(key, [_member_meets(document, *one) for one in value])
    below = document.get(key)
    items = below if isinstance(below, list) else [below]
    return any(isinstance(item, dict) and _map_meets(item, value) for item in items)


def _json_compares(held: Any, rule: str, value: Any) -> bool:
    if rule == "not_equal" and value is None:
        return held is not _MISSING and held is not None
    if rule in ("equal", "not_equal"):
        return _same(held, value) == (rule == "equal")
    if rule in ("in", "equal_one_of", "not_in"):
        return any(_same(held, one) for one in value) == (rule != "not_in")
    if rule == "contains":
        return isinstance(held, list) and _holds(held, value if isinstance(value, list) else [value])
    if rule == "like":
        return isinstance(held, str) and value.lower() in held.lower()
    return _sort(held) == _sort(value) and _COMPARE[rule](held, value)


def _sort(value: Any) -> str:
    """Answer what JSON calls it: true is no number."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return "number"
    return type(value).__name__


def _same(left: Any, right: Any) -> bool:
    if _sort(left) != _sort(right):
        return False
    if isinstance(left, list):
        return len(left) == len(right) and all(map(_same, left, right))
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(_same(left[key], right[key]) for key in left)
    return bool(left == right)


def _holds(held: Any, part: Any) -> bool:
    """Answer whether JSON contains other JSON, as ``@>`` does."""
    if isinstance(held, list) and isinstance(part, list):
        return all(any(_holds(item, one) for item in held) for one in part)
    if isinstance(held, dict) and isinstance(part, dict):
        return all(key in held and _holds(held[key], part[key]) for key in part)
    return not isinstance(held, list | dict) and _same(held, part)
