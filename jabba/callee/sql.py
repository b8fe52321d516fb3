"""Statements through whatever connection a callee has: asyncpg, psycopg, psycopg2, aiopg or SQLAlchemy.

No driver is imported here: a connection brings its own. A statement has ``{0}``, ``{1}``, … for its values.
"""

import contextlib
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

Row = Sequence[Any]

_PLACE = re.compile(r"\{(\d)\}")


async def fetch_async(connection: Any, statement: str, values: Sequence[Any]) -> Row | None:
    """Execute a statement on an asynchronous connection or cursor; return its first row, if it has one."""
    if is_of("sqlalchemy", connection):
        inner = connection if hasattr(connection, "exec_driver_sql") else await connection.connection()
        return _first(await inner.exec_driver_sql(*_rendered(statement, values, inner.dialect.paramstyle)))
    if is_of("asyncpg", connection):
        sql, parameters = _rendered(statement, values, "numeric_dollar")
        return _row(await connection.fetchrow(sql, *parameters))
    if not hasattr(connection, "execute"):
        async with connection.cursor() as cursor:
            return await fetch_async(cursor, statement, values)
    cursor = await connection.execute(*_rendered(statement, values)) or connection
    return _row(await cursor.fetchone()) if cursor.description else None


def fetch(connection: Any, statement: str, values: Sequence[Any]) -> Row | None:
    """Do as ``fetch_async`` does, with a synchronous connection or cursor."""
    if is_of("sqlalchemy", connection):
        inner = connection if hasattr(connection, "exec_driver_sql") else connection.connection()
        return _first(inner.exec_driver_sql(*_rendered(statement, values, inner.dialect.paramstyle)))
    if not hasattr(connection, "execute"):
        with connection.cursor() as cursor:
            return fetch(cursor, statement, values)
    cursor = connection.execute(*_rendered(statement, values)) or connection
    return _row(cursor.fetchone()) if cursor.description else None


@contextlib.asynccontextmanager
async def transaction_async(connection: Any) -> AsyncIterator[None]:
    """Run a block in a transaction of an asynchronous connection; one that it is in already gets a savepoint."""
    if is_of("sqlalchemy", connection):
        async with connection.begin_nested() if connection.in_transaction() else connection.begin():
            yield
        return
    inner = connection if hasattr(connection, "transaction") else getattr(connection, "connection", connection)
    if hasattr(inner, "transaction"):
        async with inner.transaction():
            yield
        return
    # aiopg: its connections commit each statement.
    await fetch_async(connection, "BEGIN", ())
    try:
        yield
    except BaseException:
        await fetch_async(connection, "ROLLBACK", ())
        raise
    await fetch_async(connection, "COMMIT", ())


@contextlib.contextmanager
def transaction(connection: Any) -> Iterator[None]:
    """Do as ``transaction_async`` does, with a synchronous connection; psycopg2 commits all that it has begun."""
    if is_of("sqlalchemy", connection):
        with connection.begin_nested() if connection.in_transaction() else connection.begin():
            yield
        return
    inner = connection if hasattr(connection, "commit") else connection.connection
    with inner.transaction() if hasattr(inner, "transaction") else inner:
        yield


def is_of(package: str, connection: Any) -> bool:
    """Whether a connection's class, or one that it derives from, is of this package."""
    return any(one.__module__.partition(".")[0] == package for one in connection.__class__.__mro__)


def _rendered(statement: str, values: Sequence[Any], style: str = "format") -> tuple[str, tuple[Any, ...]]:
    """Return a statement with a driver's placeholders, and the values in their order."""
    if style == "numeric_dollar":
        return _PLACE.sub(lambda place: f"${int(place[1]) + 1}", statement), tuple(values)
    return _PLACE.sub("%s", statement), tuple(values[int(number)] for number in _PLACE.findall(statement))


def _first(result: Any) -> Row | None:
    return _row(result.fetchone()) if result.returns_rows else None


def _row(found: Any) -> Row | None:
    return None if found is None else tuple(found)
