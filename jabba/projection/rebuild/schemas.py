"""The schemas of a rebuild: made, and dropped again; and the tables that change places.

A rebuild has a schema of its own, ``jabba_rebuild_MOMENT``. What it replaces goes to ``jabba_replaced_MOMENT``, or to
``jabba_kept_MOMENT``, which nobody drops but its owner.
"""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import text

from jabba.database.connection import Database, Transaction
from jabba.database.schema import PROJECTION
from jabba.errors import NotReady

PREFIX = "jabba_rebuild_"
REPLACED = "jabba_replaced_"
KEPT = "jabba_kept_"

_LOCK = 4_771_902_210
"""Any number of our own: one rebuild at a time."""

TABLES = tuple(table.name for table in PROJECTION)


async def take_turn(database: Database) -> None:
    """Keep all other rebuilds out as long as this connection lives.

    Raises:
        NotReady: another one is at work.
    """
    if not (await database.fetch(_TURN))[0]["ours"]:
        raise NotReady("another rebuild is at work in this database")


async def has_turn(database: Database) -> bool:
    """Return whether the connection is still the one that has the turn."""
    return bool(await database.fetch(_HAS_TURN))


async def live_schema(database: Database) -> str:
    """Return where the projection is."""
    return str((await database.fetch(_LIVE))[0]["name"])


async def left_over(database: Database) -> list[str]:
    """Return the schemas of rebuilds that did not come to an end."""
    found = await database.fetch(_SCHEMAS, {"names": [f"{PREFIX}%", f"{REPLACED}%"]})
    return [row["name"] for row in found]


async def drop(database: Database, schema: str) -> None:
    """Drop a schema and its tables, and nothing that anything else depends on."""
    async with database.transaction() as transaction:
        for row in await transaction.execute(_WHOLE_TABLES, {"schema": schema}):
            await transaction.execute(text(f"DROP TABLE {qualified(schema, row['name'])}"))
        await transaction.execute(text(f"DROP SCHEMA {quoted(schema)}"))


async def make_partitions(database: Database, live: str, schema: str) -> None:
    """Make the partitions that the live tables have and those in the schema do not."""
    async with database.transaction() as transaction:
        known = {row["name"] for row in await transaction.execute(_FAMILY, _of(schema))}
        for row in await transaction.execute(_FAMILY, _of(live)):
            if row["parent"] is not None and row["name"] not in known:
                part, parent = qualified(schema, row["name"]), qualified(schema, row["parent"])
                bound = row["bound"].replace(":", "\\:")
                await transaction.execute(text(f"CREATE TABLE {part} PARTITION OF {parent} {bound}"))


async def grant_alike(transaction: Transaction, live: str, schema: str) -> None:
    """Give everyone the rights on the tables of a schema that they have on the live ones."""
    known = {row["name"] for row in await transaction.execute(_FAMILY, _of(schema))}
    for row in await transaction.execute(_RIGHTS, _of(live)):
        if row["name"] in known:
            table, grantable = qualified(schema, row["name"]), " WITH GRANT OPTION" if row["grantable"] else ""
            await transaction.execute(text(f"GRANT {row['right']} ON {table} TO {row['grantee']}{grantable}"))


async def move(transaction: Transaction, source: str, target: str) -> None:
    """Move the projection's tables, with their partitions and indexes, from one schema to another."""
    for row in await transaction.execute(_FAMILY, _of(source)):
        await transaction.execute(text(f"ALTER TABLE {qualified(source, row['name'])} SET SCHEMA {quoted(target)}"))


def quoted(name: str) -> str:
    """Write a name so that PostgreSQL takes it as it is."""
    return '"' + name.replace('"', '""').replace(":", "\\:") + '"'


def qualified(schema: str, table: str) -> str:
    """Write the name of a table in a schema."""
    return f"{quoted(schema)}.{quoted(table)}"


def all_of(schema: str, tables: Iterable[str] = TABLES) -> str:
    """Write the names of the projection's tables in a schema."""
    return ", ".join(qualified(schema, table) for table in tables)


def _of(schema: str) -> dict[str, Any]:
    return {"schema": schema, "names": list(TABLES)}


_TURN = text(f"SELECT pg_try_advisory_lock({_LOCK}) AS ours")

_HAS_TURN = text(f"""
    SELECT 1 FROM pg_locks
    WHERE locktype = 'advisory' AND pid = pg_backend_pid()
        AND (CAST(classid AS bigint) << 32) + CAST(objid AS bigint) = {_LOCK}
""")  # noqa: S608 — a number of our own

_LIVE = text("""
    SELECT nspname AS name FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE pg_class.oid = CAST('jobs' AS regclass)
""")

_SCHEMAS = text("SELECT nspname AS name FROM pg_namespace WHERE nspname LIKE ANY(:names)")

_WHOLE_TABLES = text("""
    SELECT relname AS name FROM pg_class
    WHERE relnamespace = CAST(quote_ident(:schema) AS regnamespace) AND relkind IN ('r', 'p') AND NOT relispartition
""")

_MEMBERS = """
    WITH RECURSIVE family AS (
        SELECT pg_class.oid, relname, relacl, CAST(NULL AS name) AS parent, relpartbound, 0 AS depth
        FROM pg_class
        WHERE relnamespace = CAST(quote_ident(:schema) AS regnamespace) AND relname = ANY(:names)
        UNION ALL
        SELECT part.oid, part.relname, part.relacl, family.relname, part.relpartbound, depth + 1
        FROM family JOIN pg_inherits ON inhparent = family.oid JOIN pg_class AS part ON part.oid = inhrelid
    )
"""

_FAMILY = text(f"""
    {_MEMBERS}
    SELECT relname AS name, parent, pg_get_expr(relpartbound, oid) AS bound FROM family ORDER BY depth, relname
""")  # noqa: S608 — our own text

_RIGHTS = text(f"""
    {_MEMBERS}
    SELECT relname AS name, privilege_type AS right, is_grantable AS grantable,
        CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END AS grantee
    FROM family, aclexplode(relacl)
""")  # noqa: S608 — the same
