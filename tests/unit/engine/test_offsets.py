import random

from hypothesis import given
from hypothesis import strategies as st

from jabba.engine.offsets import AckTracker, Start


def test_nothing_beyond_what_still_runs_is_committed() -> None:
    tracker = AckTracker()
    for offset in (100, 101, 102):
        tracker.begin(0, offset, 1)
    tracker.finish(0, 101)
    tracker.finish(0, 102)
    assert tracker.committable() == {}
    tracker.finish(0, 100)
    assert tracker.committable() == {0: 103}


def test_a_message_is_finished_with_its_last_slice() -> None:
    tracker = AckTracker()
    tracker.begin(0, 5, 3)
    tracker.finish(0, 5)
    tracker.finish(0, 5)
    assert tracker.committable() == {}
    tracker.finish(0, 5)
    assert tracker.committable() == {0: 6}


def test_an_empty_message_is_finished_at_once() -> None:
    tracker = AckTracker()
    assert tracker.begin(3, 0, 0)
    assert tracker.committable() == {3: 1}


def test_a_message_is_followed_once() -> None:
    tracker = AckTracker()
    assert tracker.begin(0, 5, 1)
    assert not tracker.begin(0, 5, 1)
    tracker.finish(0, 5)
    assert not tracker.begin(0, 5, 1)


def test_what_an_older_generation_finishes_counts_no_more() -> None:
    tracker = AckTracker()
    tracker.begin(0, 5, 1)
    tracker.reset()
    tracker.finish(0, 5)
    assert tracker.committable() == {}


@given(st.lists(st.integers(0, 3), min_size=1, max_size=30), st.randoms(use_true_random=False))
def test_in_whatever_order_slices_finish_the_prefix_is_contiguous(counts: list[int], order: random.Random) -> None:
    tracker = AckTracker()
    for offset, count in enumerate(counts):
        tracker.begin(0, offset, count)
    left = dict(enumerate(counts))
    finishing = [offset for offset, count in left.items() for _ in range(count)]
    order.shuffle(finishing)
    for offset in finishing:
        tracker.finish(0, offset)
        left[offset] -= 1
        unfinished = [one for one, count in left.items() if count]
        expected = min(unfinished, default=len(counts))
        assert tracker.committable().get(0, 0) == expected
    assert tracker.in_flight() == 0


def test_a_generation_begins_where_the_last_one_committed() -> None:
    tracker = AckTracker()
    tracker.start(0, Start(5, 9))
    assert tracker.next() == {0: 5}
    assert not tracker.begin(0, 4, 1)
    assert tracker.begin(0, 5, 1)
    assert tracker.next() == {0: 6}
    assert tracker.committable() == {}


def test_what_the_log_does_not_have_any_more_is_passed_over() -> None:
    tracker = AckTracker()
    tracker.start(0, Start(5, 9))
    assert tracker.begin(0, 9, 0)
    assert tracker.committable() == {0: 10}


def test_what_may_be_committed_is_marked_with_the_latest_time_before_it() -> None:
    tracker = AckTracker()
    tracker.start(0, Start(5, 9, latest=70))
    for offset, at in ((5, 60), (6, 80), (7, 75), (8, 99)):
        tracker.begin(0, offset, offset == 8, at)
    assert tracker.committable() == {0: 8}
    assert tracker.latest() == {0: 80}
    assert tracker.reached() == {0: Start(9, 9, 99)}
