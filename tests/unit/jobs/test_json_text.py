"""JSON text of strangers: repeated keys, byte order marks, lists with items that cannot be decoded."""

import enum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jabba.errors import InvalidRequest
from jabba.jobs import json_codec
from tests.unit.jobs.test_json_codec import VALUES


class Odd(enum.Enum):
    NUL = "a\0"
    NAN = float("nan")


@pytest.mark.parametrize(
    "value",
    [
        {"x": {"a\0"}},
        {"x": {float("nan")}},
        {"x": [Odd.NUL]},
        {"x": Odd.NAN},
        {Odd.NUL: 1},
        {b"a\0": 1},
        {"x": iter(["\0"])},
        {"x": (one for one in [float("inf")])},
        {"x": {10**4300}},
    ],
)
def test_what_is_checked_is_the_text(value: Any) -> None:
    with pytest.raises(InvalidRequest):
        json_codec.encode(value)


@pytest.mark.parametrize("text", [b"\xef\xbb\xbf{}", "\ufeff{}"])
def test_a_byte_order_mark_is_named(text: bytes | str) -> None:
    with pytest.raises(ValueError, match="byte order mark"):
        json_codec.decode(text)


@pytest.mark.parametrize(
    "text, key", [('{"a":1,"b":2,"a":3}', "a"), ('[{"x":[{"k":{},"k":1}]}]', "k"), (r'{"a":1,"\u0061":2}', "a")]
)
def test_a_repeated_key_is_refused_and_named(text: str, key: str) -> None:
    for form in (text, text.encode()):
        with pytest.raises(ValueError, match=f"'{key}' stands twice"):
            json_codec.decode_unique(form)


@given(VALUES)
def test_no_key_of_a_value_is_repeated(value: Any) -> None:
    assert json_codec.decode_unique(json_codec.encode(value)) == value


@given(st.lists(VALUES))
def test_a_list_is_cut_into_its_items(values: list[Any]) -> None:
    items = json_codec.split_list(b" " + json_codec.encode(values) + b"\n")
    assert items is not None
    assert [json_codec.decode(item) for item in items] == values


@pytest.mark.parametrize(
    "text, items",
    [
        (b'[{"a":NaN},"],[",2]', [b'{"a":NaN}', b'"],["', b"2"]),
        (b'[{"a":"\\"]"},[[]],{}]', [b'{"a":"\\"]"}', b"[[]]", b"{}"]),
        (b"[]", []),
        (b"[1,2", None),
        (b"{}", None),
        (b"[1],[2]", None),
        (b"[1]]", None),
        (b'["a]', None),
        (b"", None),
    ],
)
def test_faulty_items_do_not_hide_their_neighbours(text: bytes, items: list[bytes] | None) -> None:
    assert json_codec.split_list(text) == items
