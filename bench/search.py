"""How fast searches are among a million jobs with five million tasks: each question of a list, through the real way.

    python -m bench.search --data /var/tmp/history --plans

Loads the rows first, unless the directory has them from the last time. ``--without`` drops indexes, and makes the
others again that are not there. The times are those of a caller in Python: compiling, planning, executing, decoding.
"""

import argparse
import asyncio
import os
import random
import statistics
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psycopg2
from sqlalchemy import text
from sqlalchemy.dialects.postgresql.psycopg2 import PGDialect_psycopg2

from bench.history import load, set_indexes
from bench.questions import QUESTIONS, Question, Samples, samples_of
from jabba.clock import SystemClock
from jabba.database import migrations, queries
from jabba.database.connection import Database, Row, Statement
from jabba.local.postgres import EmbeddedDatabase
from jabba.search import JOBS

SETTINGS = {"shared_buffers": "1GB", "maintenance_work_mem": "512MB", "max_wal_size": "8GB", "fsync": "off"}
_SECONDS = 3600.0
_DIALECT = PGDialect_psycopg2()  # type: ignore[no-untyped-call]


class Recorder(Database):
    """A database that keeps what it was asked last."""

    asked: list[tuple[str, Mapping[str, Any]]]

    async def fetch(self, statement: Statement, parameters: Mapping[str, Any] | None = None) -> list[Row]:
        """Execute a statement and keep it."""
        compiled = statement.compile(dialect=_DIALECT, compile_kwargs={"render_postcompile": True})
        self.asked.append((compiled.string, compiled.construct_params(dict(parameters or {}))))
        return await super().fetch(statement, parameters)


async def ask(database: Database, question: Question, samples: Samples, rng: random.Random) -> float:
    """Ask once; return the milliseconds it took."""
    search = question.search(samples, rng)
    begin = time.perf_counter()
    await (queries.search_jobs if question.collection is JOBS else queries.search_tasks)(database, search)
    return (time.perf_counter() - begin) * 1000


def nodes(plan: dict[str, Any]) -> Iterator[str]:
    """Return what a plan does that reads tables, without the names of partitions."""
    what, table = plan["Node Type"], plan.get("Relation Name") or plan.get("Index Name") or ""
    if table and plan["Actual Loops"]:
        first, _, rest = table.partition("_")
        key = plan.get("Index Name", "").removeprefix(table) or rest.partition("_")[2]
        yield f"{what} {first} {key.strip('_')}".strip()
    elif not table and what not in ("Append", "Limit", "Result"):
        yield what
    for part in plan.get("Plans", ()):
        yield from nodes(part)


def explained(dsn: str, asked: list[tuple[str, Mapping[str, Any]]], *, whole: bool) -> Iterator[str]:
    """Return the plans of statements, each in a line or whole."""
    connection = psycopg2.connect(dsn)
    with connection, connection.cursor() as cursor:
        cursor.execute("SET jit = off; SET max_parallel_workers_per_gather = 0")
        for sql, values in asked:
            if whole:
                cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, COSTS, SUMMARY) {sql}", values)
                yield from (line for (line,) in cursor.fetchall())
            cursor.execute(f"EXPLAIN {sql}", values)  # the first one in a session also reads catalogues
            cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}", values)
            ((((plan,),),)) = cursor.fetchall()
            counted = Counter(nodes(plan["Plan"]))
            told = ", ".join(f"{count} {name}" if count > 1 else name for name, count in counted.items())
            blocks = plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"]
            yield f"{plan['Planning Time']:.1f} + {plan['Execution Time']:.1f} ms, {blocks} blocks: {told}"
    connection.close()


async def measure(dsn: str, given: argparse.Namespace) -> None:
    """Print a row for each question."""
    rng = random.Random(given.seed)  # noqa: S311 — a sample, no secret
    async with Recorder(dsn, size=2, statement_seconds=_SECONDS) as database:
        database.asked = []
        if not await database.fetch(text("SELECT 1 FROM jobs LIMIT 1")):
            await load(database, given.jobs, int(SystemClock().now() * 1000))
        await set_indexes(database, given.without)
        samples = await samples_of(database)
        print(f"load of the machine: {os.getloadavg()[0]:.1f}")
        print(f"{'ms':44}{'p50':>8}{'p95':>8}{'max':>8}")
        for question in QUESTIONS:
            if given.only in question.name:
                took = sorted([await ask(database, question, samples, rng) for _ in range(given.rounds)])
                p95 = statistics.quantiles(took, n=20)[-1]
                print(f"{question.name:44}{statistics.median(took):8.1f}{p95:8.1f}{took[-1]:8.1f}", flush=True)
                if given.plans or given.whole_plans:
                    database.asked = []
                    await ask(database, question, samples, rng)
                    for line in explained(dsn, database.asked, whole=given.whole_plans):
                        print(f"    {line}", flush=True)


def main() -> None:
    """Start PostgreSQL, load what is not there, and measure."""
    parser = argparse.ArgumentParser(description="Measure searches.")
    parser.add_argument(
        "--data", type=Path, required=True, help="directory that keeps the rows; 7 GB for a million jobs"
    )
    parser.add_argument("--jobs", type=int, default=1_000_000, help="how many jobs to load, with five times the tasks")
    parser.add_argument("--rounds", type=int, default=40, help="how often each question is asked")
    parser.add_argument("--seed", type=int, default=1, help="another one asks for other values")
    parser.add_argument("--only", default="", help="only questions with this in their names")
    parser.add_argument("--without", nargs="*", default=[], help="indexes to do without")
    parser.add_argument("--plans", action="store_true", help="show in a line how each question is answered")
    parser.add_argument("--whole-plans", action="store_true", help="show the whole plans")
    given = parser.parse_args()
    server = EmbeddedDatabase(given.data, settings=SETTINGS)
    server.start()
    try:
        dsn = server.ensure_database("history")
        migrations.upgrade(dsn)
        asyncio.run(measure(dsn, given))
    finally:
        server.stop()


if __name__ == "__main__":
    main()
