import pytest
from hypothesis import given
from hypothesis import strategies as st

from jabba.errors import InvalidRequest
from web.streams.cursor import WHOLE, Mark, Place, read_mark

PLACES = st.builds(Place, st.integers(0, 10**18 - 1), st.just(WHOLE) | st.integers(0, 10**9 - 1))
MARKS = st.dictionaries(st.integers(0, 7), PLACES, min_size=1).map(Mark)


@given(MARKS)
def test_a_mark_is_read_as_it_was_written(mark: Mark) -> None:
    assert read_mark(mark.text, "id", 8).places == mark.places


def test_a_mark_tells_whole_messages_and_parts_of_them() -> None:
    mark = Mark({3: Place(42, 2), 0: Place(17)})
    assert mark.text == "0:17,3:42.2"
    assert mark.next_offsets == {0: 18, 3: 42}
    mark.move(0, Place.before(18))
    assert mark.text == "0:18.0,3:42.2"
    assert mark.next_offsets[0] == 18


def test_places_of_a_partition_are_in_order() -> None:
    places = [Place.before(4), Place(4, 1), Place(4, 2), Place(4), Place.before(5), Place(5, 1)]
    assert sorted(places) == places
    mark = Mark({1: Place(4, 2)})
    assert [mark.has_seen(1, place) for place in places] == [True, True, True, False, False, False]
    assert not mark.has_seen(0, Place(0, 1))


def test_the_farther_place_of_two_marks_counts() -> None:
    mark = Mark({0: Place(3), 1: Place(9)}).or_farther(Mark({0: Place(5), 1: Place(9, 1), 2: Place(1)}))
    assert mark.text == "0:5,1:9,2:1"
    assert Mark({0: Place(3)}).or_else(Mark({0: Place(5), 1: Place(9)})).text == "0:3,1:9"
    assert mark.among([1]).text == "1:9"


@pytest.mark.parametrize("text", ["", "17", "0:", "0:1;1:2", "a:1", "0:-1", "0:1.", "8:1", "0:1,,1:1", "0:" + "9" * 19])
def test_what_is_no_mark_is_refused_by_the_name_of_the_field(text: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        read_mark(text, "last_event_id", 8)
    assert [one.field for one in refusal.value.fields] == ["last_event_id"]
