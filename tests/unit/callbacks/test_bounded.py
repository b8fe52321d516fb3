"""What callbacks return: however large, slow or odd, it is kept within bounds, or refused in words."""

import array
import enum
import itertools
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import BaseModel, ValidationError

import jabba
from jabba.callbacks import bounded, results
from jabba.callbacks.bounded import Unstorable, shown, to_stored_json
from jabba.callbacks.results import Bounds, TaskPlace
from jabba.jobs import json_codec
from jabba.jobs.lifecycle import TaskFailed, TaskRescued, TaskSucceeded, Version
from jabba.messages.events import decode_events, encode_events

LIMIT = 1000


class Colour(enum.Enum):
    NUL = "a\0"
    NAN = float("nan")
    RED = "red"


@dataclass
class Order:
    items: Any


class Model(BaseModel):
    items: Any


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


ODD: list[Any] = [
    {"x": {"a\0"}},
    {"x": {float("nan")}},
    {"x": frozenset({float("inf")})},
    {"x": Order("\0")},
    {"x": Model(items={"\0"})},
    {"x": Colour.NUL},
    {"x": Colour.NAN},
    {Colour.NUL: 1},
    {b"a\0": 1},
    {"x": b"\xff"},
    {"x": iter(["\0"])},
    {"x": (one for one in [float("nan")])},
    {"x": map(chr, [0])},
    {"x": {10**4300}},
    {"x": Order(10**5000)},
    {"x": nested(101)},
    {"x": (nested(150),)},
    {"x": Order(nested(150))},
    {"x": Model(items=nested(150))},
    {"x": Model(items=nested(300))},
    {"x": iter([nested(150)])},
    {"x": "\ud800"},
    {"\ud800": 1},
    {"x": object()},
    {"x": itertools.count()},
    {1: "a", "1": "b"},
    {True: 1, "true": 2},
    {"x": [{None: 1, "None": 2}]},
    {"x": {UUID(int=1): 1, str(UUID(int=1)): 2}},
    {Colour.RED: 1, "red": 2},
    {"x": Order({1: 1, "1": 2})},
    {"x": ["a" * 300] * 4},
    {"x": iter(["a" * 300] * 4)},
]


@pytest.mark.parametrize("result", ODD)
@pytest.mark.parametrize("how", [lambda result: result, lambda result: ("error", result), jabba.TaskError])
def test_what_cannot_be_read_back_fails_and_is_none_of_its_neighbours_business(result: Any, how: Any) -> None:
    said = how(result)
    bounds = Bounds(result_bytes=LIMIT)
    answer = results.raised(said, bounds) if isinstance(said, jabba.TaskError) else results.returned(said, bounds)
    # An iterator is used up by the first of the three.
    assert answer.event is TaskFailed or isinstance(result["x"], Iterator)
    encoded = results.encode(answer, TaskPlace(uuid4(), 0), Version(0, 1, 1), LIMIT)
    harmless = results.encode(results.returned({}), TaskPlace(uuid4(), 0), Version(0, 1, 1), LIMIT)
    assert decode_events(encode_events([harmless.text, encoded.text])) == [harmless.event, encoded.event]
    json_codec.refuse_unstorable(encoded.event.result, "")  # type: ignore[union-attr]


@pytest.mark.parametrize("keys, name", [((1, "1"), "1"), ((True, "true"), "true"), ((1.5, "1.5"), "1.5")])
def test_two_keys_of_one_text_are_named(keys: tuple[Any, Any], name: str) -> None:
    with pytest.raises(Unstorable, match=f"two keys that both become '{name}'"):
        to_stored_json({"x": dict.fromkeys(keys, 0)}, LIMIT)


def test_an_iterator_is_read_once_and_its_bytes_are_counted() -> None:
    read = to_stored_json({"x": iter([1, 2]), "y": {3}, "z": Order(iter("ab"))}, LIMIT)
    assert read.value == {"x": [1, 2], "y": [3], "z": {"items": ["a", "b"]}}
    assert json_codec.decode(read.text) == read.value


