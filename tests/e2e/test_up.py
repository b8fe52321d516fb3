"""``jabba up`` itself: how it starts, what it goes on with, and how it ends."""

import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from jabba import Client, Job, JobStatus, Submitted, Task, Unavailable
from tests.support.processes import CHECKOUT, eventually, jabba_process, plain_environment
from tests.support.up import Up, call

SECONDS = 60


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with Up(tmp_path_factory.mktemp("up")) as running:
        yield running


async def test_two_workers_share_the_embedded_broker(tmp_path: Path) -> None:
    with Up(tmp_path, "--workers", "2") as up:
        roles = sorted(child.cmdline()[-1] for child in up.children() if child.cmdline()[-2] == "jabba")
        async with Client(up.url, key=up.key) as client:
            submitted = await client.create_job([call("threaded")] * 300, "test", strategy="concurrent")
            job = await client.wait(submitted, timeout=SECONDS)

    assert roles == ["projector", "web", "worker", "worker"]
    assert job.status == JobStatus.PROCESSED


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


@pytest.mark.parametrize("role", ["worker", "projector", "web", "jabba.local.broker"])
async def test_a_child_that_is_killed_is_started_again(up: Up, role: str) -> None:
    first = up.child(role)
    name = "broker" if "broker" in role else role

    first.kill()
    up.process.wait_for_line(f"{name} was ended by SIGKILL; it starts again in 1 s")

    async with Client(up.url, key=up.key) as client:
        submitted = await submitted_once_up(client)
        assert (await client.wait(submitted, timeout=SECONDS)).status == JobStatus.PROCESSED
    assert up.child(role).pid != first.pid


async def test_a_killed_postgresql_is_started_again(up: Up) -> None:
    async with Client(up.url, key=up.key) as client:
        job = (await submitted_once_up(client)).id
        await client.wait(job, timeout=SECONDS)
        (first,) = (child for child in up.children() if child.name() == "postgres")

        first.kill()
        up.process.wait_for_line("postgresql was ended by SIGKILL; it starts again in 1 s")

        async def is_found() -> bool:
            with suppress(Unavailable):
                return (await client.get_job(job)).status == JobStatus.PROCESSED
            return False

        await eventually(is_found, SECONDS, "answer of the new PostgreSQL")


LIBPQ = {
    "PGSERVICE": "nowhere",
    "PGSSLMODE": "verify-full",
    "PGOPTIONS": "-c search_path=elsewhere -c nonsense=1",
    "PGREQUIREAUTH": "gss",
    "PGTARGETSESSIONATTRS": "standby",
    "PGCLIENTENCODING": "LATIN1",
    "PGHOSTADDR": "192.0.2.1",
    "PGCHANNELBINDING": "require",
    "PGTZ": "Asia/Kathmandu",
}


async def test_its_postgresql_is_reached_whatever_the_environment_says_of_others(tmp_path: Path) -> None:
    with Up(tmp_path, environment={**LIBPQ, "JABBA_WEB_HOST": "::1"}) as up:
        assert up.url.startswith("http://[::1]:")
        async with Client(up.url, key=up.key) as client:
            submitted = await client.create_job([call("echo", "Łódź 東京")], "test", name="🦀")
            job = await client.wait(submitted, timeout=SECONDS)
            found = await client.get_job(job.id)
    assert (job.status, found.name) == (JobStatus.PROCESSED, "🦀")


def test_a_hang_up_that_was_ignored_stays_ignored(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with Up(tmp_path) as up:
        signal.signal(signal.SIGHUP, before)
        up.process.send_signal(signal.SIGHUP)
        up.process.send_signal(signal.SIGHUP)
        up.child("worker").kill()
        up.process.wait_for_line("worker was ended by SIGKILL")

        assert "stopping" not in up.process.output()


def test_a_hang_up_stops_everything(tmp_path: Path) -> None:
    with Up(tmp_path) as up:
        up.process.send_signal(signal.SIGHUP)

        assert up.process.wait_for_exit() == 0


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
