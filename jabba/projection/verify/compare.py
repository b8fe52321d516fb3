"""How rows differ from what the log amounts to. No I/O."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from pydantic import BaseModel

from jabba.jobs.lifecycle import FINAL
from jabba.projection.reference import Row
from jabba.projection.statements import EVENT_COLUMNS, SLICE_COLUMNS, SPEC_COLUMNS

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_THERE, _MISSING = "there", "missing"


@dataclass(frozen=True, slots=True)
class Difference:
    """A column of a job, or of its task ``index``, of which the log and PostgreSQL say different things.

    Where one of them does not have the whole row, the column is ``row``, and the values are ``there`` and ``missing``.
    """

    job: UUID
    index: int | None
    column: str
    log: Any
    postgresql: Any


@dataclass(slots=True)
class JobRows:
    """One job's row, if there is one, and those of its tasks by position."""

    job: Row | None = None
    tasks: dict[int, Row] = field(default_factory=dict)


def differences(job: UUID, log: JobRows, live: JobRows) -> Iterator[Difference]:
    """Return how a job's rows differ from what all of its messages amount to."""
    yield from _different(job, None, log.job, live.job)
    for index in sorted(log.tasks.keys() | live.tasks.keys()):
        yield from _different(job, index, log.tasks.get(index), live.tasks.get(index))


def contradictions(job: UUID, log: JobRows, live: JobRows) -> Iterator[Difference]:
    """Return what the rows say against some of a job's messages, when its first ones are no longer known.

    A job without a row is none: old ones may have been deleted.
    """
    if live.job is None or log.job is None:
        return
    yield from _told(job, None, SLICE_COLUMNS, log.job, live.job)
    for index, told in sorted(log.tasks.items()):
        found = live.tasks.get(index)
        if found is None:
            yield Difference(job, index, "row", _THERE, _MISSING)
        else:
            yield from _told(job, index, SPEC_COLUMNS, told, found)
            yield from _contradicted(job, index, told, found)


def was_dropped(log: JobRows, live: JobRows, before: float) -> bool:
    """Return whether a job is gone from PostgreSQL as are all that came before a moment (ms) and have ended."""
    return live == JobRows() and log.job is not None and log.job["ended_at"] is not None and _came(log.job) < before


def _came(job: Row) -> float:
    return float(as_json(job["inserted_at"]))


def _contradicted(job: UUID, index: int, told: Row, found: Row) -> Iterator[Difference]:
    """Compare what happened to a task, unless something else happened that the log no longer has."""
    if _version(told) == _version(found):
        yield from _compared(job, index, EVENT_COLUMNS, told, found)
    elif _version(told) > _version(found) and found["status"] not in FINAL:
        yield Difference(job, index, "status", as_json(told["status"]), found["status"])


def _version(row: Row) -> tuple[int, int, int]:
    return row["run"], row["epoch"], row["seq"]


def _different(job: UUID, index: int | None, log: Row | None, live: Row | None) -> Iterator[Difference]:
    if log is None or live is None:
        if log is not live:
            yield Difference(job, index, "row", *(_MISSING if row is None else _THERE for row in (log, live)))
        return
    yield from _compared(job, index, log, log, live)


def _told(job: UUID, index: int | None, columns: Iterable[str], log: Row, live: Row) -> Iterator[Difference]:
    """Compare the columns of which the log says anything."""
    yield from _compared(job, index, (name for name in columns if log[name] is not None), log, live)


def _compared(job: UUID, index: int | None, columns: Iterable[str], log: Row, live: Row) -> Iterator[Difference]:
    for name in columns:
        told, found = as_json(log[name]), as_json(live[name])
        if not same(told, found):
            yield Difference(job, index, name, told, found)


def as_json(value: Any) -> Any:
    """Return a value as the log has it: moments in milliseconds, models as maps."""
    if isinstance(value, datetime):
        return round((value - _EPOCH) / timedelta(milliseconds=1), 3)
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return str(value) if isinstance(value, str | UUID) else value


def same(left: Any, right: Any) -> bool:
    """Return whether two JSON values are the same to PostgreSQL: it has one kind of numbers and no order of keys."""
    if isinstance(left, Mapping):
        return isinstance(right, Mapping) and left.keys() == right.keys() and _all_same(left, right, left)
    if isinstance(left, list):
        return isinstance(right, list) and len(left) == len(right) and _all_same(left, right, range(len(left)))
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, float) or isinstance(right, float):
        return _same_number(left, right)
    return bool(left == right)


def _all_same(left: Any, right: Any, places: Iterable[Any]) -> bool:
    return all(same(left[place], right[place]) for place in places)


def _same_number(left: Any, right: Any) -> bool:
    """Compare numbers of which one came as a float: the other may be the same one, written out with all its digits."""
    numbers = isinstance(left, int | float) and isinstance(right, int | float)
    return numbers and (left == right or Decimal(repr(left)) == Decimal(repr(right)))
