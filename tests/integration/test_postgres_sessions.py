"""What a database, a role or the environment sets for every session does not change what Jabba relies on."""

import asyncio
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg2
import pytest
from sqlalchemy import text

from jabba.database import migrations
from jabba.database.connection import Database
from jabba.errors import NotReady, Unavailable
from tests.support.postgres import PostgresServer

LETTERS = "Łódź, 東京, 🦀, a\\b"


def set_for_all(dsn: str, *settings: str) -> None:
    """Make these the defaults of all sessions in a database."""
    connection = psycopg2.connect(dsn)
    connection.autocommit = True
    with connection.cursor() as cursor:
        for setting in settings:
            cursor.execute(f"ALTER DATABASE {urlsplit(dsn).path[1:]} SET {setting}")
    connection.close()


HOSTILE = [
    "client_encoding = 'LATIN1'",
    "client_encoding = 'SQL_ASCII'",
    "search_path = ''",
    "search_path = 'elsewhere'",
    "datestyle = 'SQL, DMY'",
    "intervalstyle = 'sql_standard'",
    "timezone = 'Asia/Kathmandu'",
    "bytea_output = 'escape'",
    "extra_float_digits = -15",
    "lock_timeout = '1ms'",
    "statement_timeout = '20ms'",
    "idle_in_transaction_session_timeout = '20ms'",
    "default_transaction_isolation = 'serializable'",
    "array_nulls = off",
    "transform_null_equals = on",
]


@pytest.mark.parametrize("setting", HOSTILE)
async def test_a_session_relies_on_nothing_that_the_database_sets(database: str, setting: str) -> None:
    set_for_all(database, setting)

    await asyncio.to_thread(migrations.upgrade, database)
    await asyncio.to_thread(migrations.check, database)

    assert await seen(database) == EXPECTED


async def test_strings_of_old_are_refused_with_the_remedy(database: str) -> None:
    set_for_all(database, "standard_conforming_strings = off")
    await asyncio.to_thread(migrations.upgrade, database)

    with pytest.raises(Unavailable, match="standard_conforming_strings = off: RESET it") as refused:
        await seen(database)
    remedy = str(refused.value).split()[-4]

    assert await seen(f"{database}?{remedy}") == EXPECTED


EXPECTED = {
    "letters": LETTERS,
    "backslash": "a\\b",
    "at": "2026-03-04T05:06:07+00:00",
    "span": "1 day, 2:00:00",
    "bytes": b"a\\b\x00",
    "float": 0.1 + 0.2,
    "isolation": "read committed",
    "null_is_null": False,
    "of_array": [None],
    "jobs": 0,
}


async def seen(dsn: str) -> dict[str, object]:
    async with Database(dsn) as opened, opened.transaction() as transaction:
        (row,) = await transaction.execute(
            text("""
                SELECT CAST(:letters AS text) AS letters, 'a\\b' AS backslash,
                    timestamptz '2026-03-04 05:06:07+00' AS at, interval '1 day 2 hours' AS span,
                    CAST('a\\\\b\\000' AS bytea) AS bytes, 0.1::float8 + 0.2::float8 AS float,
                    current_setting('transaction_isolation') AS isolation,
                    (CAST(NULL AS int) = NULL) IS NOT NULL AS null_is_null,
                    CAST('{NULL}' AS text[]) AS of_array, (SELECT count(*) FROM jobs) AS jobs
            """),
            {"letters": LETTERS},
        )
    return {**row, "at": row["at"].isoformat(), "span": str(row["span"]), "bytes": bytes(row["bytes"])}


async def test_an_encoding_of_the_environment_or_the_url_is_overridden(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    await asyncio.to_thread(migrations.upgrade, database)

    assert await seen(database) == EXPECTED
    assert await seen(f"{database}?client_encoding=LATIN1") == EXPECTED


async def test_tables_may_be_in_the_schema_that_the_url_names(database: str) -> None:
    connection = psycopg2.connect(database)
    with connection, connection.cursor() as cursor:
        cursor.execute("CREATE SCHEMA apart")
    connection.close()
    apart = f"{database}?options=-csearch_path%3Dapart"
    set_for_all(database, "search_path = 'elsewhere'")

    await asyncio.to_thread(migrations.upgrade, apart)

    assert (await seen(apart))["jobs"] == 0
    with pytest.raises(NotReady, match=r'no tables of Jabba\'s yet in "\$user", public'):
        await asyncio.to_thread(migrations.check, database)


async def test_a_database_that_cannot_hold_every_letter_is_refused(postgres: PostgresServer) -> None:
    name = f"latin_{uuid4().hex}"
    dsn = postgres.create_database(name, "template0", "--encoding=LATIN1", "--locale=C", "--locale-provider=libc")
    try:
        with pytest.raises(NotReady, match=r"encoding is LATIN1.*ENCODING 'UTF8'"):
            await asyncio.to_thread(migrations.upgrade, dsn)
    finally:
        postgres.drop_database(name)


@pytest.mark.parametrize(
    "name, value", [("PGSERVICE", "nowhere"), ("PGSSLMODE", "verify-full"), ("PGTARGETSESSIONATTRS", "standby")]
)
async def test_an_error_names_what_the_environment_says(
    database: str, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(Unavailable, match=f"the environment sets {name}"):
        await asyncio.to_thread(migrations.upgrade, database)
    async with Database(database) as opened:
        with pytest.raises(Unavailable, match=f"the environment sets {name}"):
            await opened.fetch(text("SELECT 1"))
