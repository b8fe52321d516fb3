import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jabba.errors import InvalidRequest
from jabba.jobs import json_codec

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner), max_leaves=20)


@given(VALUES)
def test_what_is_encoded_is_decoded_alike_by_anyone(value: Any) -> None:
    text = json_codec.encode(value)
    assert json_codec.decode(text) == json.loads(text) == value


@pytest.mark.parametrize(
    "value, field",
    [
        ({"a": [1, float("nan")]}, "x.a[1]"),
        ([{"b": float("inf")}], "x[0].b"),
        ({"a": {"b": "one\0two"}}, "x.a.b"),
        ({"a\0b": 1}, "x.'a\\x00b'"),
        ({"a": "\ud800"}, "x.a"),
        ({"a": [1, object()]}, "x.a[1]"),
        # Readers of JSON take no integer of so many digits.
        ({"a": [1, 10**4300]}, "x.a[1]"),
        ({"a": {"b": -(10**9999)}}, "x.a.b"),
    ],
)
def test_what_cannot_be_stored_is_refused_and_its_place_named(value: Any, field: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        json_codec.encode(value, "x")
    assert refused.value.fields[0].field == field


@pytest.mark.parametrize("harmless", ["NaN", "Infinity", "\\u0000", "a \\\\u0000 b", "7" * 5000, 10**4299, -(10**4299)])
def test_what_only_looks_faulty_is_kept(harmless: Any) -> None:
    assert json_codec.decode(json_codec.encode({"a": harmless})) == {"a": harmless}


@pytest.mark.parametrize("text", [b"", b"{", b"[1,]", b"NaN", b'"\xff"', b'{"a": 1} x', b'"\\ud800"'])
def test_what_is_no_json_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"line|utf-8|UTF-8|column"):
        json_codec.decode(text)
