import io
import logging
import socket
import subprocess
import sys
from collections.abc import Callable

import pytest
from click.testing import CliRunner
from rich.console import Console

from jabba.cli import errors, output, processes, progress
from jabba.cli.commands import jabba
from jabba.cli.errors import exit_code
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
from jabba.settings import Settings, SettingsError
from tests.support.clocks import HandClock

Shown = Callable[[Exception], str]


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


def test_long_work_prints_a_line_with_its_rate_now_and_then_where_nobody_sees_its_bar() -> None:
    clock, printed = HandClock(), io.StringIO()
    with progress.Work(clock, Console(file=printed, width=80)) as work:
        for doing, done in [
            ("reading", 1),
            ("reading", 2000),
            ("comparing", 1),
            ("comparing", 3001),
            ("comparing", 6001),
        ]:
            work.show(doing, done, 12_000)
            clock.seconds += 6
    assert printed.getvalue() == "comparing: 1 of 12,000\ncomparing: 6,001 of 12,000, 500/s\n"


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


@pytest.fixture
def shown(capsys: pytest.CaptureFixture[str]) -> Callable[[Exception], str]:
    def show(error: Exception) -> str:
        errors.show(error)
        return capsys.readouterr().err

    return show


def test_an_error_is_one_line(shown: Shown) -> None:
    assert shown(NotReady("topics are missing: run `python -m jabba init`")) == (
        "Error: topics are missing: run `python -m jabba init`\n"
    )


def test_wrong_fields_stand_below(shown: Shown) -> None:
    fields = [FieldError("tasks[0].callback", "Field required"), FieldError("type", "[not] a text")]

    assert shown(InvalidRequest("2 invalid fields", fields)) == (
        "Error: 2 invalid fields\n  tasks[0].callback  Field required\n  type  [not] a text\n"
    )


def test_a_single_field_is_not_shown_twice(shown: Shown) -> None:
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


@pytest.mark.parametrize(
    "error, sentence, code",
    [
        (PermissionError(13, "Permission denied", "/var/x"), "/var/x: Permission denied", 1),
        (OSError(28, "No space left on device"), "No space left on device", 1),
        (KeyError("id"), "unexpected KeyError: 'id' (JABBA_LOG_LEVEL=debug shows the traceback)", 1),
        (ExceptionGroup("several", [NotReady("old")]), "old", 1),
        (NotReady("\x1b[2Jtwo\nlines\u202e"), r"\u001b[2Jtwo lines\u202e", 3),
        (JabbaError(), "JabbaError", 1),
    ],
)
def test_every_error_is_one_sentence_and_an_exit_code(
    error: Exception, sentence: str, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(**_: object) -> None:
        raise error

    monkeypatch.setattr(jabba.commands["stats"], "callback", broken)
    done = CliRunner().invoke(jabba, ["stats"])
    assert (done.exit_code, done.stdout, done.stderr) == (code, "", f"Error: {sentence}\n")


def test_ctrl_c_exits_with_130_and_without_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(**_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(jabba.commands["stats"], "callback", interrupted)
    done = CliRunner().invoke(jabba, ["stats"])
    assert (done.exit_code, done.output.strip()) == (130, "")


@pytest.mark.parametrize(
    "arguments, environment",
    [
        (["get", "x"], {"JABBA_KEY": "schlüssel"}),
        (["get", "x"], {"JABBA_KEY": "two\nlines"}),
        (["get", "x", "--url", "http://user:s3cret@127.0.0.1:1"], {}),
        (["get", "x", "--url", ""], {"JABBA_URL": "127.0.0.1:8600"}),
        (["get", "x", "--url", "ftp://127.0.0.1"], {}),
        (["get", "x", "--url", "http://127.0.0.1:99999"], {}),
        (["get", "x", "--url", "http://"], {}),
        (["audit", "--limit", "9" * 20], {}),
        (["audit", "--since", "0001-01-01T00:00:00+14:00"], {}),
        (["verify", "--wait", "nan"], {}),
        (["verify", "--wait", "-1"], {}),
        (["submit", "/no/such/file"], {}),
    ],
)
def test_wrong_input_is_explained_without_a_traceback(arguments: list[str], environment: dict[str, str]) -> None:
    done = CliRunner(env=environment).invoke(jabba, arguments)
    assert done.exit_code == 2, done.output
    assert done.stderr.splitlines()[-1].startswith("Error: ")
    assert "unexpected" not in done.stderr
    assert "s3cret" not in done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_a_script_of_the_shell(shell: str) -> None:
    done = CliRunner().invoke(jabba, ["completion", shell])
    assert done.exit_code == 0
    assert "_JABBA_COMPLETE" in done.stdout


def test_a_data_directory_that_cannot_be_written_is_named() -> None:
    done = CliRunner().invoke(jabba, ["up", "--data", "/proc/no/such", "--port", "0"])
    assert (done.exit_code, done.stdout) == (3, "")
    assert "nothing can be written in /proc/no/such" in done.stderr
    assert done.stderr.endswith("choose another --data\n")


def test_up_takes_a_free_port_unless_one_was_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setattr(Settings.model_fields["web_port"], "default", port)
        Settings.model_rebuild(force=True)
        try:
            found = processes._with_free_port(Settings())
            chosen = processes._with_free_port(Settings(web_port=port))
        finally:
            monkeypatch.undo()
            Settings.model_rebuild(force=True)
    assert found.web_port != port
    assert found.as_environ() == {"JABBA_WEB_PORT": str(found.web_port)}
    assert chosen.web_port == port
