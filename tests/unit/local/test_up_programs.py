"""Which ports the processes of ``jabba up`` tell their metrics on."""

import pytest

from jabba.local.up import Embedded, _Running
from jabba.settings import Settings


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JABBA_METRICS_PORT", raising=False)


def ports(settings: Settings) -> list[str | None]:
    running = _Running(Embedded(settings), 2, lambda *_: None, lambda *_: None)
    programs = [running._program(f"worker-{number}", "worker", number) for number in range(3)]
    return [program.environment.get("JABBA_METRICS_PORT") for program in programs]


def test_each_process_has_a_port_of_its_own() -> None:
    assert ports(Settings(metrics_port=9100)) == ["9100", "9101", "9102"]


def test_without_the_setting_there_is_none() -> None:
    assert ports(Settings()) == [None, None, None]


def test_only_workers_have_what_the_environment_says_of_the_users_own_postgresql() -> None:
    libpq = {"PGHOST": "db.example", "PGSERVICE": "mine"}
    running = _Running(Embedded(Settings(), libpq=libpq), 1, lambda *_: None, lambda *_: None)

    assert libpq.items() <= running._program("worker", "worker").environment.items()
    assert not libpq.keys() & running._program("web", "web").environment.keys()
