"""A quarter of a year of jobs in PostgreSQL, made by the server itself, skewed as real ones are."""

from collections.abc import Sequence

from sqlalchemy import Index, text
from sqlalchemy.dialects.postgresql.psycopg2 import PGDialect_psycopg2
from sqlalchemy.schema import CreateIndex

from jabba.database import partitions
from jabba.database.connection import Database
from jabba.database.schema import jobs, tasks
from jabba.database.weeks import weeks_between

DAYS = 90
_DAY = 24 * 3600 * 1000
_PARTS = 20

# Each random(text) is a number from 0 to 1 that its text decides.
_RANDOM = """
    CREATE OR REPLACE FUNCTION pg_temp.random(text) RETURNS float LANGUAGE sql IMMUTABLE
    RETURN (('x' || substr(md5($1), 1, 7))::bit(28)::int) / 268435456.0
"""

_JOBS = """
    INSERT INTO jobs (id, inserted_at, updated_at, ended_at, n_slices, total, ended, unsuccessful, status, strategy,
                      type, name, digest, meta)
    SELECT
        (lpad(to_hex(ms), 12, '0') || '7' || substr(h, 1, 3) || '8' || substr(h, 4, 15))::uuid,
        at, at + interval '2 s', CASE WHEN NOT open THEN at + interval '2 s' END,
        (total + 99) / 100, total, CASE WHEN open THEN total / 2 ELSE total END,
        CASE WHEN NOT failed THEN 0 WHEN concurrent THEN 1 ELSE total - total / 2 END,
        CASE WHEN open THEN 'PENDING' WHEN failed THEN 'FAILED' ELSE 'PROCESSED' END,
        CASE WHEN concurrent THEN 'CONCURRENTLY' ELSE 'SEQUENTIALLY' END,
        'type_' || lpad(power(40, pg_temp.random('type' || n))::int::text, 2, '0'),
        CASE WHEN pg_temp.random('named' || n) < 0.6 THEN
             'Export of ' || (ARRAY['Kyiv', 'Lviv', 'Odesa', 'Dnipro', 'Rivne', 'Lutsk'])[1 + n % 6] || ' ' || n END,
        h,
        jsonb_build_object(
            'request_id', md5('request' || n),
            'tenant', 'tenant_' || power(200, pg_temp.random('tenant' || n))::int,
            'entity', jsonb_build_object('kind', (ARRAY['claim', 'person', 'order'])[1 + n % 3], 'id', n % 200000),
            'tags', jsonb_build_array('tag_' || n % 7, 'tag_' || n % 11))
    FROM (
        SELECT n, ms, to_timestamp(ms / 1000.0) AS at, md5('job' || n) AS h, n > :last_ended AS open,
               pg_temp.random('failed' || n) < 0.04 AS failed,
               total > 100 OR pg_temp.random('concurrent' || n) < 0.2 AS concurrent, total
        FROM (
            SELECT n, :start + (n::bigint * :span / :jobs) AS ms,
                   CASE WHEN n % 333333 = 5 THEN 100000 WHEN n % 33333 = 7 THEN 10000
                        ELSE 1 + floor(8 * pg_temp.random('total' || n))::int END AS total
            FROM generate_series(CAST(:first AS int), :last) AS n
        ) AS sized
    ) AS drawn
"""

_TASKS = """
    INSERT INTO tasks (id, job_id, inserted_at, updated_at, ended_at, position, priority, epoch, seq, status, name,
                       callback, meta, result)
    SELECT
        (substr(job::text, 1, 8) || substr(job::text, 10, 4) || '8' || substr(h, 1, 3) || '8'
         || substr(h, 4, 15))::uuid,
        job, at, at + interval '1 s', CASE WHEN status IN ('NEW', 'PENDING') THEN NULL ELSE at + interval '1 s' END,
        i, CASE WHEN strategy = 'CONCURRENTLY' THEN 0 ELSE i + 1 END, 1,
        CASE WHEN status IN ('NEW', 'PENDING') THEN -1 ELSE i END,
        status, CASE WHEN i = 3 THEN 'last of ' || substr(h, 1, 6) END,
        jsonb_build_object('service', 'service_' || power(12, pg_temp.random('service' || h))::int,
                           'module', 'app.work', 'function', 'step_' || i % 7,
                           'args', jsonb_build_array(h, i, jsonb_build_object('depth', 3))),
        CASE WHEN i % 4 = 1 THEN jsonb_build_object('entity_id', i) ELSE '{}' END,
        CASE WHEN status IN ('FAILED', 'RESCUED') THEN jsonb_build_object('error', 'no answer from ' || substr(h, 1, 4))
             WHEN status = 'PROCESSED' THEN jsonb_build_object('files', i, 'bytes', 123456, 'mismatches', 0) END
    FROM (
        SELECT jobs.id AS job, jobs.inserted_at AS at, i, jobs.strategy, md5(jobs.digest || i) AS h,
               CASE WHEN jobs.status = 'PROCESSED' OR i < total / 2 THEN 'PROCESSED'
                    WHEN jobs.status = 'FAILED' AND i = total / 2
                    THEN CASE WHEN pg_temp.random('rescued' || jobs.digest) < 0.2 THEN 'RESCUED' ELSE 'FAILED' END
                    WHEN jobs.status = 'FAILED' AND jobs.strategy = 'CONCURRENTLY' THEN 'PROCESSED'
                    WHEN jobs.status = 'FAILED' THEN 'ABORTED'
                    WHEN jobs.strategy = 'CONCURRENTLY' OR i = total / 2 THEN 'PENDING' ELSE 'NEW' END AS status
        FROM jobs, generate_series(0, jobs.total - 1) AS i
        WHERE jobs.id BETWEEN CAST(:first AS uuid) AND CAST(:last AS uuid)
    ) AS drawn
"""


async def load(database: Database, count: int, now: int) -> None:
    """Fill the empty tables with ``count`` jobs and five times as many tasks, up to the millisecond ``now``."""
    start = now - DAYS * _DAY
    for week in weeks_between(start, now + 21 * _DAY):
        await partitions.make(database, week)
    await set_indexes(database, [str(index.name) for index in _indexes()])
    given = {"start": start, "span": DAYS * _DAY, "jobs": count, "last_ended": count - count // 200}
    for part in range(_PARTS):
        first, last = count * part // _PARTS + 1, count * (part + 1) // _PARTS
        async with database.transaction() as transaction:
            await transaction.execute(text(_RANDOM))
            await transaction.execute(text(_JOBS.replace("::", r"\:\:")), {**given, "first": first, "last": last})
            bounds = [f"{(start + n * DAYS * _DAY // count) << 80:032x}" for n in (first, last + 1)]
            await transaction.execute(text(_TASKS.replace("::", r"\:\:")), {"first": bounds[0], "last": bounds[1]})
    await set_indexes(database, [])
    await database.fetch(text("VACUUM (ANALYZE) jobs, tasks"))


async def set_indexes(database: Database, without: Sequence[str]) -> None:
    """Drop these indexes and make all others of the schema."""
    for index in _indexes():
        if str(index.name) in without:
            await database.fetch(text(f"DROP INDEX IF EXISTS {index.name}"))
        else:
            await database.fetch(text(_sql(CreateIndex(index, if_not_exists=True))))


def _indexes() -> list[Index]:
    return [*jobs.indexes, *tasks.indexes]


def _sql(statement: CreateIndex) -> str:
    return str(statement.compile(dialect=PGDialect_psycopg2()))  # type: ignore[no-untyped-call]
