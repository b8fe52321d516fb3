"""The examples of the tutorial and of the README do what they say."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from demo import billing
from tests.support.processes import CHECKOUT, plain_environment
from tests.support.up import Up
from web.openapi import path_of
from web.routes import VIEWS

README = (CHECKOUT / "README.md").read_text()
TUTORIAL = (CHECKOUT / "docs" / "tutorial.md").read_text()
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
WEB = "http://127.0.0.1:8600"
DATA = ".jabba"
ANYTHING = "…"
SECONDS = 60


BLOCKS: list[tuple[str, str]] = BLOCK.findall(TUTORIAL)
EXAMPLES = [(call, expected) for (_, call), (_, expected) in pairwise(BLOCKS) if call.startswith("curl")]
(KEY,) = (call for _, call in BLOCKS if call.startswith("AUTH="))
PROGRAMS = [text for language, text in [*BLOCKS, *BLOCK.findall(README)] if language == "python"]


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    directory = tmp_path_factory.mktemp("readme")
    with (
        billing.running(directory) as services,
        Up(directory, callbacks="demo.shop", services=services) as running,
    ):
        yield running


def run(command: list[str], **variables: str) -> str:
    environment = {**plain_environment(), **variables}
    done = subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_curl_example_answers_as_told(up: Up) -> None:
    variables: dict[str, str] = {}

    for call, expected in EXAMPLES:
        actual = answer(up, call, variables, expected)
        if not variables:
            variables = {"JOB": actual["data"]["id"], "POSITION": actual["data"]["position"]}
        if "/tasks?cursor" in call:
            variables["TASK"] = actual["data"][0]["id"]


def answer(up: Up, call: str, variables: dict[str, str], expected: str) -> Any:
    """Ask, and ask questions again until the answer is the expected one: readers type slower than jobs run."""
    deadline = time.monotonic() + SECONDS
    while True:
        said = run(["bash", "-c", here(up, f"{KEY}{call}")], **variables)
        actual, wrong = compared(expected, said)
        if not wrong:
            return actual
        may_change = "/v1/jobs -d" not in call and time.monotonic() < deadline
        assert may_change, f"{call}\n{wrong}; the whole answer:\n{said}"
        time.sleep(0.1)


def here(up: Up, text: str) -> str:
    """Return an example with the places of the running Jabba."""
    return text.replace(WEB, up.url).replace(DATA, str(up.data))


def compared(expected: str, said: str) -> tuple[Any, str]:
    """Read an answer, as JSON or as a text of which some lines are told, and say what is not as told."""
    if is_json(expected):
        actual = json.loads(said)
        return actual, difference(json.loads(expected), actual)
    wrong = (line for line in expected.splitlines() if not any(matches(line, other) for other in said.splitlines()))
    return said, next(wrong, "")


def is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def matches(expected: str, actual: str) -> bool:
    return re.fullmatch(".*".join(map(re.escape, expected.split(ANYTHING))), actual) is not None


def test_there_is_an_example_for_every_route() -> None:
    calls = " ".join(call for call, _ in EXAMPLES).replace("$JOB", "{id}").replace("$TASK", "{id}")

    assert [path for path in map(path_of, VIEWS) if f"{WEB}{path}" not in calls] == []


def difference(expected: Any, actual: Any, path: str = "answer") -> str:
    """Say where an answer is not as told: told objects are shortened, and … stands for any text."""
    if isinstance(expected, dict) and isinstance(actual, dict):
        missing = next((key for key in expected if key not in actual), None)
        if missing is not None:
            return f"{path} has no {missing}"
        pairs = [(f"{path}.{key}", value, actual[key]) for key, value in expected.items()]
    elif isinstance(expected, list) and isinstance(actual, list) and len(expected) == len(actual):
        pairs = [(f"{path}[{number}]", *pair) for number, pair in enumerate(zip(expected, actual, strict=True))]
    elif isinstance(expected, str) and ANYTHING in expected:
        return "" if matches(expected, str(actual)) else f"{path} is {actual!r}, not {expected!r}"
    else:
        return "" if expected == actual else f"{path} is {actual!r}, not {expected!r}"
    return next((wrong for where, one, other in pairs if (wrong := difference(one, other, where))), "")


@pytest.mark.parametrize("program", [text for text in PROGRAMS if "@jabba.callback" not in text])
def test_every_python_example_runs(up: Up, program: str) -> None:
    said = run([sys.executable, "-c", here(up, program)])

    assert said.startswith("PROCESSED")


def test_the_callbacks_shown_are_those_that_run() -> None:
    (shown,) = (text for text in PROGRAMS if "@jabba.callback" in text)

    assert (CHECKOUT / "demo" / "shop.py").read_text().endswith(shown)