@pytest.mark.parametrize("items", [itertools.count(), itertools.repeat("a" * 100), iter([[0] * 2000])])
def test_an_endless_iterator_is_read_no_further_than_the_limit(items: Any) -> None:
    with pytest.raises(Unstorable, match="limit"):
        to_stored_json({"x": items}, LIMIT)


def test_a_slow_iterator_has_a_limit_in_time() -> None:
    now = 0.0

    def slow() -> Iterator[int]:
        nonlocal now
        while True:
            now += 1.0
            yield 1

    with pytest.raises(Unstorable, match="took longer than 10 s"):
        to_stored_json({"x": slow()}, LIMIT, lambda: now)
    assert now == 11.0


@pytest.mark.parametrize(
    "value, text",
    [
        ([0] * 6_000_000, "[0, 0, 0"),
        (([0] * 6_000_000,), "(<large list of 6,000,000>,)"),
        ({"a": [0] * 6_000_000}, "<large dict of 1>"),
        (deque(range(6_000_000)), "<large deque of 6,000,000>"),
        (array.array("b", bytes(6_000_000)), "<large array of 6,000,000>"),
        (Order([0] * 6_000_000), "<large Order>"),
        (bytes(20_000_000), "b'\\x00\\x00"),
        (ValueError([0] * 6_000_000), "<large ValueError>"),
    ],
)
def test_a_giant_repr_is_not_made(value: Any, text: str) -> None:
    began = time.process_time()
    assert shown(value).startswith(text)
    assert time.process_time() - began < 0.2


def test_what_is_small_is_shown_as_it_is() -> None:
    values: list[Any] = [[1, "a"], {"a": {1}}, (1,), Order([1]), Colour.RED, "x" * 5000, b"x", deque([1])]
    assert [shown(value) for value in values] == [repr(value) for value in values]


class Secretive(BaseModel):
    password: int


def refused() -> ValidationError:
    # The line that raises is part of the traceback.
    given = {"password": "hunter2"}
    with pytest.raises(ValidationError) as found:
        Secretive.model_validate(given)
    return found.value


def test_a_validation_error_keeps_its_inputs_to_itself() -> None:
    wrapped = RuntimeError("no order")
    wrapped.__cause__ = refused()
    group = ExceptionGroup("two", [refused(), wrapped])
    said = [refused(), wrapped, group, jabba.TaskError(refused())]
    answers = [*map(results.raised, said), results.returned(refused()), results.returned(("error", refused()))]
    for answer in answers:
        assert b"hunter2" not in (answer.text or b"")
        assert b"password" in (answer.text or b"")


def test_a_task_error_without_its_result_is_an_outcome() -> None:
    class Declined(jabba.TaskError):
        def __init__(self, why: str) -> None:
            self.why = why

    class Raising(jabba.TaskError):
        @property
        def result(self) -> Any:
            raise SystemExit(3)

        @result.setter
        def result(self, _: Any) -> None: ...

    for error in (Declined("no money"), Raising()):
        answer = results.raised(error)
        assert answer.event is TaskRescued
        assert "its result cannot be read" in answer.result["error"]


def test_a_generator_that_is_returned_fails() -> None:
    for said in ((one for one in "ab"), ("ok", (one for one in "ab"))):
        answer = results.returned(said)
        assert answer.event is TaskFailed
        assert "nobody runs" in answer.result["error"]


def test_plain_results_are_told_from_those_that_run_foreign_code() -> None:
    plain: list[Any] = [{}, None, {"a": [1, "b", {1.5}, uuid4()]}, Order([1]), Colour.RED]
    foreign: list[Any] = [
        iter([]),
        {"a": map(str, [])},
        Model(items=1),
        object(),
        [0] * 100_000,
        {"a": Order(iter([]))},
    ]
    assert all(map(bounded.is_plain, plain))
    assert not any(map(bounded.is_plain, foreign))


def test_results_stay_as_they_were() -> None:
    given = {"when": UUID(int=1), "tuple": (1, 2), "nested": {"a": Order(1)}, 7: "key"}
    answer = results.returned(given)
    assert answer.event is TaskSucceeded
    assert answer.result == {"when": str(UUID(int=1)), "tuple": [1, 2], "nested": {"a": {"items": 1}}, "7": "key"}
