from typing import Any

import pytest

from jabba.errors import InvalidRequest, LimitExceeded
from jabba.jobs.lifecycle import Strategy
from jabba.jobs.models import Callback, JobSpec, Limits, TaskSpec, field_path

LIMITS = Limits(tasks_per_job=3)
CALL = {"service": "local", "module": "m", "function": "f", "args": [1]}


def parse(**given: Any) -> JobSpec:
    return JobSpec.parse({"type": "t", "tasks": [{"callback": CALL}], **given}, LIMITS)


@pytest.mark.parametrize(
    "tasks",
    [
        [{"callback": CALL}],
        {"callback": CALL},
        ["local", "m", "f", [1]],
        ("local", "m", "f", (1,)),
        [["local", "m", "f", [1]]],
        [("local", "m", "f", [1])],
        [{"callback": ["local", "m", "f", [1]]}],
        [Callback(**CALL)],
        [TaskSpec(callback=Callback(**CALL))],
        TaskSpec(callback=Callback(**CALL)),
    ],
)
def test_every_short_form_means_the_same(tasks: Any) -> None:
    assert parse(tasks=tasks) == parse()


def test_a_bare_callback_may_go_without_arguments() -> None:
    assert parse(tasks=["local", "m", "f"]).tasks[0].callback.args == []


@pytest.mark.parametrize(
    "word, strategy",
    [
        ("sequential", Strategy.SEQUENTIAL),
        ("SEQUENTIALLY", Strategy.SEQUENTIAL),
        ("concurrent", Strategy.CONCURRENT),
        ("Concurrently", Strategy.CONCURRENT),
    ],
)
def test_strategies_go_by_several_words(word: str, strategy: Strategy) -> None:
    assert parse(strategy=word).strategy is strategy


def test_sequential_is_the_default() -> None:
    assert parse().strategy is Strategy.SEQUENTIAL


@pytest.mark.parametrize(
    "given, fields",
    [
        ({"tasks": []}, ["tasks"]),
        ({"tasks": "x"}, ["tasks"]),
        ({"tasks": [7]}, ["tasks[0]"]),
        ({"tasks": [{}]}, ["tasks[0].callback"]),
        ({"tasks": [{"callback": {**CALL, "service": ""}}]}, ["tasks[0].callback.service"]),
        ({"tasks": [{"callback": {**CALL, "args": {}}}]}, ["tasks[0].callback.args"]),
        ({"tasks": [{"callback": {**CALL, "args": [object()]}}]}, ["tasks[0].callback.args[0]"]),
        ({"tasks": [{"callback": CALL, "name": "x" * 256}]}, ["tasks[0].name"]),
        ({"tasks": [{"callback": CALL, "x": 1}]}, ["tasks[0].x"]),
        ({"type": ""}, ["type"]),
        ({"type": "a\0"}, ["type"]),
        ({"meta": []}, ["meta"]),
        ({"strategy": "x"}, ["strategy"]),
        ({"id": "x"}, ["id"]),
        ({"retry": 3}, ["retry"]),
        ({"type": 1, "name": 2}, ["type", "name"]),
    ],
)
def test_every_wrong_field_is_named(given: dict[str, Any], fields: list[str]) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse(**given)
    assert [error.field for error in refused.value.fields] == fields
    assert all(error.message for error in refused.value.fields)


def test_too_many_tasks_are_refused_before_they_are_read() -> None:
    with pytest.raises(LimitExceeded) as refused:
        parse(tasks=[None] * 4)
    assert refused.value.as_json()["fields"] == [{"field": "tasks", "message": "4 tasks, and the limit is 3"}]


def test_locations_are_written_as_paths() -> None:
    assert field_path(("tasks", 3, "callback", "args", 0)) == "tasks[3].callback.args[0]"


@pytest.mark.parametrize(
    "document, message",
    [
        (None, "Input should be an object"),
        ({"type": "t", "tasks": [7]}, "Input should be an object"),
        ({"type": "t", "tasks": [{"callback": CALL, "meta": []}]}, "Input should be an object"),
        ({"type": "t", "tasks": [{"callback": None}]}, "Input should be an object"),
        ({"type": "t", "tasks": None}, "Input should be a list"),
    ],
)
def test_messages_are_in_the_words_of_json(document: Any, message: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        JobSpec.parse(document, LIMITS)
    assert [one.message for one in caught.value.fields] == [message]
