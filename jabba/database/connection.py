"""The way to PostgreSQL: a pool of connections that heals itself, and the one function that executes a statement."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Mapping
from functools import lru_cache
from typing import Any, Self

import aiopg
import psycopg2
import psycopg2.errors
import psycopg2.extras
from psycopg2.extensions import parse_dsn
from sqlalchemy import Dialect, SelectBase, TextClause, UpdateBase
from sqlalchemy.dialects.postgresql.psycopg2 import PGDialect_psycopg2
from sqlalchemy.sql.compiler import Compiled

from jabba.errors import JabbaError, Unavailable
from jabba.jobs import json_codec
from jabba.settings import SettingsError, libpq_variables

Row = dict[str, Any]
"""A row by column name; JSON is decoded, times are UTC."""

Statement = SelectBase | UpdateBase | TextClause
"""What can be executed; values are bound to it by name."""

_CONNECT_SECONDS = 5.0
_GRACE_SECONDS = 2.0
_TRIES = 5
_DIALECT: Dialect = PGDialect_psycopg2()  # type: ignore[no-untyped-call]

# A peer that is gone without a word is noticed within about 25 seconds, also in the middle of a statement.
_KEEPALIVE: dict[str, Any] = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}

CONNECT_OPTIONS: Mapping[str, Any] = {"client_encoding": "UTF8"}
"""What every connection asks for when it is opened; it holds against the URL, the environment and the database."""

# What a database or a role may set otherwise for all of its sessions. Statements are written, and values are read, with
# these; limits of time are set for each kind of session.
_RELIED_ON: Mapping[str, str] = {
    "array_nulls": "on",
    "bytea_output": "hex",
    "datestyle": "ISO",
    "default_transaction_deferrable": "off",
    "default_transaction_isolation": "read committed",
    "extra_float_digits": "1",
    "idle_session_timeout": "0",
    "intervalstyle": "postgres",
    "lock_timeout": "0",
    "standard_conforming_strings": "on",
    "timezone": "UTC",
    "transform_null_equals": "off",
}
_SEARCH_PATH = '"$user", public'

# Classes of SQLSTATE that say something of the server and nothing of the statement: connection, authorization,
# resources, an operator's or a time limit's intervention, the server's own system.
_UNAVAILABLE = frozenset({"08", "28", "53", "57", "58"})
_LOST = "40"


class Overdue(Unavailable):
    """PostgreSQL worked on a statement for as long as one may take, and gave it up."""


class TransactionLost(JabbaError):
    """The transaction met another one and was rolled back for it: the same may be done again at once."""


class Database:
    """Connections to one database; ``async with Database(dsn) as database`` needs no server that is up yet.

    ``size`` bounds the connections, ``statement_seconds`` each statement. A connection that broke is dropped, and the
    next statement makes a new one. With ``schema`` all names are looked up in that one alone, and commits do not wait
    for the disk: what is in it can be made again. Tables of ``another_service`` are where its database looks for them.
    """

    def __init__(
        self,
        dsn: str,
        *,
        size: int = 10,
        statement_seconds: float = 10.0,
        schema: str | None = None,
        another_service: bool = False,
    ) -> None:
        self._dsn = checked(dsn)
        self._size = size
        self._statement_seconds = statement_seconds
        self._schema = schema
        self._another_service = another_service
        self._pool: aiopg.Pool | None = None

    async def __aenter__(self) -> Self:
        self._pool = await aiopg.create_pool(
            self._dsn,
            minsize=0,
            maxsize=self._size,
            # asyncio.timeout bounds what is done: aiopg's own limits are those of asyncio.wait_for, which forgets a
            # cancellation that comes with the answer.
            timeout=None,  # type: ignore[arg-type]
            enable_hstore=False,
            enable_json=False,
            on_connect=self._prepare,
            **CONNECT_OPTIONS,
            **_KEEPALIVE,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.terminate()
            await pool.wait_closed()

    async def fetch(self, statement: Statement, parameters: Mapping[str, Any] | None = None) -> list[Row]:
        """Execute a statement by itself and return its rows; again, when another transaction was in the way.

        Raises:
            Overdue: the statement took too long.
            Unavailable: there is no connection, no answer, or no right to do this.
        """
        for _ in range(_TRIES):
            with contextlib.suppress(TransactionLost):
                async with self._session() as session:
                    return await session.execute(statement, parameters)
        raise Unavailable(f"other transactions were in the way {_TRIES} times")

    async def estimate(self, statement: Statement) -> int:
        """Return how many rows the planner expects of a statement, without executing it; errors as for ``fetch``."""
        compiled = _compiled(statement)
        async with self._session() as session:
            await session.run(f"EXPLAIN (FORMAT JSON) {compiled.string}", compiled.construct_params())
            ((plan,),) = await session.cursor.fetchall()
        return int(plan[0]["Plan"]["Plan Rows"])

    @property
    def connections(self) -> tuple[int, int]:
        """Return how many connections are used now, and how many wait to be."""
        return (self._pool.size - self._pool.freesize, self._pool.freesize) if self._pool is not None else (0, 0)

    @contextlib.asynccontextmanager
    async def transaction(self, *, repeatable: bool = False) -> AsyncIterator["Transaction"]:
        """Open a transaction that is committed at the end of the block, and rolled back by an exception.

        In a ``repeatable`` one all statements see the rows of one moment.

        Raises:
            Unavailable: there is no connection any more; a commit may have happened all the same.
            TransactionLost: another transaction was in the way.
        """
        async with self._session() as session:
            await session.run("BEGIN ISOLATION LEVEL REPEATABLE READ" if repeatable else "BEGIN")
            try:
                yield Transaction(session)
            except BaseException:
                await session.roll_back()
                raise
            await session.run("COMMIT")

    @contextlib.asynccontextmanager
    async def _session(self) -> AsyncIterator["_Session"]:
        if self._pool is None:
            raise Unavailable("this connection to PostgreSQL is closed")
        pool = self._pool
        connection = await _acquire(pool)
        try:
            async with connection.cursor() as cursor:
                yield _Session(cursor, self._statement_seconds)
        finally:
            await _release(pool, connection)

    async def _prepare(self, connection: aiopg.Connection) -> None:
        try:
            _refuse_old_strings(connection)
            psycopg2.extras.register_default_jsonb(connection.raw, loads=json_codec.decode)
            async with connection.cursor() as cursor:
                await cursor.execute(self._set_up())
        except BaseException:
            await connection.close()
            raise

    def _set_up(self) -> str:
        """Return how a session is set up.

        The server gives a statement up first, which says that it is there and that the statement is too slow. What this
        side gives up, the server stops working on when it sees the connection closed.

        Searches are short and many: to start helping processes or to compile a plan takes longer than most of them do.
        """
        milliseconds = max(1, int(self._statement_seconds * 1000))
        settings = [
            session_settings(milliseconds, self._dsn, own_tables=not self._another_service),
            "SET client_connection_check_interval = 1000; SET jit = off; SET max_parallel_workers_per_gather = 0",
        ]
        if self._schema:
            settings.append(f'SET search_path = "{self._schema}"; SET synchronous_commit = off')
        return "; ".join(settings)


class Transaction:
    """An open transaction; made by ``Database.transaction``."""

    def __init__(self, session: "_Session") -> None:
        self._session = session

    async def execute(self, statement: Statement, parameters: Mapping[str, Any] | None = None) -> list[Row]:
        """Execute a statement and return its rows."""
        return await self._session.execute(statement, parameters)


class _Session:
    """A connection while it is used; the server gives a statement up after ``seconds``, this side a little later."""

    def __init__(self, cursor: aiopg.Cursor, seconds: float) -> None:
        self.cursor = cursor
        self._seconds = seconds

    async def execute(self, statement: Statement, parameters: Mapping[str, Any] | None) -> list[Row]:
        compiled = _compiled(statement)
        await self.run(compiled.string, compiled.construct_params(dict(parameters or {})))
        if self.cursor.description is None:
            return []
        names = [column[0] for column in self.cursor.description]
        return [dict(zip(names, row, strict=True)) for row in await self.cursor.fetchall()]

    async def run(self, sql: str, parameters: Mapping[str, Any] | None = None) -> None:
        """Execute SQL; every failure that is not the statement's own becomes Unavailable or TransactionLost."""
        clock, within = asyncio.get_running_loop(), self._seconds + _GRACE_SECONDS
        began = clock.time()
        try:
            async with asyncio.timeout(within):
                await self.cursor.execute(sql, parameters)
        except TimeoutError as error:
            raise Unavailable(f"PostgreSQL did not answer within {within:g} s") from error
        except asyncio.CancelledError as error:
            # What aiopg makes of a statement that the server cancelled; who cancels this task leaves no such context.
            if isinstance(error.__context__, psycopg2.extensions.QueryCanceledError):
                raise _cancelled(error.__context__, within=self._seconds, after=clock.time() - began) from error
            raise
        except psycopg2.Error as error:
            raise _translated(error) from error

    async def roll_back(self) -> None:
        """Roll back what a living connection holds; what cannot be rolled back is closed, which comes to the same."""
        if self.cursor.connection.closed:
            return
        try:
            await self.run("ROLLBACK")
        except (JabbaError, psycopg2.Error):
            await self.cursor.connection.close()


