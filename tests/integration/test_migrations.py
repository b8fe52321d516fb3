"""Migrations make the very schema that the code declares, and no process works on another one."""

import threading
from pathlib import Path

import psycopg2
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import NullPool, create_engine

from jabba.errors import NotReady, Unavailable
from jabba.persistence import migrations
from jabba.persistence.schema import metadata


def execute(dsn: str, sql: str) -> None:
    connection = psycopg2.connect(dsn)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(sql)
    finally:
        connection.close()


def test_the_migrated_schema_is_the_declared_one(database: str) -> None:
    migrations.upgrade(database)
    engine = create_engine("postgresql+psycopg2://", creator=lambda: psycopg2.connect(database), poolclass=NullPool)

    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []


def test_an_upgrade_can_be_repeated(database: str) -> None:
    assert migrations.current(database) is None

    revision = migrations.upgrade(database)

    assert migrations.upgrade(database) == revision
    assert migrations.current(database) == revision
    migrations.check(database)


def test_two_upgrades_at_a_time_take_turns(database: str) -> None:
    failures: list[BaseException] = []

    def upgrade() -> None:
        try:
            migrations.upgrade(database)
        except BaseException as error:  # noqa: BLE001 — told by the test
            failures.append(error)

    threads = [threading.Thread(target=upgrade) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    migrations.check(database)


def test_a_missing_schema_names_the_command(database: str) -> None:
    with pytest.raises(NotReady, match=r"no tables of Jabba's yet: run `python -m jabba init`"):
        migrations.check(database)


def test_an_old_schema_names_the_command(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    revision = migrations.upgrade(database)
    monkeypatch.setattr("alembic.script.ScriptDirectory.get_current_head", lambda _: "9999")

    with pytest.raises(NotReady, match=rf"schema is old \({revision}\): run `python -m jabba init`"):
        migrations.check(database)


def test_a_newer_schema_is_refused_and_left_alone(database: str) -> None:
    migrations.upgrade(database)
    execute(database, "UPDATE alembic_version SET version_num = '9999'")

    for work in (migrations.check, migrations.upgrade):
        with pytest.raises(NotReady, match=r"a newer Jabba made the database's schema \(9999\)"):
            work(database)
    assert migrations.current(database) == "9999"


def test_a_server_that_is_away_is_said_so() -> None:
    nowhere = "postgresql://somebody:secret@127.0.0.1:1/jabba"
    for work in (migrations.check, migrations.upgrade, migrations.current):
        with pytest.raises(Unavailable, match="PostgreSQL cannot be reached") as caught:
            work(nowhere)
        assert "secret" not in str(caught.value)


def test_without_a_checkout_the_error_says_where_migrations_are(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(migrations, "_DIRECTORY", tmp_path / "migrations")

    with pytest.raises(NotReady, match="run Jabba from its checkout"):
        migrations.check("postgresql://127.0.0.1:1/jabba")
