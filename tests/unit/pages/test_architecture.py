"""``docs/architecture.md`` is true: its picture is the transition table, its modules and dependencies are there."""

import re
import tomllib
from pathlib import Path

from jabba.jobs.lifecycle import FINAL, TASK_TRANSITIONS, TaskStatus

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "architecture.md").read_text()


def test_the_picture_shows_the_transition_table() -> None:
    (picture,) = re.findall(r"```mermaid\n(.*?)```", PAGE, flags=re.DOTALL)
    drawn = re.findall(r"^ +(\w+) --> (\w+): (\w+)$", picture, flags=re.MULTILINE)

    assert sorted(drawn) == sorted(
        (source.value, transition.target.value, event.kind)
        for event, transition in TASK_TRANSITIONS.items()
        for source in transition.sources
    )
    assert re.findall(r"\[\*\] --> (\w+)", picture) == [TaskStatus.NEW]
    assert sorted(re.findall(r"(\w+) --> \[\*\]", picture)) == sorted(FINAL)


def test_every_package_and_module_it_names_is_there() -> None:
    named = set(re.findall(r"`((?:jabba|agents|web|tables)(?:/[\w.]+)*)`", PAGE))

    assert len(named) > 20
    assert sorted(name for name in named if not (ROOT / name).exists()) == []


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    wanted = {
        re.split(r"[\[>=]", one)[0] for one in [*project["dependencies"], *(one for some in extras for one in some)]
    }
    table = PAGE.partition("## Why each dependency")[2].partition("##")[0]

    assert set(re.findall(r"^\| `([\w-]+)` \|", table, flags=re.MULTILINE)) == wanted - {"jabba"}
