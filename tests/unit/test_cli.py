import io
import logging
import subprocess
import sys
from typing import Any

import click
import pytest
from click.testing import CliRunner

from jabba.cli import logs
from jabba.cli.commands import Failure, exit_code, jabba
from jabba.cli.jobs import _condition
from jabba.embedded.database import DatabaseFailed
from jabba.errors import (
    Conflict,
    FieldError,
    InvalidRequest,
    JabbaError,
    LimitExceeded,
    MissingExtra,
    NotFound,
    NotReady,
    Unavailable,
)
from jabba.filters import JOBS, TASKS, Collection, parse_search
from jabba.settings import SettingsError


@pytest.mark.parametrize(
    "error, code",
    [
        (InvalidRequest("wrong"), 2),
        (LimitExceeded("large"), 2),
        (Conflict("taken"), 2),
        (SettingsError("wrong"), 2),
        (Unavailable("away"), 3),
        (NotReady("old"), 3),
        (MissingExtra("pip install"), 3),
        (NotFound("no"), 1),
        (DatabaseFailed("no"), 1),
        (JabbaError("no"), 1),
    ],
)
def test_exit_codes(error: JabbaError, code: int) -> None:
    assert exit_code(error) == code


def shown(error: JabbaError) -> str:
    told = io.StringIO()
    Failure(error).show(told)
    return told.getvalue()


def test_an_error_is_one_line() -> None:
    assert shown(NotReady("topics are missing: run `python -m jabba init`")) == (
        "Error: topics are missing: run `python -m jabba init`\n"
    )


def test_wrong_fields_stand_below() -> None:
    fields = [FieldError("tasks[0].callback", "Field required"), FieldError("type", "[not] a text")]

    assert shown(InvalidRequest("2 invalid fields", fields)) == (
        "Error: 2 invalid fields\n  tasks[0].callback  Field required\n  type  [not] a text\n"
    )


def test_a_single_field_is_not_told_twice() -> None:
    assert shown(InvalidRequest.at("id", "must be a UUIDv7")) == "Error: id: must be a UUIDv7\n"


@pytest.mark.parametrize(
    "text, collection, condition",
    [
        ("status=FAILED", JOBS, ["status", "equal", "FAILED"]),
        ("status=failed", JOBS, ["status", "equal", "FAILED"]),
        ("type=a=b", JOBS, ["type", "equal", "a=b"]),
        ("type=7", JOBS, ["type", "equal", "7"]),
        ("name=", JOBS, ["name", "equal", None]),
        ("meta.order=17", JOBS, ["meta", None, [["order", "equal", 17]]]),
        ('meta.order="17"', JOBS, ["meta", None, [["order", "equal", "17"]]]),
        ("meta.a.b=text", JOBS, ["meta", None, [["a", None, [["b", "equal", "text"]]]]]),
        ('meta={"a": 1}', JOBS, ["meta", "equal", {"a": 1}]),
        ("priority=2", TASKS, ["priority", "equal", 2]),
        ("result.paid=true", TASKS, ["result", None, [["paid", "equal", True]]]),
    ],
)
def test_filters_become_conditions(text: str, collection: Collection, condition: list[Any]) -> None:
    assert _condition(text, collection) == condition
    parse_search({"filter": [condition]}, collection)


@pytest.mark.parametrize("text", ["status", "unknown=1", "type.a=1", "=1", ""])
def test_what_is_no_filter_is_refused_with_the_fields_there_are(text: str) -> None:
    with pytest.raises(click.UsageError, match="no FIELD=VALUE; the fields are id, name, type"):
        _condition(text, JOBS)


def test_a_file_that_is_no_json_is_wrong_usage() -> None:
    done = CliRunner().invoke(jabba, ["submit", "-"], input='{"tasks": [')

    assert done.exit_code == 2
    assert "standard input is not JSON" in done.output


def test_every_command_explains_itself() -> None:
    assert {"init", "up", "worker", "web", "projector", "submit", "get", "search"} <= set(jabba.commands)
    for name in jabba.commands:
        done = CliRunner().invoke(jabba, [name, "--help"])
        assert (done.exit_code, done.output.startswith(f"Usage: jabba {name}")) == (0, True), done.output


def test_the_version_is_told() -> None:
    assert CliRunner().invoke(jabba, ["--version"]).output == "Jabba 0.1.0\n"


@pytest.mark.parametrize("missing", ["click", "rich"])
def test_without_the_extra_the_command_line_says_how_to_install_it(missing: str) -> None:
    code = f"import sys; sys.modules[{missing!r}] = None; from jabba.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert done.stderr == f"The command line needs {missing}: pip install 'jabba[server]'\n"


def test_lines_of_the_log_are_plain(capsys: pytest.CaptureFixture[str]) -> None:
    lines: list[str] = []
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    try:
        logs.to_standard_error("info", lines.append)
        logging.getLogger("jabba.some").info("hello %s", "you")
        logging.getLogger("jabba.some").debug("not this")
        logging.getLogger("jabba.app").info("[^--App]: Starting...")
        logging.getLogger("jabba.app").warning("[^--App]: but this")
    finally:
        logging.basicConfig(handlers=before, level=level, force=True)

    assert [line.partition(" INFO ")[2] or line.partition(" WARNING ")[2] for line in lines] == [
        "jabba.some: hello you",
        "jabba.app: [^--App]: but this",
    ]
    assert capsys.readouterr() == ("", "")
