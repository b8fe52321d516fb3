"""Errors travel: between processes, and into copies."""

import copy
import importlib
import inspect
import pickle
import pkgutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import pytest

import jabba
from jabba.errors import FieldError, InvalidRequest, JabbaError, TaskError, WrongSecurity


class OwnError(TaskError):
    """A user's, which takes what it likes, and does not call its parent."""

    def __init__(self, order: int, *, reason: str) -> None:
        self.order = order
        self.reason = reason


def classes(root: type[BaseException] = BaseException) -> Iterator[type[BaseException]]:
    """Return every class of errors that is defined in the project."""
    for cls in root.__subclasses__():
        yield from classes(cls)
        if cls.__module__.partition(".")[0] in ("jabba", "agents", "tables", "web"):
            yield cls


def every_class() -> list[type[BaseException]]:
    for module in pkgutil.walk_packages(jabba.__path__, "jabba."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    return sorted(set(classes()), key=lambda cls: (cls.__module__, cls.__name__))


def made(cls: type[BaseException]) -> BaseException:
    """Make an error of any class, with a text for each argument that it must have."""
    if not inspect.isfunction(cls.__init__):
        return cls("text")
    parameters = inspect.signature(cls).parameters.values()
    needed = [one for one in parameters if one.default is one.empty and one.kind is not one.VAR_POSITIONAL]
    keywords = {one.name: one.name for one in needed if one.kind is one.KEYWORD_ONLY}
    return cls(*(one.name for one in needed if one.kind is not one.KEYWORD_ONLY), **keywords)


def facts(error: BaseException) -> tuple[Any, ...]:
    return type(error), str(error), error.args, vars(error)


@pytest.mark.parametrize("cls", every_class(), ids=lambda cls: f"{cls.__module__}.{cls.__qualname__}")
def test_an_error_of_any_class_can_be_pickled_and_copied(cls: type[BaseException]) -> None:
    error = made(cls)
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):  # noqa: S301 — our own
        assert facts(again) == facts(error)
        assert again is not error


@pytest.mark.parametrize(
    "error",
    [
        InvalidRequest("2 invalid fields", [FieldError("type", "is missing"), FieldError("meta", "is too large")]),
        InvalidRequest.at("type", "is missing"),
        WrongSecurity("ca", "cannot be read"),
        TaskError({"code": 7}),
        OwnError(7, reason="lost"),
    ],
    ids=repr,
)
def test_what_an_error_knows_goes_with_it(error: JabbaError) -> None:
    error.add_note("at the harbour")
    assert facts(pickle.loads(pickle.dumps(error))) == facts(error)  # noqa: S301 — our own


def refuse() -> None:
    raise WrongSecurity("ca", "cannot be read")


def test_an_error_comes_back_from_another_process() -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool, pytest.raises(WrongSecurity, match="ca: can"):
        pool.submit(refuse).result()
