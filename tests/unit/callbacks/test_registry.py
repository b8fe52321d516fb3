from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

import jabba
from jabba.callbacks import registry
from jabba.callbacks.registry import DuplicateCallback, InvalidCallback

MODULE = """
import jabba

def decorate(function):
    def wrapper():
        return function()
    return wrapper

@jabba.callback(module="{name}", name="f")
@decorate
def f():
    return {value}
"""


def undecorated(function: Callable[..., Any]) -> Callable[..., Any]:
    def wrapper() -> Any:
        return function()

    return wrapper


class Called:
    def __call__(self) -> None: ...


class Generating:
    def __call__(self) -> Iterator[int]:
        yield 1


def name() -> str:
    return f"m{uuid4().hex}"


def test_two_functions_of_one_name_are_refused_and_both_places_named() -> None:
    module = name()

    def same() -> None: ...

    jabba.callback(module=module)(same)
    first = same

    def same() -> None: ...  # type: ignore[no-redef]

    with pytest.raises(DuplicateCallback) as refused:
        jabba.callback(module=module)(same)
    assert f"{module}.same is registered twice" in str(refused.value)
    assert str(refused.value).count(f"{Path(__file__).name}:") == 2
    assert registry.find(module, "same") is first


def test_two_functions_behind_a_decorator_without_wraps_are_refused() -> None:
    module = name()
    jabba.callback(module=module)(undecorated(test_two_functions_of_one_name_are_refused_and_both_places_named))
    with pytest.raises(DuplicateCallback):
        jabba.callback(module=module)(undecorated(name))


def test_functions_of_one_name_from_a_loop_are_refused() -> None:
    module = name()
    with pytest.raises(DuplicateCallback):  # noqa: PT012 — the loop is the point
        for function in (name, undecorated):
            jabba.callback(module=module)(undecorated(function))


def test_a_module_may_be_imported_again() -> None:
    module = name()
    for value in (1, 2):
        exec(compile(MODULE.format(name=module, value=value), "shop.py", "exec"), {"__name__": "shop"})  # noqa: S102
    found = registry.find(module, "f")
    assert found is not None
    assert found() == 2


@pytest.mark.parametrize("target", [partial(print, 1), Called()])
def test_what_has_no_name_of_its_own_needs_one(target: Any) -> None:
    with pytest.raises(InvalidCallback, match="name="):
        jabba.callback(target)
    given = name()
    jabba.callback(name=given)(target)
    assert registry.find(__name__, given) is target


@pytest.mark.parametrize("target", ["shop.charge", 5, property(len)])
def test_what_cannot_be_called_is_refused(target: Any) -> None:
    with pytest.raises(InvalidCallback, match="is no function"):
        jabba.callback(target)


def test_generator_functions_are_refused() -> None:
    def yields() -> Iterator[int]:
        yield 1

    async def yields_later() -> AsyncIterator[int]:
        yield 1

    for target in (yields, yields_later, partial(yields), Generating()):
        with pytest.raises(InvalidCallback, match="generator function"):
            jabba.callback(name=name())(target)
