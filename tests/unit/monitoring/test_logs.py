"""What stands in the log of a process, and how often."""

import json
import logging

import pytest

from jabba.monitoring import logs
from jabba.monitoring.logs import JsonFormatter, Repetitions, TextFormatter


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
        "no node 1 (and 299 times more since)",
        "no node 1 (and 299 times more since)",
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


FIELDS = {"job": "0190f000", "partition": 3, "seconds": 0.25, "task": None, "error": 'it said "no"\n', "empty": ""}


def with_fields(message: str = "lane failed", **more: object) -> logging.LogRecord:
    return logging.makeLogRecord(
        {"name": "jabba.x", "levelname": "ERROR", "msg": message, "created": 0.0, **FIELDS, **more}
    )


def test_fields_stand_behind_the_message() -> None:
    line = TextFormatter().format(with_fields())
    assert line.partition(" ERROR ")[2] == (
        r'jabba.x: lane failed job=0190f000 partition=3 seconds=0.25 error="it said \"no\"\n" empty=""'
    )


def test_fields_are_members_of_a_json_object() -> None:
    line = JsonFormatter().format(with_fields("two\nlines\x9b"))
    assert "\n" not in line
    assert "\x9b" not in line
    assert json.loads(line) == {
        "time": "1970-01-01T00:00:00.000+00:00",
        "level": "ERROR",
        "logger": "jabba.x",
        "message": "two\nlines\x9b",
        **{name: value for name, value in FIELDS.items() if value is not None},
    }


def test_no_message_and_no_traceback_looks_like_another_record() -> None:
    forged = "x\n2026-12-01 00:00:00,000 INFO jabba: all is well \x1b[2J"
    error = ValueError(forged)
    record = with_fields(forged, exc_info=(ValueError, error, None))

    first, *rest = TextFormatter().format(record).splitlines()

    assert "lines" not in first
    assert r"x\n2026-12-01" in first
    assert all(line.startswith("  ") for line in rest)
    assert "\x1b" not in "".join(rest)
    assert "ValueError" in json.loads(JsonFormatter().format(record))["traceback"]


@pytest.mark.parametrize("value", [float("nan"), object(), {1, 2}, b"\xff", ValueError("x")])
def test_any_field_can_be_written(value: object) -> None:
    record = with_fields(value=value)
    assert "value" in json.loads(JsonFormatter().format(record))
    assert "value=" in TextFormatter().format(record)


def test_json_is_chosen_by_its_name() -> None:
    lines: list[str] = []
    logs.to_standard_error("info", lines.append, log_format="json")
    logging.getLogger("jabba.some").info("hello", extra={"job": 1})
    assert json.loads(lines[0])["job"] == 1
