import json
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest

from jabba.callbacks import results
from jabba.callbacks.results import Answer, TaskPlace
from jabba.jobs import json_codec
from jabba.jobs.lifecycle import TaskFailed, TaskRescued, TaskSucceeded, Version
from jabba.messages.events import event_from_json

JOB = uuid4()
LIMIT = 1000


class Odd:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


class Mute(Exception):
    """As libraries have it that look into a response which never came."""

    def __str__(self) -> str:
        raise SystemExit(self.response)  # type: ignore[attr-defined]  # that it is not there is the point


class Array:
    """Compares as NumPy's arrays and Pandas' frames do."""

    def __eq__(self, other: object) -> "Array":  # type: ignore[override]
        return self

    def __bool__(self) -> bool:
        raise ValueError("the truth value is ambiguous")

    def __repr__(self) -> str:
        return "Array"

    __hash__ = None  # type: ignore[assignment]


def leaking() -> Iterator[int]:
    yield 1
    raise OSError("gone: a\0b")


@pytest.mark.parametrize(
    "value, event, result",
    [
        (None, TaskSucceeded, {}),
        ("ok", TaskSucceeded, {}),
        ({}, TaskSucceeded, {}),
        ({"a": 1}, TaskSucceeded, {"a": 1}),
        (("ok", {"a": 1}), TaskSucceeded, {"a": 1}),
        (("ok", 3), TaskSucceeded, {"success": "3"}),
        (42, TaskSucceeded, {"success": "42"}),
        ("text", TaskSucceeded, {"success": "'text'"}),
        ([1, 2], TaskSucceeded, {"success": "[1, 2]"}),
        (False, TaskSucceeded, {"success": "False"}),
        (("a", "b", "c"), TaskSucceeded, {"success": "('a', 'b', 'c')"}),
        (Odd(), TaskSucceeded, {"success": "<Odd whose repr raises RuntimeError>"}),
        (Array(), TaskSucceeded, {"success": "Array"}),
        ((Array(), {}), TaskSucceeded, {"success": "(Array, {})"}),
        (("ok", Array()), TaskSucceeded, {"success": "Array"}),
        ("error", TaskFailed, {"error": "error"}),
        (("error", {"why": 1}), TaskFailed, {"why": 1}),
        (("error", "text"), TaskFailed, {"error": "text"}),
        (("error", 7), TaskFailed, {"error": "7"}),
        (("error", "a\0b\ud800"), TaskFailed, {"error": "a\N{REPLACEMENT CHARACTER}b?"}),
    ],
)
def test_what_a_callback_returns_has_one_meaning(value: Any, event: Any, result: Any) -> None:
    assert results.returned(value) == Answer(event, result)


@pytest.mark.parametrize(
    "error, told",
    [
        (ValueError("why"), "ValueError: why"),
        (Mute(), "Mute: <Mute whose str raises AttributeError>"),
        (ValueError("a\0b\ud800"), "ValueError: a\N{REPLACEMENT CHARACTER}b?"),
    ],
)
def test_whatever_a_callback_raises_rescues_the_task_and_can_be_stored(error: Exception, told: str) -> None:
    answer = results.raised(error)
    assert (answer.event, answer.result["error"]) == (TaskRescued, told)
    assert isinstance(results.encode(answer, TaskPlace(JOB, 3), Version(0, 2, 5), LIMIT).event, TaskRescued)


def test_long_texts_are_cut() -> None:
    assert len(results.returned("x" * 50_000).result["success"]) == 10_000
    assert len(results.raised(ValueError("x" * 50_000)).result["error"]) == 10_000


def encoded(result: Any, limit: int = LIMIT) -> results.Encoded:
    return results.encode(Answer(TaskSucceeded, result), TaskPlace(JOB, 3), Version(0, 2, 5), limit)


def test_an_answer_gets_its_place_in_the_log() -> None:
    found = encoded({"a": "☃"})
    assert found.event == TaskSucceeded(JOB, 3, Version(0, 2, 5), 1, {"a": "☃"})
    assert event_from_json(json_codec.decode(found.text)) == found.event


@pytest.mark.parametrize(
    "result, error",
    [
        ({"a": float("nan")}, "nan is not a JSON number"),
        ({"a": "\0"}, "NUL"),
        ({"a": 10**4300}, "more than 4,300 digits"),
        ({"a": object()}, "no JSON form"),
        ({"a": json.loads("[" * 150 + "]" * 150)}, "more than 100 maps and lists in one another"),
        ({"a": leaking()}, "cannot be read: OSError('gone: a\\x00b')"),
        ({"a": "x" * LIMIT}, "1,008 bytes of JSON, and the limit is 1,000"),
    ],
)
def test_a_result_that_cannot_be_stored_fails_the_task(result: Any, error: str) -> None:
    found = encoded(result)
    assert isinstance(found.event, TaskFailed)
    assert error in found.event.result["error"]
    assert event_from_json(json_codec.decode(found.text)) == found.event


def test_the_limit_itself_is_allowed() -> None:
    result = {"a": "x" * (LIMIT - len('{"a":""}'))}
    assert isinstance(encoded(result).event, TaskSucceeded)


def test_moments_and_ids_in_a_result_are_stored_as_text() -> None:
    assert json_codec.decode(encoded({"id": UUID(int=1)}).text)["result"] == {"id": str(UUID(int=1))}
