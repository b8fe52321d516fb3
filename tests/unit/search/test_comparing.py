"""Which JSON values PostgreSQL takes for the same."""

from datetime import UTC, datetime
from typing import Any

import pytest

from jabba.projection.verify.compare import as_json, same


@pytest.mark.parametrize(
    "left,right",
    [
        ({"a": 1, "b": [None, {}]}, {"b": [None, {}], "a": 1}),
        (1e21, 10**21),
        (1e300, 10**300),
        (-0.0, 0),
        (0.1, 0.1),
        (1.0, 1),
        (2**70, 2**70),
        ([True, "x"], [True, "x"]),
    ],
)
def test_same(left: Any, right: Any) -> None:
    assert same(left, right)
    assert same(right, left)


@pytest.mark.parametrize(
    "left,right",
    [
        ({"a": 1}, {"a": True}),
        ({"a": 1}, {"a": "1"}),
        ({"a": 1}, {"a": 1, "b": None}),
        ([1, 2], [2, 1]),
        ([], {}),
        (None, {}),
        (0, False),
        (0.1, 0.2),
        (1e300, 10**300 + 1),
        (1.5, "1.5"),
        (None, 0.0),
    ],
)
def test_not_the_same(left: Any, right: Any) -> None:
    assert not same(left, right)
    assert not same(right, left)


def test_moments_are_milliseconds() -> None:
    assert as_json(datetime(2026, 9, 21, 12, 0, 0, 123_000, tzinfo=UTC)) == 1_789_992_000_123
    assert as_json(datetime(2026, 9, 21, 12, 0, 0, 123_400, tzinfo=UTC)) == 1_789_992_000_123.4
