"""``docs/callbacks.md`` is true: what its table says of a callback's answer is what becomes of it."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

import jabba
from jabba.callbacks.local import LocalRunner
from jabba.callbacks.registry import TaskContext
from jabba.callbacks.results import Answer, TaskPlace, encode, failed
from jabba.jobs import ids, json_codec
from jabba.jobs.lifecycle import STATUS_AFTER, Version
from jabba.jobs.models import Callback, Limits

PAGE = (Path(__file__).parents[3] / "docs" / "callbacks.md").read_text()
TABLE = PAGE.partition("<!-- answers -->\n")[2].partition("\n\n")[0]
ROWS = [[cell.strip() for cell in row.strip("|").split("|")] for row in TABLE.splitlines()[2:]]
ANSWERS = [(code, status, result) for said, status, result in ROWS for code in re.findall(r"`([^`]*)`", said)]
ANYTHING = "…"


@pytest.fixture
def runner() -> Iterator[LocalRunner]:
    made = LocalRunner(1)
    yield made
    made.close()


def test_the_table_is_there() -> None:
    assert len(ANSWERS) > 10


@pytest.mark.parametrize("kind", ["async def", "def"])
@pytest.mark.parametrize("code, status, result", ANSWERS)
async def test_an_answer_becomes_what_the_page_says(
    runner: LocalRunner, kind: str, code: str, status: str, result: str
) -> None:
    names: dict[str, Any] = {"jabba": jabba}
    exec(f"{kind} function():\n    {code}", names)  # noqa: S102 — the page is ours
    became, said = await outcome_of(runner, names["function"])
    assert became == status
    assert matches(result.strip("`"), said), said


async def test_wrong_args_and_unknown_callbacks_end_as_the_page_says(runner: LocalRunner) -> None:
    def nothing() -> None: ...

    for function, status, result in (
        (nothing, "RESCUED", '{"error":"TypeError: …","type":"TypeError"}'),
        (None, "FAILED", '{"error": "unknown callback …"}'),
    ):
        became, said = await outcome_of(runner, function, 17)
        assert became == status
        assert matches(result, said), said
        assert f"| {status} | `{result}` |" in PAGE


async def outcome_of(runner: LocalRunner, function: Any, *args: Any) -> tuple[str, Any]:
    """Run a function as a callback; return the status of its task, and the result. None is one that is not there."""
    name = f"f{uuid4().hex}"
    if function is not None:
        jabba.callback(module="page", name=name)(function)
    job = uuid4()
    callback = Callback(service="local", module="page", function=name, args=list(args))
    reply = await runner.run(callback, TaskContext(job, ids.task_id(job, 0), 1))
    answer = reply if isinstance(reply, Answer) else failed(reply.reason)
    encoded = encode(answer, TaskPlace(job, 0), Version(0, 1, 1), Limits().result_bytes)
    told = json_codec.decode(encoded.text)
    return STATUS_AFTER[told["event"]], told["result"]


def matches(told: str, result: Any) -> bool:
    """Compare a result with what the page has of it, in which … stands for any text."""
    text = json_codec.encode(json_codec.decode(told)).decode()
    return re.fullmatch(".*".join(map(re.escape, text.split(ANYTHING))), json_codec.encode(result).decode()) is not None
