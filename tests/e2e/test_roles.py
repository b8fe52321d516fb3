"""Processes that are not ready to run say in one line what to do about it."""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from jabba.local.broker import EmbeddedBroker
from jabba.local.ports import free_port
from tests.support.postgres import PostgresServer
from tests.support.processes import ChildProcess, jabba_process

COMMAND = "python -m jabba init"


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedBroker]:
    started = EmbeddedBroker(tmp_path_factory.mktemp("broker"))
    started.start()
    yield started
    started.stop()


@pytest.fixture
def environment(broker: EmbeddedBroker, database: str) -> dict[str, str]:
    """Return settings of an installation that has not been made yet."""
    prefix = f"roles-{uuid4().hex[:8]}"
    return {"JABBA_KAFKA": broker.bootstrap, "JABBA_DATABASE": database, "JABBA_PREFIX": prefix}


def run(*arguments: str, environment: dict[str, str], log: Path) -> tuple[int, list[str]]:
    with jabba_process(*arguments, environment=environment, log=log).start() as process:
        return process.wait_for_exit(60), process.output().splitlines()


@pytest.mark.parametrize("role", ["worker", "web", "projector"])
def test_without_init_a_role_refuses_and_names_the_command(
    role: str, environment: dict[str, str], tmp_path: Path
) -> None:
    code, said = run(role, environment=environment, log=tmp_path / "log")

    assert code == 3
    assert len(said) == 1, said
    assert said[0].startswith("Error: ")
    assert COMMAND in said[0]


@pytest.mark.parametrize("role", ["web", "projector"])
def test_without_a_schema_a_role_refuses_and_names_the_command(
    role: str, environment: dict[str, str], postgres: PostgresServer, tmp_path: Path
) -> None:
    assert run("init", environment=environment, log=tmp_path / "init.log")[0] == 0
    empty = postgres.create_database(f"empty_{uuid4().hex}")

    code, said = run(role, "--database", empty, environment=environment, log=tmp_path / "log")

    assert code == 3
    assert said == [f'Error: the database has no tables of Jabba\'s yet in "$user", public: run `{COMMAND}`']


def test_init_tells_what_it_did_and_may_be_repeated(environment: dict[str, str], tmp_path: Path) -> None:
    first_code, first = run("init", environment=environment, log=tmp_path / "first.log")
    again_code, again = run("init", environment=environment, log=tmp_path / "again.log")

    assert (first_code, again_code) == (0, 0)
    assert sum("created topic" in line for line in first) == 5
    assert first[-1].startswith("PostgreSQL is ready: schema ")
    assert first[-1].endswith(", was empty")
    assert again == [
        f"Kafka at {environment['JABBA_KAFKA']} is ready: topics {environment['JABBA_PREFIX']}-*",
        first[-1].removesuffix(", was empty"),
    ]


def test_init_without_kafka_exits_with_3(environment: dict[str, str], tmp_path: Path) -> None:
    code, said = run("init", "--kafka", "127.0.0.1:1", environment=environment, log=tmp_path / "log")

    assert (code, len(said)) == (3, 1)
    assert "Kafka at 127.0.0.1:1 cannot be reached over plaintext" in said[0]


def test_a_worker_without_its_module_says_so(environment: dict[str, str], tmp_path: Path) -> None:
    code, said = run("worker", "--callbacks", "no.such", environment=environment, log=tmp_path / "log")

    assert (code, len(said)) == (3, 1)
    assert "there is no module 'no.such' with callbacks" in said[0]


def test_a_wrong_setting_is_named(environment: dict[str, str], tmp_path: Path) -> None:
    wrong = environment | {"JABBA_SLOTS": "many", "JABBA_SLOT": "1"}
    code, said = run("worker", environment=wrong, log=tmp_path / "log")

    assert code == 2
    assert "JABBA_SLOTS: Input should be a valid integer" in said[0]
    assert "JABBA_SLOT: there is no such setting" in said[0]


@pytest.mark.parametrize("role", ["worker", "projector", "web"])
def test_a_role_that_runs_ends_well_on_sigterm(role: str, environment: dict[str, str], tmp_path: Path) -> None:
    ready = {"worker": "worker ready", "projector": "projector ready", "web": "web ready"}
    assert run("init", environment=environment, log=tmp_path / "init.log")[0] == 0
    options = ["--port", str(free_port())] if role == "web" else []

    with jabba_process(role, *options, environment=environment, log=tmp_path / "log").start() as process:
        process.wait_for_line(ready[role], 60)

        assert process.terminate() == 0
        assert plain(process) == []


def plain(process: ChildProcess) -> list[str]:
    """Return what it said that is no line of a log."""
    return [line for line in process.output().splitlines() if " INFO " not in line]
