"""Retry policies: how they merge, and how long each delay is."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from jabba import Retry
from jabba.jobs.retry import JITTER, Policy


def test_without_a_policy_infrastructure_is_tried_three_times() -> None:
    assert Policy.of(None, None) == Policy()
    assert (Policy().max_attempts, Policy().explicit) == (3, False)


def test_a_later_policy_goes_before_an_earlier_one_field_by_field() -> None:
    policy = Policy.of(Retry(max_attempts=5, initial=2.0), None, Retry(initial=7.0, retry_on=["error.code:busy"]))
    assert policy == Policy(max_attempts=5, initial=7.0, retry_on=("error.code:busy",), explicit=True)


def test_delays_grow_by_the_factor_up_to_the_longest() -> None:
    policy = Policy(initial=1.0, factor=2.0, max=10.0)
    assert [policy.delay(attempt, 0.0) for attempt in range(1, 7)] == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]
    assert policy.delay(1000, 0.0) == 10.0
    assert Policy(factor=100.0).delay(1000, 0.0) == 60.0


@given(st.integers(1, 1000), st.floats(0, 1), st.floats(0.001, 1000), st.floats(1, 100))
def test_jitter_only_lengthens(attempt: int, random: float, initial: float, factor: float) -> None:
    policy = Policy(initial=initial, factor=factor, max=max(initial, 60.0))
    assert policy.delay(attempt, 0.0) <= policy.delay(attempt, random) <= policy.delay(attempt, 0.0) * (1 + JITTER)


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_attempts": 0},
        {"max_attempts": 1001},
        {"initial": 0},
        {"initial": -1},
        {"initial": float("nan")},
        {"max": float("inf")},
        {"factor": 0.5},
        {"retry_for": 0},
        {"retry_on": [""]},
        {"colour": "red"},
    ],
)
def test_what_is_no_policy_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        Retry(**wrong)
    assert str(caught.value.errors()[0]["loc"][0]) == next(iter(wrong))
