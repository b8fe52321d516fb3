"""Numbers on their way to PostgreSQL, which keeps a fraction and forgets an exponent."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jabba.database.bulk_rows import encoded
from tests.unit.jobs.test_json_codec import VALUES


@pytest.mark.parametrize("number", [1e16, 1e22, 1e23, -1.5e300, 1e308, 1.7976931348623157e308])
def test_a_large_float_is_written_with_a_fraction(number: float) -> None:
    text = encoded([[{"a": number, "b": f'", {number},'}, number]])
    assert text.count("e+") == 1
    found = json.loads(text)
    assert found == [[{"a": number, "b": f'", {number},'}, number]]
    assert isinstance(found[0][1], float)


@given(st.lists(st.lists(VALUES | st.floats(min_value=1e15, allow_infinity=False))))
def test_rows_mean_what_they_meant(rows: list[list[Any]]) -> None:
    assert json.loads(encoded(rows)) == rows
    assert repr(json.loads(encoded(rows))) == repr(rows)
