"""The embedded database and the process of the embedded broker do what Jabba needs."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import aiopg
import psutil
import psycopg2
import pytest

from jabba.local.broker import BrokerFailed, EmbeddedBroker
from jabba.local.postgres import DatabaseFailed, EmbeddedDatabase
from tests.support.processes import ChildProcess, is_listening

QUICK = {"fsync": "off"}


@pytest.fixture
def database(tmp_path: Path) -> Iterator[EmbeddedDatabase]:
    server = EmbeddedDatabase(tmp_path / "kept", settings=QUICK)
    yield server
    server.stop()


async def query(dsn: str, sql: str) -> list[tuple[object, ...]]:
    async with aiopg.connect(dsn) as connection, connection.cursor() as cursor:
        await cursor.execute(sql)
        return list(await cursor.fetchall()) if cursor.description else []


def test_broker_serves_its_port_until_it_stops(tmp_path: Path) -> None:
    broker = EmbeddedBroker(tmp_path / "kept")
    broker.start()
    assert is_listening(broker.port)

    broker.stop()
    broker.stop()

    assert not is_listening(broker.port)
    assert not broker.running


def test_two_brokers_cannot_use_one_directory(tmp_path: Path) -> None:
    broker = EmbeddedBroker(tmp_path / "kept")
    broker.start()

    with pytest.raises(BrokerFailed, match="another process uses"):
        EmbeddedBroker(tmp_path / "kept").start()

    assert broker.running
    broker.stop()


def test_broker_does_not_take_another_server_for_itself(tmp_path: Path) -> None:
    broker = EmbeddedBroker(tmp_path / "kept")
    broker.start()

    with pytest.raises(BrokerFailed, match="something else listens"):
        EmbeddedBroker(tmp_path / "other", port=broker.port).start()

    broker.stop()


def test_broker_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    script = (
        "import os, sys; from pathlib import Path; from jabba.local.broker import EmbeddedBroker\n"
        "broker = EmbeddedBroker(Path(sys.argv[1])); broker.start()\n"
        "print(broker.pid, flush=True); os.kill(os.getpid(), 9)"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "kept")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    with suppress(psutil.NoSuchProcess):
        psutil.Process(int(done.stdout)).wait(10)
    assert done.returncode == -signal.SIGKILL
    assert not psutil.pid_exists(int(done.stdout))


async def test_database_keeps_its_data_between_runs(database: EmbeddedDatabase) -> None:
    database.start()
    await query(database.ensure_database("jabba"), "create table kept as select 'ä' as value")
    database.stop()
    assert not database.running

    again = EmbeddedDatabase(database.directory, settings=QUICK)
    again.start()

    assert await query(again.ensure_database("jabba"), "select upper(value) from kept") == [("Ä",)]
    again.stop()


async def test_database_starts_after_it_was_killed(database: EmbeddedDatabase) -> None:
    database.start()
    await query(database.dsn(), "create table kept (value int)")
    database.send_signal(signal.SIGKILL)
    database.stop()
    assert (database.directory / "postgresql" / "postmaster.pid").exists()

    database.start()

    assert await query(database.dsn(), "select count(*) from kept") == [(0,)]


def test_database_starts_when_another_program_has_the_id_of_the_killed_one(database: EmbeddedDatabase) -> None:
    database.start()
    database.send_signal(signal.SIGKILL)
    database.stop()
    trace = database.directory / "postgresql" / "postmaster.pid"
    trace.write_text("\n".join([str(os.getppid()), *trace.read_text().splitlines()[1:]]) + "\n")

    database.start()

    assert database.running


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xff\xfe\x00", b"nonsense\n", b"-1\n", b"999999999999999999999\n"])
def test_database_starts_over_a_broken_trace(database: EmbeddedDatabase, content: bytes) -> None:
    database.start()
    database.send_signal(signal.SIGKILL)
    database.stop()
    (database.directory / "postgresql" / "postmaster.pid").write_bytes(content)

    database.start()

    assert database.running


@pytest.mark.parametrize("content", [None, b"", b"\n", b"\xff\xfe\x00", b"half-of-i"])
async def test_a_broken_password_is_replaced(database: EmbeddedDatabase, content: bytes | None) -> None:
    database.start()
    await query(database.dsn(), "create table kept as select 1 as value")
    database.stop()
    secret = database.directory / "postgresql.password"
    secret.unlink() if content is None else secret.write_bytes(content)

    database.start()

    assert await query(database.dsn(), "select value from kept") == [(1,)]
    assert secret.stat().st_mode & 0o077 == 0


def test_database_stops_the_server_of_a_killed_process_whose_trace_is_broken(tmp_path: Path) -> None:
    first = EmbeddedDatabase(tmp_path / "kept", settings=QUICK)
    first.start()
    (first.directory / "postgresql" / "postmaster.pid").write_bytes(b"")
    first.release()
    successor = EmbeddedDatabase(tmp_path / "kept", settings=QUICK)

    successor.start()

    assert not first.running
    assert successor.running
    successor.stop()


def test_database_stops_the_server_of_a_killed_process(tmp_path: Path) -> None:
    """The orphan is made with SIGSTOP, which holds back its own reaction to the death of its parent."""
    script = (
        "import sys, time; from pathlib import Path; from jabba.local.postgres import EmbeddedDatabase\n"
        "server = EmbeddedDatabase(Path(sys.argv[1]), settings={'fsync': 'off'}); server.start()\n"
        "print(f'pid {server.pid}.', flush=True); time.sleep(600)"
    )
    program = [sys.executable, "-c", script, str(tmp_path / "kept")]
    with ChildProcess("starter", program, environment=os.environ, log=tmp_path / "log") as starter:
        starter.start()
        orphan = psutil.Process(int(starter.wait_for_line(r"pid (\d+)\.")[1]))
        orphan.suspend()
        starter.kill()
    successor = EmbeddedDatabase(tmp_path / "kept", settings=QUICK)
    resumer = subprocess.Popen(["sh", "-c", f"sleep 0.3; kill -CONT {orphan.pid}"])

    successor.start()

    assert resumer.wait() == 0
    assert not orphan.is_running()
    assert successor.running
    successor.stop()


def test_database_dies_with_the_process_that_started_it(tmp_path: Path) -> None:
    script = (
        "import os, sys; from pathlib import Path; from jabba.local.postgres import EmbeddedDatabase\n"
        "server = EmbeddedDatabase(Path(sys.argv[1]), settings={'fsync': 'off'}); server.start()\n"
        "print(server.pid, flush=True); os.kill(os.getpid(), 9)"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "kept")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    with suppress(psutil.NoSuchProcess):
        psutil.Process(int(done.stdout)).wait(10)
    assert done.returncode == -signal.SIGKILL
    assert not psutil.pid_exists(int(done.stdout))


def test_two_processes_cannot_use_one_directory(database: EmbeddedDatabase) -> None:
    database.start()

    with pytest.raises(DatabaseFailed, match="another process uses"):
        EmbeddedDatabase(database.directory).start()

    assert database.running


def test_only_the_owner_may_read_the_password(database: EmbeddedDatabase) -> None:
    database.start()

    modes = {path.name: path.stat().st_mode & 0o077 for path in [database.directory, *database.directory.iterdir()]}
    assert modes["kept"] == 0
    assert modes["postgresql.password"] == 0


async def test_nobody_gets_in_without_the_password(database: EmbeddedDatabase) -> None:
    database.start()
    without = f"postgresql://jabba@127.0.0.1:{database.port}/postgres"

    with pytest.raises(psycopg2.OperationalError, match="no password supplied"):
        await query(without, "select 1")


def test_a_failed_start_shows_the_log_and_can_be_repeated(tmp_path: Path) -> None:
    wrong = EmbeddedDatabase(tmp_path / "kept", settings={**QUICK, "shared_buffers": "much"})
    with pytest.raises(DatabaseFailed, match="invalid value for parameter"):
        wrong.start()

    right = EmbeddedDatabase(tmp_path / "kept", settings=QUICK)
    right.start()
    assert right.running
    right.stop()


def test_a_missing_extra_says_how_to_install_it() -> None:
    script = "import sys; sys.modules['psutil'] = None; import jabba.local.postgres"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

    assert "MissingExtra" in done.stderr
    assert "pip install '.[embedded]'" in done.stderr
