"""The commands beside a running ``jabba up``: what they print, and how they exit."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import CHECKOUT, jabba_process, plain_environment
from tests.support.up import Up, call

SECONDS = 60


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with Up(tmp_path_factory.mktemp("up")) as running:
        yield running


def beside(up: Up, *arguments: str, given: str | None = None) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "jabba", *arguments]
    own: dict[str, Any] = {"cwd": CHECKOUT, "env": {**plain_environment(), "JABBA_DATA": str(up.data)}, "input": given}
    try:
        return subprocess.run(command, **own, capture_output=True, text=True, check=False, timeout=SECONDS)
    except subprocess.TimeoutExpired as error:
        raise AssertionError(up.process.account(f"was asked in vain: {error}")) from error


def jabba(up: Up, *arguments: str, given: str | None = None) -> "subprocess.CompletedProcess[str]":
    return beside(up, *arguments, given=given)


def document(*tasks: list[Any], **more: Any) -> str:
    return json.dumps({"type": "test", "tasks": list(tasks), **more})


def submitted(up: Up, *tasks: list[Any], **more: Any) -> str:
    return str(json.loads(jabba(up, "submit", "-", "--wait", "--json", given=document(*tasks, **more)).stdout)["id"])


def test_a_job_from_a_file_is_waited_for(up: Up, tmp_path: Path) -> None:
    file = tmp_path / "job.json"
    file.write_text(document(call("echo", 1), call("threaded", 2), meta={"from": "a file"}))

    done = jabba(up, "submit", str(file), "--wait", "--json")

    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["status"] == "PROCESSED"


def test_without_wait_the_accepted_job_is_shown(up: Up) -> None:
    done = jabba(up, "submit", "-", given=document(call("ok"), name="mine"))

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("test  PENDING")
    assert "mine" in done.stdout


def test_a_failed_job_exits_with_1(up: Up) -> None:
    done = jabba(up, "submit", "-", "--wait", given=document(call("ok"), call("error", "because"), call("ok")))

    assert done.returncode == 1
    assert done.stdout.startswith("test  FAILED")
    assert 'task 2  tests.support.callbacks.error  FAILED: {"why":"because"}\n' in done.stdout
    assert 'FAILED: {"why":"because"}\n' in jabba(up, "get", done.stdout.split()[3]).stdout


def test_a_wrong_document_exits_with_2_and_names_its_fields(up: Up) -> None:
    done = jabba(up, "submit", "-", given='{"tasks": [["local", "m", "f", [1]]], "type": 7, "mata": {}}')

    assert done.returncode == 2
    assert done.stdout == ""
    assert "2 invalid fields" in done.stderr
    assert "  type  " in done.stderr
    assert "  mata  " in done.stderr


def test_get_shows_the_job_with_its_tasks(up: Up) -> None:
    job = json.loads(jabba(up, "submit", "-", "--wait", "--json", given=document(call("echo", "ä"), name="one")).stdout)

    shown = jabba(up, "get", job["id"]).stdout

    assert job["id"] in shown
    assert "1 of 1 ended" in shown
    assert '{"args":["ä"]}' in shown
    assert json.loads(jabba(up, "get", job["id"], "--json").stdout) == job


def test_get_of_an_unknown_job_exits_with_1(up: Up) -> None:
    done = jabba(up, "get", "0190f000-0000-7000-8000-000000000000")

    assert done.returncode == 1
    assert "Error: there is no job 0190f000" in done.stderr


def test_an_unreachable_web_exits_with_3(up: Up) -> None:
    done = beside(up, "get", "x", "--url", "http://127.0.0.1:1")

    assert done.returncode == 3
    assert done.stderr.startswith("Error: no web process listens at http://127.0.0.1:1 (Connection refused): start ")
    assert done.stderr.count("\n") == 1


def test_search_filters_by_columns_and_meta(up: Up) -> None:
    for number in (1, 2):
        jabba(up, "submit", "-", "--wait", given=document(call("ok"), type="found", meta={"n": {"of": number}}))

    def found(*arguments: str) -> list[dict[str, Any]]:
        answer: list[dict[str, Any]] = json.loads(jabba(up, "search", *arguments, "--json").stdout)
        return answer

    assert [job["meta"]["n"]["of"] for job in found("type:found")] == [2, 1]
    assert [job["meta"]["n"]["of"] for job in found("type:found", "meta.n.of:1 status:processed")] == [1]
    assert [job["meta"]["n"]["of"] for job in found("type:fo*", "--order", "inserted_at")] == [1, 2]
    assert found("type:found status:FAILED") == []
    assert [job["type"] for job in found("type:found", "--limit", "1")] == ["found"]
    (first, second) = found("type:found")
    assert [task["status"] for task in found("--tasks", f"job_id:{first['id']}")] == ["PROCESSED"]

    every = jabba(up, "search", "--all", "--count", "--json", "type:found")
    assert [json.loads(line)["id"] for line in every.stdout.splitlines()] == [first["id"], second["id"]]
    assert every.stderr == "2 jobs\n"
    shown = jabba(up, "search", "--limit", "1", "type:found").stdout
    assert first["id"] in shown
    assert "--all shows them" in shown

    wrong = jabba(up, "search", "type:found state:DONE")
    assert wrong.returncode == 2
    assert "  type:found state:DONE\n             ^\nError: query[11]" in wrong.stderr


def test_the_tasks_of_a_job_are_shown_and_searched(up: Up) -> None:
    job = submitted(up, call("echo", 1), call("error", "because"), call("ok"))

    shown = jabba(up, "tasks", job).stdout
    assert [line.split()[2] for line in shown.splitlines()[1:]] == ["PROCESSED", "FAILED", "ABORTED"]
    found = json.loads(jabba(up, "tasks", job, "status:FAILED,ABORTED or result.args:nothing", "--json").stdout)
    assert [task["priority"] for task in found] == [2, 3]
    assert jabba(up, "tasks", "0190f000-0000-7000-8000-000000000000").returncode == 1
    many = submitted(up, *(call("echo", number) for number in range(30)), strategy="concurrent")
    found = json.loads(jabba(up, "tasks", many, "status:PROCESSED", "--json").stdout)
    assert [task["callback"]["args"] for task in found] == [[number] for number in range(30)]
    assert "… and 28 more" in jabba(up, "tasks", many, "status:PROCESSED", "--limit", "2").stdout
    wrong = jabba(up, "tasks", job, "state:DONE")
    assert wrong.returncode == 2
    assert "^" in wrong.stderr


def test_jobs_are_watched_to_their_end(up: Up) -> None:
    good, bad = submitted(up, call("ok"), call("echo", 1)), submitted(up, call("error", "because"), call("ok"))

    watched = jabba(up, "watch", good)
    assert (watched.returncode, watched.stderr) == (0, "")
    assert [line.split(maxsplit=1)[1] for line in watched.stdout.splitlines()] == [
        "task 1  PROCESSED",
        'task 2  PROCESSED  {"args":[1]}',
        "the job  PROCESSED",
    ]
    both = jabba(up, "watch", good, bad, "--json")
    assert both.returncode == 1
    events = [json.loads(line) for line in both.stdout.splitlines()]
    assert {event["job"]: event["final"]["status"] for event in events if event["event"] == "job_ended"} == {
        good: "PROCESSED",
        bad: "FAILED",
    }
    assert jabba(up, "watch", "0190f000-0000-7000-8000-000000000000").returncode == 1
    assert jabba(up, "watch", "nonsense").returncode == 2


def test_stats_are_shown(up: Up) -> None:
    submitted(up, call("error", "because"), type="unlucky")

    shown = jabba(up, "stats").stdout
    assert "unlucky 1" in shown
    assert "dead letters 0" in shown
    found = json.loads(jabba(up, "stats", "--json").stdout)
    assert found["recent"]["failures"]["unlucky"] == 1
    assert found["missing"] == []


@pytest.mark.parametrize(
    "arguments, pattern, code",
    [
        (["search", "type:seldom", "--watch"], "(?s)seldom.*seldom", 0),
        (["stats", "--watch"], "(?s)workers.*workers", 0),
        (["watch"], "CONSUMED", 130),
    ],
)
def test_watching_ends_with_ctrl_c(up: Up, tmp_path: Path, arguments: list[str], pattern: str, code: int) -> None:
    job = json.loads(jabba(up, "submit", "-", "--json", given=document(call("sleeps", 8), type="seldom")).stdout)["id"]
    arguments = [*arguments, job] if arguments == ["watch"] else arguments

    environment = {"JABBA_DATA": str(up.data)}
    with jabba_process(*arguments, "--url", up.url, environment=environment, log=tmp_path / "log").start() as watching:
        watching.wait_for_line(pattern, SECONDS)
        watching.send_signal(signal.SIGINT)

        assert watching.wait_for_exit(SECONDS) == code
        assert "Traceback" not in watching.output()
        assert "Aborted" not in watching.output()


def test_all_that_happens_at_a_tenant_is_watched(up: Up, tmp_path: Path) -> None:
    arguments = ("watch", "job.meta.tenant:x status:PROCESSED", "--json", "--url", up.url)
    with jabba_process(*arguments, environment={"JABBA_DATA": str(up.data)}, log=tmp_path / "log").start() as watching:
        jobs: list[str] = []  # several, since nobody tells when it has begun to listen
        while "task_succeeded" not in watching.output() and len(jobs) < SECONDS:
            jobs += [submitted(up, call("ok"), meta={"tenant": tenant}) for tenant in "yx"]
        watching.send_signal(signal.SIGINT)
        assert watching.wait_for_exit(SECONDS) == 130
        told = {json.loads(line)["job"] for line in watching.output().splitlines()}
    assert set() < told <= set(jobs[1::2])
    assert "    ^" in jabba(up, "watch", "job.status:FAILED").stderr


def test_the_commands_for_operators_find_its_kafka_and_postgresql(up: Up) -> None:
    submitted(up, call("ok"))

    for arguments, told in {
        ("audit",): "submit",
        ("keys", "list"): "jabba up",
        ("dead-letters", "list"): "no dead letters",
        ("verify",): "no difference",
    }.items():
        done = beside(up, *arguments)
        assert (done.returncode, done.stderr) == (0, ""), arguments
        assert told in done.stdout
