from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from jabba.client.sse import SentEvent, SentEvents

TEXT = (
    b": a comment\n"
    b"retry: 1000\nid: 0:1\n\n"
    b"id: 0:2\nevent: task_failed\ndata: {}\n\n"
    b"data:one\r\ndata: two\r\rid:3\ndata\n\n"
    b"event: nothing\nid: 4\n\n"
    b"data: \xe2\x98\x83\nunknown: field\n\n"
    b"data: not complete\n"
)
EVENTS = [
    SentEvent("task_failed", "{}", "0:2"),
    SentEvent("message", "one\ntwo", "0:2"),
    SentEvent("message", "", "3"),
    SentEvent("message", "☃", "4"),
]


@given(st.lists(st.integers(0, len(TEXT)), max_size=20))
def test_events_are_read_however_their_bytes_are_cut(cuts: list[int]) -> None:
    events = SentEvents()
    bounds = [0, *sorted(cuts), len(TEXT)]
    read = [one for begin, end in pairwise(bounds) for one in events.feed(TEXT[begin:end])]
    assert read == EVENTS


def test_a_block_without_data_moves_the_id_and_half_a_block_moves_nothing() -> None:
    events = SentEvents("0")
    assert list(events.feed(b"id: 1\n\nid: 2\ndata: x\n")) == []
    assert events.last_id == "1"
    events.begin_again()
    assert list(events.feed(b"data: y\n\n")) == [SentEvent("message", "y", "1")]
