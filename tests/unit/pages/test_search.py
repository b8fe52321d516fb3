"""``docs/search.md`` is true: its rules, fields, limits and examples are those of the code."""

import json
import re
from pathlib import Path

import pytest

from jabba import search
from jabba.errors import InvalidRequest
from jabba.search import JOBS, TASKS, Rule, parse_search

PAGE = (Path(__file__).parents[3] / "docs" / "search.md").read_text()
RULES = PAGE.partition("| rule | text |")[2].partition("\n\n")[0]
EXAMPLES = [text for row in RULES.splitlines()[1:] for text in re.findall(r"`([^`]*)`", row.split("|")[2])]


def test_every_rule_has_its_row() -> None:
    assert set(re.findall(r"^\| `(\w+)`", RULES, flags=re.MULTILINE)) == set(Rule)


def test_every_field_is_named() -> None:
    of_jobs, of_tasks = re.findall(r"Fields of jobs: (.*?)\. Of tasks: (.*?)\.\n", PAGE, flags=re.DOTALL)[0]
    assert re.findall(r"`(\w+)`", of_jobs) == list(JOBS.fields)
    assert re.findall(r"`(\w+)`", of_tasks) == list(TASKS.fields)


@pytest.mark.parametrize("text", [one for one in EXAMPLES if one != "in"])
def test_every_example_of_a_rule_is_a_search(text: str) -> None:
    collection = TASKS if text.startswith(("job.", "priority")) else JOBS
    readable = text.replace("(a:1 or b:2)", "meta(a:1 or b:2)").replace("-a:1", "-meta.a:1")
    assert parse_search({"query": readable}, collection).conditions


def test_the_longer_examples_are_searches() -> None:
    (line,) = re.findall(r"```text\n(status:.*)\n```", PAGE)
    assert len(parse_search({"query": line}, JOBS).conditions) == 5
    body = json.loads(re.findall(r"```json\n(.*?)```", PAGE, flags=re.DOTALL)[0])
    assert parse_search(body, JOBS).counted


def test_the_limits_are_those_that_are_told() -> None:
    told = PAGE.partition("## Limits")[2]
    for limit in ("MAX_CONDITIONS", "MAX_DEPTH", "MAX_VALUES", "MAX_LIMIT", "DEFAULT_LIMIT", "MAX_OFFSET", "MAX_TEXT"):
        assert f"{getattr(search, limit):,}" in told, limit


def test_the_places_in_the_page_are_those_of_mistakes() -> None:
    with pytest.raises(InvalidRequest) as refusal:
        parse_search({"filter": [["or", None, [["name", "equal", "a"], ["name", "equal", 1]]]]}, JOBS)
    (mistake,) = refusal.value.fields
    assert f"`{mistake.field}`" in PAGE
