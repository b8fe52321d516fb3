"""The weeks by which jobs and tasks are partitioned: from Monday to Monday in UTC, as ids tell the time. No I/O."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

_DAYS = 7
MILLISECONDS = _DAYS * 24 * 3600 * 1000
_FIRST_MONDAY = 4 * 24 * 3600 * 1000
"""1970-01-05; the days before it are in no week."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BITS_BEHIND_TIME = 80
_LAST_ID = (1 << 128) - 1


class Week(NamedTuple):
    """A week; ``start`` is its Monday in milliseconds since the epoch."""

    start: int

    @classmethod
    def at(cls, milliseconds: int) -> "Week":
        """Return the week of a moment."""
        return cls((milliseconds - _FIRST_MONDAY) // MILLISECONDS * MILLISECONDS + _FIRST_MONDAY)

    @classmethod
    def of(cls, one: UUID) -> "Week":
        """Return the week of a job's or a task's id."""
        return cls.at(one.int >> _BITS_BEHIND_TIME)

    @property
    def end(self) -> int:
        """The Monday after it."""
        return self.start + MILLISECONDS

    @property
    def next(self) -> "Week":
        """The week after it."""
        return Week(self.end)

    @property
    def first_id(self) -> UUID:
        """The lowest id that belongs to it."""
        return UUID(int=max(self.start, 0) << _BITS_BEHIND_TIME)

    @property
    def last_id(self) -> UUID:
        """The highest id that belongs to it."""
        return UUID(int=min((self.end << _BITS_BEHIND_TIME) - 1, _LAST_ID))

    @property
    def word(self) -> str:
        """Its Monday, such as ``20261123``: the end of the names of its partitions."""
        return f"{_EPOCH + timedelta(milliseconds=self.start):%Y%m%d}"

    @classmethod
    def named(cls, word: str) -> "Week | None":
        """Return the week of such a word; None when it is no Monday's."""
        try:
            day = datetime.strptime(word, "%Y%m%d").replace(tzinfo=UTC)
        except ValueError:
            return None
        week = cls.at((day - _EPOCH) // timedelta(milliseconds=1))
        return week if week.word == word else None


def weeks_between(first: int, last: int) -> Iterator[Week]:
    """Return the weeks from that of one moment to that of another, in milliseconds."""
    for start in range(Week.at(first).start, last + 1, MILLISECONDS):
        yield Week(start)
