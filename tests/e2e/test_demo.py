"""The demo, and whether its table is true: compared with a check of the same files that shares no code with it."""

import base64
import hashlib
import os
import re
import signal
import subprocess
import sys
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.processes import CHECKOUT, ChildProcess, plain_environment

SECONDS = 120
ROW = re.compile(r"(?P<name>\S+) +(?P<numbers>[\d,]+(?: +[\d,]+){4}) +(?P<status>[A-Z]+) *")
SUMS = re.compile(r"(?P<count>\d+) distributions +(?P<numbers>[\d,]+(?: +[\d,]+){4}) *")


class Found(NamedTuple):
    files: int
    size: int
    bare: int
    mismatches: int
    missing: int


def checked(distribution: Distribution) -> Found:
    """Check a distribution directly."""
    found = [check(distribution, *line) for line in lines_of_record(distribution)]
    return Found(len(found), *(sum(one[part] for one in found) for part in range(4)))


def check(distribution: Distribution, name: str, recorded: str, size: str) -> tuple[int, bool, bool, bool]:
    path = Path(str(distribution.locate_file(name)))
    if not path.exists():
        return 0, False, False, True
    content = path.read_bytes()
    if not recorded:
        return len(content), True, False, False
    algorithm, digest = recorded.split("=")
    actual = base64.urlsafe_b64encode(hashlib.new(algorithm, content).digest()).decode().strip("=")
    return len(content), False, (actual, str(len(content))) != (digest, size), False


def lines_of_record(distribution: Distribution) -> list[tuple[str, str, str]]:
    # No name in this environment has a comma in it, or this fails.
    lines = (distribution.read_text("RECORD") or "").splitlines()
    return [(name, recorded, size) for name, recorded, size in (line.split(",") for line in lines)]


def numbers(text: str) -> Found:
    return Found(*(int(number.replace(",", "")) for number in text.split()))


def environment() -> dict[str, str]:
    return {**os.environ, "COLUMNS": "200", "JABBA_KAFKA": "127.0.0.1:1"}


@pytest.fixture(scope="module")
def demo() -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "demo"]
    return subprocess.run(
        command, cwd=CHECKOUT, env=environment(), capture_output=True, text=True, check=False, timeout=SECONDS
    )


def test_the_demo_ends_well(demo: "subprocess.CompletedProcess[str]") -> None:
    assert (demo.returncode, demo.stderr) == (0, ""), demo.stdout
    assert "audit_report: collect → rank → write → verify" in demo.stdout
    for order in range(1, 7):
        before = "attempt 1 error (the bank is busy) → attempt 2" if order % 3 == 0 else "attempt 1"
        assert f"  order {order}: {before} ok\n" in demo.stdout


def test_its_table_is_true(demo: "subprocess.CompletedProcess[str]") -> None:
    rows = [ROW.fullmatch(line) for line in demo.stdout.splitlines()]
    told = {row["name"]: numbers(row["numbers"]) for row in rows if row}
    expected = {one.metadata["Name"]: checked(one) for one in distributions()}

    assert len(told) > 40
    assert told == expected
    assert {row["status"] for row in rows if row} == {"PROCESSED"}
    (sums,) = filter(None, (SUMS.fullmatch(line) for line in demo.stdout.splitlines()))
    assert int(sums["count"]) == len(expected)
    assert numbers(sums["numbers"]) == Found(*(sum(column) for column in zip(*expected.values(), strict=True)))


def test_its_report_names_the_largest(demo: "subprocess.CompletedProcess[str]") -> None:
    found = re.search(r"The report is (\S+)", demo.stdout)
    assert found is not None
    report = (CHECKOUT / found[1]).read_text()
    largest = max(distributions(), key=lambda one: checked(one).size).metadata["Name"]

    (first,) = re.findall(r"^\| --- .*\n\| (\S+) ", report, flags=re.MULTILINE)
    assert first == largest


def test_an_interrupted_demo_leaves_nothing_behind(tmp_path: Path) -> None:
    program = [sys.executable, "-m", "demo"]
    with ChildProcess(
        "demo", program, environment=environment() | {"TMPDIR": str(tmp_path)}, log=tmp_path / "log"
    ) as demo:
        demo.start()
        demo.wait_for_line("All of it is up")

        demo.send_signal(signal.SIGTERM)

        assert demo.wait_for_exit(60) == 128 + signal.SIGTERM
    assert [path.name for path in tmp_path.iterdir()] == ["log"]


def test_a_command_runs_beside_the_service(tmp_path: Path) -> None:
    program = "import os, tomllib; print(tomllib.load(open(os.environ['JABBA_SERVICES'], 'rb'))); raise SystemExit(7)"
    command = [sys.executable, "-m", "demo.billing", sys.executable, "-c", program]
    done = subprocess.run(
        command, cwd=CHECKOUT, env=plain_environment(), capture_output=True, text=True, check=False, timeout=SECONDS
    )
    assert (done.returncode, done.stderr) == (7, "")
    assert "'billing': {'transport': 'http', 'url': ['http://127.0.0.1:" in done.stdout
