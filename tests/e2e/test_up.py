import json
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from jabba import Client, Job, JobStatus, Submitted, Task, Unavailable
from tests.support.processes import CHECKOUT, eventually, jabba_process, plain_environment
from tests.support.up import CALLBACKS, Up

SECONDS = 60


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with Up(tmp_path_factory.mktemp("up")) as running:
        yield running


def call(function: str, *args: Any) -> list[Any]:
    return ["local", CALLBACKS, function, list(args)]


def jabba(up: Up, *arguments: str, given: str | None = None) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "jabba", *arguments, "--url", up.url]
    own: dict[str, Any] = {"cwd": CHECKOUT, "env": {**plain_environment(), "JABBA_DATA": str(up.data)}, "input": given}
    try:
        return subprocess.run(command, **own, capture_output=True, text=True, check=False, timeout=SECONDS)
    except subprocess.TimeoutExpired as error:
        raise AssertionError(up.process.account(f"was asked in vain: {error}")) from error


def document(*tasks: list[Any], **more: Any) -> str:
    return json.dumps({"type": "test", "tasks": list(tasks), **more})


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


def test_the_commands_for_operators_find_its_kafka_and_postgresql(up: Up) -> None:
    submitted(up, call("ok"))

    def ask(*arguments: str) -> "subprocess.CompletedProcess[str]":
        environment = {**plain_environment(), "JABBA_DATA": str(up.data)}
        command = [sys.executable, "-m", "jabba", *arguments]
        return subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False)

    for arguments, told in {
        ("audit",): "submit",
        ("keys", "list"): "jabba up",
        ("dead-letters", "list"): "no dead letters",
        ("verify",): "no difference",
    }.items():
        done = ask(*arguments)
        assert (done.returncode, done.stderr) == (0, ""), arguments
        assert told in done.stdout


def submitted(up: Up, *tasks: list[Any], **more: Any) -> str:
    return str(json.loads(jabba(up, "submit", "-", "--wait", "--json", given=document(*tasks, **more)).stdout)["id"])


def test_the_tasks_of_a_job_are_shown_and_searched(up: Up) -> None:
    job = submitted(up, call("echo", 1), call("error", "because"), call("ok"))

    shown = jabba(up, "tasks", job).stdout
    assert [line.split()[2] for line in shown.splitlines()[2:]] == ["PROCESSED", "FAILED", "ABORTED"]
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


def test_two_workers_share_the_embedded_broker(tmp_path: Path) -> None:
    with Up(tmp_path, "--workers", "2") as up:
        roles = sorted(child.cmdline()[-1] for child in up.children() if child.cmdline()[-2] == "jabba")
        jobs = document(*([call("threaded")] * 300), strategy="concurrent")
        done = jabba(up, "submit", "-", "--wait", given=jobs)

        assert roles == ["projector", "web", "worker", "worker"]
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("what", [signal.SIGINT, signal.SIGTERM])
def test_one_signal_stops_everything_in_order(tmp_path: Path, what: signal.Signals) -> None:
    with Up(tmp_path) as up:
        children = up.children()

        up.process.send_signal(what)

        assert up.process.wait_for_exit() == 0
        assert not [child for child in children if child.is_running()]
        assert "killed" not in up.process.output()
        assert "Traceback" not in up.process.output()


def test_a_second_signal_does_not_wait(tmp_path: Path) -> None:
    with Up(tmp_path) as up:
        children = up.children()
        # A worker that is stopped cannot hand over.
        up.child("worker").suspend()
        up.process.send_signal(signal.SIGINT)
        up.process.wait_for_line("stopping")

        up.process.send_signal(signal.SIGINT)

        assert up.process.wait_for_exit(10) == 0
        assert not [child for child in children if child.is_running()]


async def ended(client: Client, job: Job, index: int) -> None:
    async def ask() -> bool:
        tasks = await client.get_tasks(job.id)
        return tasks[index].status == "PROCESSED"

    await eventually(ask, SECONDS, f"end of task {index}")


def notes_and_sleeps(count: int, seconds: float) -> list[list[Any]]:
    return [step for number in range(count) for step in (call("note", number), call("sleeps", seconds))]


async def gone(processes: list[psutil.Process]) -> None:
    async def ask() -> bool:
        return not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes)

    await eventually(ask, SECONDS, "end of the orphans")


async def test_what_a_killed_supervisor_leaves_unfinished_goes_on(tmp_path: Path) -> None:
    with Up(tmp_path) as up:
        async with Client(up.url, key=up.key) as client:
            submitted = await client.create_job(notes_and_sleeps(4, 0.7), "slow")
            await ended(client, submitted.job, 2)
            children = up.children()
            up.process.kill()
        await gone(children)
        assert up.lines_of_executions() == ["0", "1"]
        key, kafka = up.key, up.kafka

        up.start()
        assert (up.key, up.kafka) == (key, kafka)
        async with Client(up.url, key=up.key) as client:
            job = await client.wait(submitted.id, timeout=SECONDS)
            tasks = await client.get_tasks(job.id)

    assert job.status == JobStatus.PROCESSED
    assert {task.status for task in tasks} == {"PROCESSED"}
    assert up.lines_of_executions() == ["0", "1", "2", "3"]


