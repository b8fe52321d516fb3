import io
import logging
import subprocess
import sys

import pytest
from click.testing import CliRunner
from rich.console import Console

from jabba.cli import output, progress
from jabba.cli.commands import Failure, exit_code, jabba
from jabba.cli.search import _order_by
from jabba.client import Order
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
from jabba.local.postgres import DatabaseFailed
from jabba.monitoring import logs
from jabba.settings import SettingsError
from tests.support.clocks import HandClock


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


def test_a_long_work_tells_now_and_then_where_nobody_sees_its_bar() -> None:
    clock, told = HandClock(), io.StringIO()
    with progress.Work(clock, Console(file=told)) as work:
        for doing, done in [("reading the log", 1), ("reading the log", 2000), ("comparing", 1), ("comparing", 9000)]:
            work.tell(doing, done, 12_000)
            clock.seconds += 6
    assert told.getvalue() == "comparing: 1 of 12,000\n"


def told(*arguments: str) -> str:
    done = CliRunner().invoke(jabba, [*arguments, "--help"], terminal_width=80)
    assert done.exit_code == 0
    return done.output


def test_every_command_is_named_in_a_whole_sentence() -> None:
    for group in ((), ("keys",), ("dead-letters",)):
        assert "..." not in told(*group).partition("Commands:")[2]


@pytest.mark.parametrize(
    "command, example", [("submit", '{"type":'), ("search", "jabba search --"), ("tasks", "jabba tasks ID '")]
)
def test_examples_in_help_stand_in_lines_of_their_own(command: str, example: str) -> None:
    assert any(line.strip().startswith(example) for line in told(command).splitlines())
    assert "\\b" not in told(command)


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
    "text, order_by",
    [
        ("-inserted_at", [("desc", "inserted_at")]),
        ("name,-type", [("asc", "name"), ("desc", "type")]),
    ],
)
def test_an_order_is_fields_with_a_minus_before_those_that_descend(text: str, order_by: Order) -> None:
    assert _order_by(text) == order_by


def test_the_mistakes_in_a_query_are_pointed_to(capsys: pytest.CaptureFixture[str]) -> None:
    output.places("status:DONE id:x", "query", [FieldError("query[7]", "no"), FieldError("query[15]", "no")])
    output.places("status:DONE", "query", [FieldError("order_by[0][1]", "no")])
    assert capsys.readouterr().err == "  status:DONE id:x\n         ^       ^\n"


def test_all_of_them_and_some_of_them_cannot_be_meant_at_once() -> None:
    done = CliRunner().invoke(jabba, ["search", "--all", "--limit", "3"])
    assert done.exit_code == 2


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
    assert done.stderr == f"The command line needs {missing}: in Jabba's checkout, pip install '.[server]'\n"


def test_lines_of_the_log_are_plain(capsys: pytest.CaptureFixture[str]) -> None:
    lines: list[str] = []
    logs.to_standard_error("info", lines.append)
    logging.getLogger("jabba.some").info("hello %s", "you")
    logging.getLogger("jabba.some").debug("not this")
    logging.getLogger("jabba.faust_app").info("[^--App]: Starting...")
    logging.getLogger("jabba.faust_app").warning("[^--App]: but this")

    assert [line.partition(" INFO ")[2] or line.partition(" WARNING ")[2] for line in lines] == [
        "jabba.some: hello you",
        "jabba.faust_app: [^--App]: but this",
    ]
    assert capsys.readouterr() == ("", "")
