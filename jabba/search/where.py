"""Conditions of searches as Python expressions.

``from jabba import where``, and then ``where.jobs.status == "FAILED"``, ``where.jobs.meta["order"] > 17``,
``where.jobs.tasks.any(where.tasks.status == "RESCUED", where.tasks.name.like("mail"))``. Such a condition is the tuple
``(field, rule, value)`` that every search takes, and is joined to others by ``&``, ``|`` and ``~``. Every value is
checked where it is searched for.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Generic, NoReturn, TypeVar
from uuid import UUID

from pydantic import JsonValue

from jabba.search import Join, Rule, bounds_of_prefix, taken_for_group

__all__ = ["Condition", "all_of", "any_of", "jobs", "key", "tasks"]

Held = TypeVar("Held")


class Condition(tuple[str, str | None, Any]):
    """``(field, rule, value)``, joined by ``one & other`` (both hold), ``one | other`` (one holds) and ``~one``."""

    __slots__ = ()

    def __and__(self, other: "Condition") -> "Condition":
        return _join(Join.AND, self, other)

    def __or__(self, other: "Condition") -> "Condition":
        return _join(Join.OR, self, other)

    def __invert__(self) -> "Condition":
        return Condition((Join.NOT.value, None, [self]))

    def __bool__(self) -> NoReturn:
        raise TypeError("a condition is neither true nor false here: join it by &, | and ~, not by and, or and not")


def all_of(*conditions: Condition) -> Condition:
    """Return the condition that holds when all of these do."""
    return Condition((Join.AND.value, None, list(conditions)))


def any_of(*conditions: Condition) -> Condition:
    """Return the condition that holds when some of these do."""
    return Condition((Join.OR.value, None, list(conditions)))


def _join(join: Join, one: Condition, other: Condition) -> Condition:
    """Join two conditions; a row of the same signs is one group."""
    before = one[2] if one[0] == join.value and one[1] is None else [one]
    return Condition((join.value, None, [*before, other]))


def _holding(name: str, conditions: list[Any]) -> tuple[str, None, list[Any]]:
    if mistaken := taken_for_group(name):
        raise ValueError(mistaken)
    return (name, None, conditions)


class _Named:
    """Something that can be compared, by the names that lead to it."""

    def __init__(self, *path: str) -> None:
        self._path = path

    def _is(self, rule: Rule, value: Any) -> Condition:
        return self._around((self._path[-1], rule.value, value))

    def _holds(self, conditions: Iterable[Condition]) -> Condition:
        return self._around(_holding(self._path[-1], list(conditions)))

    def _begins(self, prefix: str) -> Condition:
        bounds = [Condition((self._path[-1], rule.value, bound)) for rule, bound in bounds_of_prefix(prefix)]
        return self._around(bounds[0] if len(bounds) == 1 else all_of(*bounds))

    def _around(self, condition: tuple[str, str | None, Any]) -> Condition:
        for name in reversed(self._path[:-1]):
            condition = _holding(name, [condition])
        return Condition(condition)


class Field(_Named, Generic[Held]):
    """A field; ``field == None`` asks for those without a value."""

    __hash__ = None  # type: ignore[assignment]  # what == answers is no equality

    def __eq__(self, value: Held | None) -> Condition:  # type: ignore[override]  # a condition, not a bool
        return self._is(Rule.EQUAL, value)

    def __ne__(self, value: Held | None) -> Condition:  # type: ignore[override]  # as above
        return self._is(Rule.NOT_EQUAL, value)

    def in_(self, values: Iterable[Held | None]) -> Condition:
        """Return the condition that it is one of these."""
        return self._is(Rule.IN, list(values))

    def not_in(self, values: Iterable[Held | None]) -> Condition:
        """Return the condition that it is none of these."""
        return self._is(Rule.NOT_IN, list(values))

    def __lt__(self, value: Held) -> Condition:
        return self._is(Rule.LESS_THAN, value)

    def __le__(self, value: Held) -> Condition:
        return self._is(Rule.LESS_THAN_OR_EQUAL, value)

    def __gt__(self, value: Held) -> Condition:
        return self._is(Rule.GREATER_THAN, value)

    def __ge__(self, value: Held) -> Condition:
        return self._is(Rule.GREATER_THAN_OR_EQUAL, value)


class Text(Field[str]):
    """A text."""

    def like(self, part: str) -> Condition:
        """Return the condition that this is somewhere in it, in large or small letters."""
        return self._is(Rule.LIKE, part)

    def starts_with(self, prefix: str) -> Condition:
        """Return the condition that it begins with these very letters."""
        return self._begins(prefix)


class Json(Field[JsonValue]):
    """A value in JSON: ``where.jobs.meta["order"]["id"] == 17``."""

    def __getitem__(self, key: str) -> "Json":
        return Json(*self._path, key)

    def like(self, part: str) -> Condition:
        """Return the condition that it is a text with this somewhere in it, in large or small letters."""
        return self._is(Rule.LIKE, part)

    def starts_with(self, prefix: str) -> Condition:
        """Return the condition that it is a text that begins with these very letters."""
        return self._begins(prefix)

    def contains(self, *values: JsonValue) -> Condition:
        """Return the condition that it is a list with all of these in it."""
        return self._is(Rule.CONTAINS, list(values))

    def any(self, *conditions: Condition) -> Condition:
        """Return the condition that it is a map, or holds one, that meets all of these; they are about ``key(…)``."""
        return self._holds(conditions)


class Related(_Named):
    """What belongs to a job or task."""

    def any(self, *conditions: Condition) -> Condition:
        """Return the condition that one of them meets all of these."""
        return self._holds(conditions)


class Jobs:
    """The fields of jobs."""

    id = Field[UUID | str]("id")
    name = Text("name")
    type = Text("type")
    status = Text("status")
    strategy = Text("strategy")
    meta = Json("meta")
    callback = Json("callback")
    run_at = Field[datetime | str]("run_at")
    reason = Text("reason")
    ended_at = Field[datetime | str]("ended_at")
    inserted_at = Field[datetime | str]("inserted_at")
    updated_at = Field[datetime | str]("updated_at")
    tasks = Related("tasks")


class Tasks:
    """The fields of tasks."""

    id = Field[UUID | str]("id")
    job_id = Field[UUID | str]("job_id")
    name = Text("name")
    callback = Json("callback")
    priority = Field[int]("priority")
    status = Text("status")
    result = Json("result")
    meta = Json("meta")
    attempt = Field[int]("attempt")
    began_at = Field[datetime]("began_at")
    worker = Text("worker")
    ended_at = Field[datetime | str]("ended_at")
    inserted_at = Field[datetime | str]("inserted_at")
    updated_at = Field[datetime | str]("updated_at")
    job = Related("job")


jobs = Jobs()
tasks = Tasks()


def key(name: str) -> Json:
    """Return what stands under a key of a map in JSON, for conditions in ``any``."""
    return Json(name)