async def test_a_lost_log_begins_anew_with_what_the_database_holds_unfinished(tmp_path: Path) -> None:
    with Up(tmp_path) as up:
        async with Client(up.url, key=up.key) as client:
            done = await client.wait(await client.create_job([call("note", "done")], "quick"))
            slow = await client.create_job(notes_and_sleeps(4, 0.7), "slow")
            failed = await client.create_job([call("error", "why"), call("sleeps", 2)], "mixed", strategy="concurrent")
            await ended(client, slow.job, 2)
            up.process.kill()
        shutil.rmtree(up.data / "broker")

        up.start()
        up.process.wait_for_line("the log is new: 2 unfinished jobs go on in it")
        async with Client(up.url, key=up.key) as client:
            jobs = [await client.wait(job, timeout=SECONDS) for job in (done.id, slow.id, failed.id)]
            tasks = [await tasks_of(client, job) for job in jobs]

    assert [job.status for job in jobs] == ["PROCESSED", "PROCESSED", "FAILED"]
    assert [task.status for task in tasks[2]] == ["FAILED", "PROCESSED"]
    assert up.lines_of_executions() == ["done", "0", "1", "2", "3"]


def test_its_key_is_its_owners_and_is_not_sent_elsewhere(up: Up) -> None:
    assert (up.data / "key").stat().st_mode & 0o777 == 0o600
    assert "the key is in" in up.process.output()
    assert up.key not in up.process.output()

    command = [sys.executable, "-m", "jabba", "search", "--url", up.url]
    done = subprocess.run(command, cwd=CHECKOUT, env=plain_environment(), capture_output=True, text=True, check=False)
    assert (done.returncode, "this needs a key" in done.stderr) == (1, True), done.stderr
    environment = {**plain_environment(), "JABBA_KEY": up.key}
    done = subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


async def tasks_of(client: Client, job: Job) -> list[Task]:
    return await client.get_tasks(job.id)


@pytest.mark.parametrize("role", ["worker", "projector", "web", "jabba.embedded.broker"])
async def test_a_child_that_is_killed_is_started_again(up: Up, role: str) -> None:
    first = up.child(role)
    name = "broker" if "broker" in role else role

    first.kill()
    up.process.wait_for_line(f"{name} was ended by SIGKILL; it starts again in 1 s")

    async with Client(up.url, key=up.key) as client:
        submitted = await submitted_once_up(client)
        assert (await client.wait(submitted, timeout=SECONDS)).status == JobStatus.PROCESSED
    assert up.child(role).pid != first.pid


async def submitted_once_up(client: Client) -> Submitted:
    async def ask() -> Submitted | None:
        try:
            return await client.create_job([call("echo", "again")], "test")
        except Unavailable:
            return None

    submitted = await eventually(ask, SECONDS, "submission")
    assert submitted is not None
    return submitted


def refused(*arguments: str, log: Path, environment: dict[str, str] | None = None) -> tuple[int, str]:
    with jabba_process(*arguments, environment=environment or {}, log=log).start() as process:
        return process.wait_for_exit(), process.output()


def test_a_taken_port_is_told(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        code, said = refused("up", "--port", str(port), "--data", str(tmp_path / "data"), log=tmp_path / "log")

    assert code == 3
    assert said.strip() == (
        f"Error: port {port} of 127.0.0.1 cannot be used (Address already in use); choose another one with --port"
    )
    assert not (tmp_path / "data").exists()


def test_a_missing_module_is_told(tmp_path: Path) -> None:
    code, said = refused("up", "--callbacks", "no.such", "--data", str(tmp_path / "data"), log=tmp_path / "log")

    assert code == 3
    assert said.startswith("Error: there is no module 'no.such' with callbacks")


def test_data_that_is_in_use_is_told(up: Up, tmp_path: Path) -> None:
    code, said = refused("up", "--port", "0", "--data", str(up.data), log=tmp_path / "log")

    assert code == 1
    assert f"Error: another process uses {up.data}" in said


def test_nothing_listens_beyond_this_machine(up: Up) -> None:
    sockets = [one for child in [psutil.Process(up.process.pid), *up.children()] for one in child.net_connections()]
    listening = {one.laddr.ip for one in sockets if one.status == psutil.CONN_LISTEN}

    assert listening == {"127.0.0.1"}


def test_an_unreachable_web_exits_with_3(tmp_path: Path) -> None:
    code, said = refused("get", "x", "--url", "http://127.0.0.1:1", log=tmp_path / "log")

    assert code == 3
    assert "Error: http://127.0.0.1:1 does not answer" in said
