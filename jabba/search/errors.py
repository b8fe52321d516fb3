"""Filters on the error of an attempt, as retry policies have them: ``error.code:temporary``."""

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NamedTuple

from jabba.search.language import Collection, Condition, Field, Kind
from jabba.search.matching import Item, meets
from jabba.search.parser import parse_conditions

ERRORS = Collection("errors", {"error": Field("error", Kind.JSON), "outcome": Field("outcome", Kind.TEXT)}, {})
"""``error`` is the result of the attempt, ``outcome`` is ``error``, ``raised``, ``infrastructure`` or ``timeout``."""


class _Error(NamedTuple):
    error: Any
    outcome: str

    def held(self, field: str) -> Any:
        return getattr(self, field)

    def related(self, _collection: str) -> Iterable[Item]:
        return ()


@lru_cache(1024)
def parse_error_filter(text: str) -> tuple[Condition, ...]:
    """Read a filter.

    Raises:
        InvalidRequest: names the place of each mistake.
    """
    return parse_conditions(None, text, ERRORS)


def matches_any(filters: Iterable[str], error: Any, outcome: str) -> bool:
    """Return whether an attempt's error matches one of the filters."""
    return any(meets(_Error(error, outcome), parse_error_filter(text)) for text in filters)
