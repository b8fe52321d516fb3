"""Tables and texts as a terminal and a pipe get them, whatever their contents."""

import io
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from jabba.cli import console, output
from jabba.jobs.lifecycle import JobStatus, Strategy, TaskStatus
from jabba.jobs.models import Callback, Job, Task
from jabba.jobs.pages import Count

NOW = datetime(2026, 12, 1, tzinfo=UTC)
ID = UUID("0190f000-0000-7000-8000-000000000000")
EVIL = "\x1b[31mred\x9b2J\u202e[bold]\n\t"
SHOWN = r"\u001b[31mred\u009b2J\u202e[bold]\n\t"


def job(**given: Any) -> Job:
    own = {"id": ID, "name": None, "type": "shipping", "status": JobStatus.FAILED, "strategy": Strategy.SEQUENTIAL}
    return Job(**own | {"meta": {}, "ended_at": None, "inserted_at": NOW, "updated_at": NOW} | given)


def task(**given: Any) -> Task:
    callback = Callback(service="local", module="shop", function="ship")
    own = {"id": ID, "job_id": ID, "name": None, "callback": callback, "priority": 2, "status": TaskStatus.RESCUED}
    times = {"ended_at": None, "inserted_at": NOW, "updated_at": NOW}
    return Task(**own | {"result": {}, "meta": {}, "attempt": 1} | times | given)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """Print to a terminal of 60 columns."""
    shown = io.StringIO()
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr(console.out, "_force_terminal", True)
    monkeypatch.setattr(console.out, "_file", shown)
    monkeypatch.setattr(console.out, "_color_system", None)
    return shown


def test_what_a_stranger_wrote_is_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    evil = job(type=EVIL, name=EVIL, meta={EVIL: EVIL}, reason=EVIL)
    output.job(evil)
    output.jobs([evil])
    output.tasks([task(name=EVIL, result={EVIL: EVIL})])
    output.failures([task(name=EVIL, result={"error": EVIL, "traceback": EVIL})], None)
    output.said("worker", EVIL)
    console.as_json(evil)
    console.as_line(evil)

    shown = "".join(capsys.readouterr())

    assert {char for char in shown if not char.isprintable()} <= {"\n", "\t"}
    assert shown.count(SHOWN) >= 5
    assert "[bold]" in shown


def test_nothing_is_cut_in_a_pipe(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    long = "x" * 5000
    output.jobs([job(type=long, meta={"n": 120}), job()])
    output.tasks([task(name=long, result={"n": 120})])

    lines = capsys.readouterr().out.splitlines()

    assert [len(line.split()) for line in lines] == [4, 6, 5, 4, 4]
    assert lines[1].endswith(long + ' {"n":120}')
    assert lines[4].split() == ["2", long, "RESCUED", '{"n":120}']
    assert not any(line != line.rstrip() for line in lines)


@pytest.mark.parametrize("columns", [20, 40, 60, 68, 70, 80, 100])
@pytest.mark.parametrize("length", [10, 50, 500])
def test_a_table_fits_the_terminal_and_shows_what_it_cuts(
    columns: int, length: int, terminal: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    output.jobs([job(type="a" * length, name="b c " * length)])
    output.tasks([task(name="a" * length, result={"n": "x " * length})])
    lines = terminal.getvalue().splitlines()
    assert len(lines) == 6
    assert max(map(len, lines)) <= columns
    for line in (lines[2], lines[5]):
        assert "…" in line or f"{'a' * length} " in line
    if columns >= 80:
        assert str(ID) in lines[2]


@pytest.mark.parametrize("columns", ["0", "-5", "x", ""])
def test_a_width_that_is_none_prints_all_the_same(columns: str, terminal: io.StringIO, monkeypatch: Any) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    output.tasks([task()])
    assert "shop.ship" in terminal.getvalue()


def test_a_failure_names_the_task_its_error_and_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    cause = {"error": "KeyError: 'x'", "type": "KeyError"}
    raised = {"error": "ValueError: no", "type": "ValueError", "traceback": "Traceback:\n  ship()\n", "causes": [cause]}
    output.failures(
        [
            task(result=raised, attempt=3),
            task(priority=0, name="parcel", status=TaskStatus.FAILED, result={"code": 7}),
        ],
        Count(value=12, exact=True),
    )
    assert capsys.readouterr().out == (
        "task 2  shop.ship  RESCUED, attempt 3: ValueError: no\n"
        "  Traceback:\n"
        "    ship()\n"
        "  caused by: KeyError: 'x'\n"
        f'task {ID}  parcel  FAILED: {{"code":7}}\n'
        "… and 10 more failed tasks\n"
    )


def test_a_table_leaves_tracebacks_to_the_command_for_one_job(capsys: pytest.CaptureFixture[str]) -> None:
    output.tasks([task(result={"error": "no", "type": "ValueError", "traceback": "…"}), task(result={"type": "mine"})])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[-1] for line in lines[1:]] == ['{"error":"no"}', '{"type":"mine"}']


def run(code: str, **given: Any) -> "subprocess.CompletedProcess[bytes]":
    prelude = "import os, sys; from jabba.cli import errors, console, output; "
    command = [sys.executable, "-c", prelude + code]
    return subprocess.run(command, check=False, stderr=subprocess.PIPE, timeout=60, **given)


MANY_LINES = "errors.run(lambda: [console.line('ä' * 100) for _ in range(10_000)] and None)"


def test_a_full_output_is_one_sentence() -> None:
    with Path("/dev/full").open("wb") as full:
        done = run(MANY_LINES, stdout=full)
    assert (done.returncode, done.stderr) == (1, b"Error: No space left on device\n")


def test_a_pipe_that_closes_early_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = run(MANY_LINES, stdout=writing)
        table = run("errors.run(lambda: console.out.print('x'))", stdout=writing)
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")
    assert (table.returncode, table.stderr) == (1, b"")


def test_what_the_encoding_lacks_is_escaped() -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = run(
        "errors.run(lambda: (console.out.print('ä'), output.said('up', '…')) and None)", stdout=-1, env=environment
    )
    assert done.returncode == 0
    assert done.stdout == b"\\xe4\n"
