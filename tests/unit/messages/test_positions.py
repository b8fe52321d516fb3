import pytest
from hypothesis import given
from hypothesis import strategies as st

from jabba.errors import InvalidRequest
from jabba.messages.positions import read_position, write_position


@given(st.dictionaries(st.integers(0, 999_999_999), st.integers(0, 10**18 - 1), min_size=1))
def test_a_position_survives_its_text_form(position: dict[int, int]) -> None:
    assert read_position(write_position(position), "after") == position


def test_the_highest_offset_of_a_partition_counts() -> None:
    assert read_position("1:7,1:9,1:8", "after") == {1: 9}


@pytest.mark.parametrize(
    "text", ["", "7", "1:", ":1", "1:2,", "1:2;3:4", "-1:2", "1:-2", "1:2 ", "٣:1", "1:" + "9" * 19]
)
def test_anything_else_is_refused_with_the_field_that_held_it(text: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        read_position(text, "after")
    assert refusal.value.fields[0].field == "after"
