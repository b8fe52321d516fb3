"""Migrations make the very schema that the code declares, and no process works on another one."""

import threading
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg2
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine, NullPool, create_engine, text

from jabba.database import migrations
from jabba.database.schema import metadata
from jabba.database.weeks import Week
from jabba.errors import NotReady, Unavailable
from jabba.jobs import ids


def execute(dsn: str, sql: str, values: tuple[Any, ...] = ()) -> None:
    connection = psycopg2.connect(dsn)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(sql, values or None)
    finally:
        connection.close()


def is_compared(name: str | None, kind: str, _: object) -> bool:
    """Leave partitions out, for they are made as time goes by, and indexes, which PostgreSQL tells more of."""
    return kind != "index" and (kind != "table" or not str(name).startswith(("jobs_", "tasks_")))


def test_the_migrated_schema_is_the_declared_one(database: str) -> None:
    migrations.upgrade(database)
    with engine_of(database).connect() as connection:
        options = {"compare_type": True, "compare_server_default": True, "include_name": is_compared}
        context = MigrationContext.configure(connection, opts=options)
        found = [one for one in compare_metadata(context, metadata) if one[0] not in ("add_index", "remove_index")]
        assert found == []


def test_the_migrated_indexes_are_the_declared_ones(database: str) -> None:
    migrations.upgrade(database)
    migrated = indexes(database, "public")
    with engine_of(database).begin() as connection:
        connection.execute(text("CREATE SCHEMA declared"))
        connection.execute(text("SET LOCAL search_path = declared"))
        metadata.create_all(connection)

    assert indexes(database, "declared") == migrated
    assert "jobs_by_part_of_name" in migrated


def indexes(dsn: str, schema: str) -> dict[str, str]:
    """Return how the indexes of the declared tables are made, by their names."""
    definition = "replace(indexdef, schemaname || '.', '')"
    sql = f"SELECT indexname, {definition} FROM pg_indexes WHERE schemaname = %s AND tablename = ANY(%s)"  # noqa: S608
    return dict(rows(dsn, sql, (schema, list(metadata.tables))))


def engine_of(dsn: str) -> Engine:
    return create_engine("postgresql+psycopg2://", creator=lambda: psycopg2.connect(dsn), poolclass=NullPool)


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
    with pytest.raises(NotReady, match=r"no tables of Jabba's yet in .*: run `python -m jabba init`"):
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


def rows(dsn: str, sql: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    with closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
        cursor.execute(sql, values or None)
        return cursor.fetchall()


def upgrade_to(dsn: str, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(migrations._DIRECTORY))
    with engine_of(dsn).begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


OLD_JOB = """
    INSERT INTO jobs (id, inserted_at, updated_at, status, total, meta, callback)
    VALUES (%s, now(), now(), 'PENDING', 2, '{"a": [1]}', jsonb_build_object('b', %s))
"""
OLD_TASK = """
    INSERT INTO tasks (id, job_id, position, inserted_at, updated_at, status, result)
    VALUES (%s, %s, %s, now(), now(), 'NEW', jsonb_build_object('n', %s))
"""


def test_rows_of_an_unpartitioned_schema_are_carried_over(database: str) -> None:
    upgrade_to(database, "0001")
    times = [1_795_000_000, 1_795_000_001, 1_787_000_000, 0, 250_000_000_000]
    wanted = [ids.new_job_id(seconds) for seconds in times] + [uuid4()]
    for job in map(str, wanted):
        execute(database, OLD_JOB, (job, job))
        for index in range(2):
            execute(database, OLD_TASK, (str(ids.task_id(UUID(job), index)), job, index, index))
    everything = "SELECT row_to_json(jobs) FROM jobs ORDER BY id", "SELECT row_to_json(tasks) FROM tasks ORDER BY id"
    before = [rows(database, sql) for sql in everything]

    migrations.upgrade(database)

    new = {"options", "began_at", "worker", "attempts"}
    carried = [
        [({name: value for name, value in row.items() if name not in new},) for (row,) in rows(database, sql)]
        for sql in everything
    ]
    assert carried == before
    assert [len(found) for found in before] == [6, 12]
    places = rows(database, "SELECT DISTINCT tableoid::regclass::text FROM tasks ORDER BY 1")
    assert places == [("tasks_20260817",), ("tasks_20261116",), ("tasks_default",)]
    assert Week.of(wanted[2]).word == "20260817"
