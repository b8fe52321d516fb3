"""What stands in the log of a process, and how often."""

import logging

from jabba.monitoring.logs import Repetitions


def record(name: str, said: str, at: float) -> logging.LogRecord:
    return logging.makeLogRecord({"name": name, "msg": f"{said} %d", "args": (1,), "created": at})


def passed(*given: tuple[str, str, float]) -> list[str]:
    repetitions = Repetitions()
    records = [record(*one) for one in given]
    return [one.getMessage() for one in records if repetitions(one)]


def test_what_aiokafka_says_again_and_again_is_told_now_and_then_with_how_often() -> None:
    away = [("aiokafka", "no node", at / 10) for at in range(601)]
    assert passed(*away) == [
        "no node 1",
        "no node 1 (and 299 times more since it was told last)",
        "no node 1 (and 299 times more since it was told last)",
    ]


def test_what_is_new_and_what_others_say_is_told_at_once() -> None:
    others = [("jabba.faust_app", "no node", at) for at in (0.0, 0.1)]
    assert passed(("aiokafka", "no node", 0), ("aiokafka.conn", "no node", 1), ("aiokafka", "closed", 2), *others) == [
        "no node 1",
        "no node 1",
        "closed 1",
        "no node 1",
        "no node 1",
    ]


def test_a_clock_that_goes_back_silences_nothing() -> None:
    assert passed(("aiokafka", "no node", 1000), ("aiokafka", "no node", 10)) == ["no node 1"] * 2


def test_of_many_different_messages_few_are_remembered() -> None:
    repetitions = Repetitions()
    for number in range(10_000):
        repetitions(record("aiokafka", f"offset {number}", number / 1000))
    assert len(repetitions) <= 1000
