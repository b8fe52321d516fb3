"""Pauses between attempts."""

from jabba.concurrency.backoff import Backoff


def test_pauses_grow_up_to_the_longest_and_begin_again_after_a_success() -> None:
    backoff = Backoff(0.1, 1.0, 3.0)
    assert [round(backoff.next(), 6) for _ in range(5)] == [0.1, 0.3, 0.9, 1.0, 1.0]
    backoff.reset()
    assert backoff.next() == 0.1


def test_they_double_unless_told_otherwise() -> None:
    backoff = Backoff(1, 60)
    assert [backoff.next() for _ in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]