async def _acquire(pool: aiopg.Pool) -> aiopg.Connection:
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            return await pool.acquire()
    except TimeoutError as error:
        raise Unavailable(f"PostgreSQL gave no connection within {_CONNECT_SECONDS:g} s") from error
    # aiopg ends in an OSError when the socket of a refused connection has gone to another one meanwhile.
    except (psycopg2.OperationalError, OSError) as error:
        raise unreachable(error) from error


async def _release(pool: aiopg.Pool, connection: aiopg.Connection) -> None:
    """Give a connection back; one that is in the middle of something is closed."""
    if connection.raw.get_transaction_status() != psycopg2.extensions.TRANSACTION_STATUS_IDLE:
        # aiopg warns of it before it closes it: where warnings are errors, it stays open.
        await connection.close()
    released = pool.release(connection)
    if connection.closed:
        # Its place is free: whoever waits for one, or for the pool to be closed, is told so by nobody else.
        released = asyncio.ensure_future(pool._wakeup())  # noqa: SLF001 — aiopg does it for open ones alone
    # Whoever is cancelled here must not take that away from the others.
    await asyncio.shield(released)


def _cancelled(error: psycopg2.Error, *, within: float, after: float) -> Unavailable:
    """Tell a statement that used up its time from one that an operator cancelled: PostgreSQL gives both one code."""
    if after >= within:
        return Overdue(f"PostgreSQL did not come to an end within {within:g} s")
    return Unavailable(f"PostgreSQL cancelled the statement: {_first_line(error)}")


