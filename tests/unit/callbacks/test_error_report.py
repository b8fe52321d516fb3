"""What is kept of an exception: its causes, members, notes, and where it was raised."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from jabba.callbacks import error_report, local
from jabba.callbacks.error_report import report
from jabba.errors import InvalidRequest
from jabba.jobs import json_codec


def caught(function: Callable[[], Any]) -> BaseException:
    try:
        function()
    except BaseException as error:  # noqa: BLE001 — of any kind
        return error
    raise AssertionError


def divide() -> None:
    1 / 0  # noqa: B018 — raises


def from_a_cause() -> None:
    try:
        divide()
    except ZeroDivisionError as error:
        raise RuntimeError("outer") from error


def while_handling() -> None:
    try:
        from_a_cause()
    except RuntimeError:
        raise KeyError("worse")  # noqa: B904 — the context is the point


def hiding() -> None:
    try:
        divide()
    except ZeroDivisionError:
        raise ValueError("alone") from None


def test_the_causes_are_kept_from_the_nearest_to_the_first() -> None:
    found = report(caught(while_handling))
    assert (found["error"], found["type"]) == ("KeyError: 'worse'", "KeyError")
    assert [one["error"] for one in found["causes"]] == ["RuntimeError: outer", "ZeroDivisionError: division by zero"]
    assert "divide" in found["causes"][1]["traceback"]
    assert "causes" not in report(caught(hiding))


def test_the_members_of_a_group_are_kept() -> None:
    async def fails() -> None:
        from_a_cause()

    async def together() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(fails())
            group.create_task(fails())

    found = report(caught(lambda: asyncio.run(together())))
    assert found["type"] == "ExceptionGroup"
    assert [one["error"] for one in found["members"]] == ["RuntimeError: outer"] * 2
    assert found["members"][0]["causes"][0]["type"] == "ZeroDivisionError"


def test_notes_are_kept() -> None:
    error = ValueError("a")
    error.add_note("order 17\0")
    assert report(error) == {
        "error": "ValueError: a",
        "type": "ValueError",
        "notes": ["order 17\N{REPLACEMENT CHARACTER}"],
    }


def test_a_type_has_its_module() -> None:
    assert report(InvalidRequest("x"))["type"] == "jabba.errors.InvalidRequest"


@pytest.mark.parametrize("size", [0, 100, 4096])
def test_tracebacks_are_bounded_together(size: int) -> None:
    group = BaseExceptionGroup("many", [caught(from_a_cause) for _ in range(5)])
    text = json_codec.encode(report(group, size)).decode()
    assert "jabba/callbacks" not in text
    assert sum(len(one.encode()) for one in tracebacks(report(group, size))) <= size
    assert ("traceback" in text) == (size > 0)


def tracebacks(found: Any) -> list[str]:
    inner = [one for key in ("causes", "members") for each in found.get(key, []) for one in tracebacks(each)]
    return [found["traceback"], *inner] if "traceback" in found else inner


def test_the_number_of_errors_is_bounded() -> None:
    error: BaseException = ValueError(0)
    for number in range(5000):
        outer: BaseException = BaseExceptionGroup(f"{number}", [error]) if number % 2 else RuntimeError(number)
        outer.__cause__ = error
        error = outer
    text = json_codec.encode(report(error))
    assert text.count(b'"error"') == 20


def test_errors_that_cause_each_other_end() -> None:
    first, second = ValueError(1), ValueError(2)
    first.__cause__, second.__cause__ = second, first
    assert [one["error"] for one in report(first)["causes"]] == ["ValueError: 2"]


def test_an_exception_may_have_anything_in_it() -> None:
    class Hostile(Exception):
        @property
        def __notes__(self) -> Any:  # type: ignore[override]
            raise OSError("gone")

    assert report(Hostile()) == {"error": "Hostile: "}


def test_frames_of_jabba_are_cut_away() -> None:
    def call() -> None:
        asyncio.run(local._Guarded(fails(), lambda: None).__await__().send(None))

    async def fails() -> None:
        divide()

    found = report(caught(call))
    assert error_report._OWN_FRAMES in local.__file__
    assert "divide" in found["traceback"]
