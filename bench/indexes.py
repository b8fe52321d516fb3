"""What each index of jobs and tasks costs when rows are written, one index at a time.

    python -m bench.indexes --data /var/tmp/history

Rows of a week that ``bench.search`` has loaded are written into tables of their own as they come, and updated as they
end: with all indexes, and without each. The figures are microseconds of the one processor that does it, for a row; the
least of three rounds, so that other work on the machine alters them little.
"""

import argparse
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
from sqlalchemy import MetaData, Table
from sqlalchemy.dialects.postgresql.psycopg2 import PGDialect_psycopg2
from sqlalchemy.schema import CreateIndex, CreateTable

from bench.search import SETTINGS
from jabba.database import migrations
from jabba.database.schema import jobs, tasks
from jabba.local.postgres import EmbeddedDatabase

_ROUNDS = 3
_SCHEMA = "measured"
_DIALECT = PGDialect_psycopg2()  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class Written:
    """A table, what of its rows is not known at first, and how many are written."""

    table: Table
    at_first: dict[str, str]
    rows: int


WRITTEN = [
    Written(jobs, {"status": "'PENDING'", "ended_at": "NULL", "ended": "0", "unsuccessful": "0"}, 50_000),
    Written(tasks, {"status": "'NEW'", "ended_at": "NULL", "result": "NULL", "seq": "-1"}, 100_000),
]


class Server:
    """One connection, and the processor's time that its server process has had."""

    def __init__(self, dsn: str) -> None:
        self._connection = psycopg2.connect(dsn)
        self._connection.autocommit = True
        self._cursor = self._connection.cursor()
        self._times = Path("/proc", str(self._connection.info.backend_pid), "schedstat")

    def execute(self, sql: str) -> list[Any]:
        """Execute a statement and return its rows."""
        self._cursor.execute(sql)
        return self._cursor.fetchall() if self._cursor.description else []

    def microseconds(self, sql: str) -> float:
        """Return what a statement costs."""
        before = self._spent()
        self.execute(sql)
        return self._spent() - before

    def _spent(self) -> float:
        return int(self._times.read_text().split()[0]) / 1000


def price(server: Server, written: Written, without: str | None) -> float:
    """Write rows and update them; return the microseconds for each."""
    table = written.table.to_metadata(MetaData(), schema=_SCHEMA)
    table.dialect_kwargs.pop("postgresql_partition_by")
    server.execute(f"DROP SCHEMA IF EXISTS {_SCHEMA} CASCADE; CREATE SCHEMA {_SCHEMA}")
    server.execute(str(CreateTable(table).compile(dialect=_DIALECT)))
    for index in table.indexes:
        if index.name != without:
            server.execute(str(CreateIndex(index).compile(dialect=_DIALECT)))
    names = [column.name for column in table.columns]
    first = ", ".join(written.at_first.get(name, name) for name in names)
    begun = server.microseconds(f"INSERT INTO {table} ({', '.join(names)}) SELECT {first} FROM source")  # noqa: S608
    changed = ", ".join(f"{name} = source.{name}" for name in (*written.at_first, "updated_at"))
    same = " AND ".join(f"written.{key.name} = source.{key.name}" for key in table.primary_key)
    ended = server.microseconds(f"UPDATE {table} AS written SET {changed} FROM source WHERE {same}")  # noqa: S608
    server.execute(f"DROP SCHEMA {_SCHEMA} CASCADE")
    return (begun + ended) / written.rows


def prices(server: Server, written: Written) -> Iterator[str]:
    """Return a row for all indexes together, and one for each."""
    table = written.table
    order = ", ".join(key.name for key in table.primary_key)
    some = f"SELECT * FROM {table} WHERE ended_at IS NOT NULL"  # noqa: S608
    server.execute(f"CREATE TEMPORARY TABLE source AS {some} ORDER BY {order} LIMIT {written.rows}; ANALYZE source")
    names = [None, *sorted(str(index.name) for index in table.indexes)]
    found: dict[str | None, float] = dict.fromkeys(names, float("inf"))
    for _ in range(_ROUNDS):
        for name in names:
            found[name] = min(found[name], price(server, written, name))
    yield f"{f'a row of {table}, with all indexes':44}{found[None]:8.1f}"
    yield from (f"{name:44}{found[None] - found[name]:8.1f}" for name in names if name)
    server.execute("DROP TABLE source")


def main() -> None:
    """Start PostgreSQL and measure."""
    parser = argparse.ArgumentParser(description="Measure what indexes cost.")
    parser.add_argument("--data", type=Path, required=True, help="directory that bench.search has filled")
    database = EmbeddedDatabase(parser.parse_args().data, settings=SETTINGS)
    database.start()
    try:
        dsn = database.ensure_database("history")
        migrations.upgrade(dsn)
        server = Server(dsn)
        server.execute("SET synchronous_commit = off; SET max_parallel_workers_per_gather = 0")
        print(f"load of the machine: {os.getloadavg()[0]:.1f}")
        for written in WRITTEN:
            for row in prices(server, written):
                print(row, flush=True)
    finally:
        database.stop()


if __name__ == "__main__":
    main()
