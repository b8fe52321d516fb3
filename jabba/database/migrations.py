"""The schema's version: bringing it up to date, and refusing to work on any other."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg2
import psycopg2.errors
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, NullPool, create_engine, text
from sqlalchemy.exc import OperationalError, ProgrammingError

from jabba.database.connection import CONNECT_OPTIONS, checked, forbidden, session_settings, unreachable
from jabba.errors import NotReady

COMMAND = "python -m jabba init"

_DIRECTORY = Path(__file__).parents[2] / "migrations"
_CONNECT_SECONDS = 5
_LOCK = 4_771_902_203
"""Any number of our own, so that two upgrades at a time take turns."""


def upgrade(dsn: str) -> str:
    """Bring the schema to the revision that this code needs, and return it; doing it again changes nothing.

    Raises:
        NotReady: a newer Jabba made the schema.
        Unavailable: PostgreSQL does not answer.
    """
    config = _config()
    with _connected(dsn) as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        _refuse_newer(_revision(connection), _scripts(config))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        return str(_revision(connection))


def make_beside(dsn: str, schema: str) -> None:
    """Make a schema with all tables in it, empty; those that are there already stay what they are.

    Raises:
        Unavailable: PostgreSQL does not answer.
    """
    config = _config()
    with _connected(dsn) as connection:
        connection.execute(text(f'CREATE SCHEMA "{schema}"'))
        connection.execute(text(f'SET LOCAL search_path = "{schema}"'))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def current(dsn: str) -> str | None:
    """Return the schema's revision, None when there is no schema yet.

    Raises:
        Unavailable: PostgreSQL does not answer.
    """
    with _connected(dsn) as connection:
        return _revision(connection)


def check(dsn: str) -> None:
    """Refuse a schema that is not the one that this code needs.

    Raises:
        NotReady: it is missing, older or newer; the message says what to do.
        Unavailable: PostgreSQL does not answer.
    """
    scripts = _scripts(_config())
    with _connected(dsn) as connection:
        found, schemas = _revision(connection), connection.scalar(text("SHOW search_path"))
    _refuse_newer(found, scripts)
    if found is None:
        raise NotReady(f"the database has no tables of Jabba's yet in {schemas}: run `{COMMAND}`")
    if found != scripts.get_current_head():
        raise NotReady(f"the database's schema is old ({found}): run `{COMMAND}`")


def _refuse_newer(found: str | None, scripts: ScriptDirectory) -> None:
    known = {script.revision for script in scripts.walk_revisions()}
    if found is not None and found not in known:
        raise NotReady(f"a newer Jabba made the database's schema ({found}): update this checkout")


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _config() -> Config:
    if not _DIRECTORY.is_dir():
        raise NotReady(f"no migrations at {_DIRECTORY}: run Jabba from its checkout, where they are")
    config = Config()
    # Alembic's configuration takes a % for the start of a reference.
    config.set_main_option("script_location", str(_DIRECTORY).replace("%", "%%"))
    return config


def _scripts(config: Config) -> ScriptDirectory:
    return ScriptDirectory.from_config(config)


@contextmanager
def _connected(dsn: str) -> Iterator[Connection]:
    """Open a connection whose work is committed as one transaction."""
    engine = create_engine(
        "postgresql+psycopg2://",
        creator=lambda: _connect(dsn),
        poolclass=NullPool,
    )
    try:
        with engine.begin() as connection:
            _refuse_encoding(connection)
            yield connection
    except OperationalError as error:
        raise unreachable(error.orig or error) from error
    except ProgrammingError as error:
        if isinstance(error.orig, psycopg2.errors.InsufficientPrivilege):
            raise forbidden(error.orig) from error
        raise


def _connect(dsn: str) -> "psycopg2.extensions.connection":
    options = {"connect_timeout": _CONNECT_SECONDS, **CONNECT_OPTIONS}
    connection: psycopg2.extensions.connection = psycopg2.connect(checked(dsn), **options)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(session_settings(0, dsn))
    except BaseException:
        connection.close()
        raise
    return connection


def _refuse_encoding(connection: Connection) -> None:
    """Refuse a database that cannot hold every letter."""
    encoding = connection.scalar(text("SHOW server_encoding"))
    if encoding != "UTF8":
        raise NotReady(f"the database's encoding is {encoding}: create one with ENCODING 'UTF8' TEMPLATE template0")
