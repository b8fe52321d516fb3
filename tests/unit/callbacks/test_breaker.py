from jabba.callbacks.breaker import Breaker, BreakerPolicy

POLICY = BreakerPolicy(window=10, calls=4, share=0.5, first=2, longest=5)


def opened() -> Breaker:
    breaker = Breaker(POLICY)
    for _ in range(4):
        breaker.ended(100.0, good=False)
    assert breaker.state == "open"
    return breaker


def test_a_few_failures_do_not_open_it() -> None:
    breaker = Breaker(POLICY)
    for good in (False, False, False, True, True, True, True, False):
        assert breaker.wait(100.0) == 0
        breaker.ended(100.0, good=good) if good else None
    assert breaker.state == "closed"


def test_half_of_enough_calls_open_it() -> None:
    breaker = Breaker(POLICY)
    for good in (True, False, True):
        breaker.ended(100.0, good=good)
    assert breaker.state == "closed"
    breaker.ended(100.0, good=False)
    assert (breaker.state, breaker.wait(100.5)) == ("open", 1.5)


def test_failures_of_an_earlier_window_are_forgotten() -> None:
    breaker = Breaker(POLICY)
    for moment in (100.0, 100.0, 100.0, 110.0, 110.0, 110.0):
        breaker.ended(moment, good=False)
    assert breaker.state == "closed"


def test_calls_that_say_nothing_of_the_service_do_not_count() -> None:
    breaker = Breaker(POLICY)
    for _ in range(20):
        breaker.ended(100.0, good=None)
    assert breaker.state == "closed"


def test_one_probe_at_a_time_and_its_success_closes_it() -> None:
    breaker = opened()
    assert breaker.wait(102.0) == 0
    assert breaker.begin()
    assert (breaker.state, breaker.wait(102.0)) == ("half_open", 2)
    breaker.ended(103.0, good=True, probe=True)
    assert (breaker.state, breaker.wait(103.0)) == ("closed", 0)
    assert not breaker.begin()


def test_probes_that_fail_double_the_time_up_to_the_longest() -> None:
    breaker = opened()
    now, waits = 100.0, []
    for _ in range(4):
        waits.append(breaker.wait(now))
        now += waits[-1]
        assert breaker.begin()
        breaker.ended(now, good=False, probe=True)
    assert waits == [2, 4, 5, 5]


def test_a_probe_that_is_cancelled_lets_the_next_one_in() -> None:
    breaker = opened()
    breaker.begin()
    breaker.ended(102.0, good=None, probe=True)
    assert breaker.wait(102.0) == 0


def test_calls_that_began_before_it_opened_neither_lengthen_the_wait_nor_end_the_probe() -> None:
    breaker = opened()
    breaker.ended(101.0, good=False)
    assert breaker.wait(101.0) == 1
    breaker.begin()
    breaker.ended(102.0, good=False)
    assert breaker.state == "half_open"


def test_it_may_be_tripped() -> None:
    breaker = Breaker(POLICY)
    breaker.trip(100.0)
    breaker.trip(101.0)
    assert breaker.wait(101.0) == 1