def _translated(error: psycopg2.Error) -> Exception:
    state = error.pgcode or ""
    if state.startswith(_LOST):
        return TransactionLost(_first_line(error))
    if isinstance(error, psycopg2.errors.InsufficientPrivilege):
        return forbidden(error)
    broken = not state and not isinstance(error, psycopg2.ProgrammingError)
    if broken or state[:2] in _UNAVAILABLE:
        return Unavailable(f"PostgreSQL broke off: {_first_line(error)}")
    return error


def session_settings(milliseconds: int, dsn: str, *, own_tables: bool = True) -> str:
    """Return the statements that set a session up, for which a statement may take so long; 0 = for ever.

    Jabba's ``own_tables`` are in the schema named like the user or in ``public``, unless the URL sets a search path.
    """
    idle = milliseconds and milliseconds + 2000
    limits = {"statement_timeout": str(milliseconds), "idle_in_transaction_session_timeout": str(idle)}
    # The time limit first: that of the database may be too short for the others.
    statements = [f"SET {name} = '{value}'" for name, value in {**limits, **_RELIED_ON}.items()]
    if own_tables and "search_path" not in parse_dsn(dsn).get("options", ""):
        statements.append(f"SET search_path = {_SEARCH_PATH}")
    return "; ".join(statements)


def _refuse_old_strings(connection: aiopg.Connection) -> None:
    """Refuse a session that takes backslashes for escapes: psycopg2 goes by what it was when it was opened."""
    if connection.raw.get_parameter_status("standard_conforming_strings") == "off":
        raise Unavailable(
            "PostgreSQL gave a session with standard_conforming_strings = off: RESET it for the database and the role, "
            "or add options=-cstandard_conforming_strings%3Don to the URL"
        )


def unreachable(error: BaseException) -> Unavailable:
    """Return the error of a connection that cannot be opened; it names what the environment sets for all of them."""
    variables = ", ".join(sorted(libpq_variables()))
    environment = f" (the environment sets {variables} for every connection)" if variables else ""
    return Unavailable(f"PostgreSQL cannot be reached: {_first_line(error)}{environment}")


def forbidden(error: BaseException) -> Unavailable:
    """Return the error of a user who lacks a right; somebody may grant it at any moment."""
    return Unavailable(f"PostgreSQL does not allow it: {_first_line(error)}")


def checked(dsn: str) -> str:
    """Return a connection string that PostgreSQL understands; libpq's own error would show all of another one.

    Raises:
        SettingsError: it is none, or an unquoted character makes a part of its password one of the host or port.
    """
    try:
        found = parse_dsn(dsn)
    except psycopg2.ProgrammingError:
        found = None
    if found is None or "@" in found.get("host", "") or not re.fullmatch(r"[\d,]*", found.get("port", "")):
        raise SettingsError("JABBA_DATABASE: no URL that PostgreSQL understands; write a password's @ as %40, / as %2F")
    return dsn


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0] or repr(error)


@lru_cache(maxsize=128)
def _compiled(statement: Statement) -> Compiled:
    """Compile a statement; the named ones are few and compiled once."""
    return statement.compile(dialect=_DIALECT, compile_kwargs={"render_postcompile": True})
