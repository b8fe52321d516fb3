"""Submitting inside the caller's own database transaction: committed means submitted, rolled back means never.

``add`` writes a checked job into a table of the caller's PostgreSQL, with the caller's connection, and the relay,
``python -m jabba outbox``, submits what was committed. No driver is imported here: a connection brings its own.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict, Unpack
from uuid import UUID

from jabba.clock import SystemClock
from jabba.jobs import json_codec
from jabba.jobs.models import Job, JobSpec, Limits
from jabba.producer.submission import TaskForm, document_of, prepare

TABLE = "jabba_outbox"

_NAME = re.compile(r"[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)?")
_DDL = """\
CREATE TABLE IF NOT EXISTS {table} (
    id       uuid PRIMARY KEY,                     -- the job's
    place    bigint GENERATED ALWAYS AS IDENTITY,  -- the order in which jobs were added
    job      text NOT NULL,                        -- the submission, as JSON
    added_at timestamptz NOT NULL DEFAULT now(),
    sent_at  timestamptz,                          -- when a relay began to send it
    error    text                                  -- why it was set aside, and is not sent
);
CREATE INDEX IF NOT EXISTS {index}_waiting ON {table} (place) WHERE error IS NULL AND sent_at IS NULL;
CREATE INDEX IF NOT EXISTS {index}_begun ON {table} (sent_at) WHERE error IS NULL AND sent_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS {index}_set_aside ON {table} (id) WHERE error IS NOT NULL;
"""
_INSERT = "INSERT INTO {table} (id, job) VALUES (CAST({id} AS text)::uuid, {job})"
_STYLES = {
    "format": ("%s", "%s"),
    "pyformat": ("%(id)s", "%(job)s"),
    "named": (":id", ":job"),
    "numeric": (":1", ":2"),
    "numeric_dollar": ("$1", "$2"),
    "qmark": ("?", "?"),
}
_BY_NAME = ("pyformat", "named")


def ddl(table: str = TABLE) -> str:
    """Return the statements that create the table; running them again changes nothing.

    Whoever adds jobs needs the right to INSERT, the relay those to SELECT, UPDATE and DELETE.
    """
    checked = _checked(table)
    return _DDL.format(table=checked, index=checked.rpartition(".")[2])


@dataclass(frozen=True, slots=True)
class Added:
    """A job in the outbox: it is submitted under this ``id`` once the caller's transaction has been committed.

    ``job`` is the job as it will be accepted, its times those of the call. ``text`` is what the table keeps.
    """

    id: UUID
    job: Job
    text: str

    def statement(self, paramstyle: str, table: str = TABLE) -> tuple[str, Any]:
        """Return the INSERT and its parameters for a driver with this ``paramstyle``, as PEP 249 has them.

        ``numeric_dollar`` is asyncpg's ``$1``. Parameters are a dict for ``pyformat`` and ``named``, else a tuple.
        """
        first, second = _STYLES[paramstyle]
        sql = _INSERT.format(table=_checked(table), id=first, job=second)
        values = (str(self.id), self.text)
        return sql, dict(zip(("id", "job"), values, strict=True)) if paramstyle in _BY_NAME else values


class Options(TypedDict, total=False):
    """What ``Producer.create_job`` takes by name, and the ``limits`` of ``Producer``."""

    strategy: str
    meta: Mapping[str, Any] | None
    name: str | None
    id: UUID | str | None
    limits: Limits | None


def prepared(
    tasks: TaskForm | Sequence[TaskForm],
    type: str,  # noqa: A002 — as in Producer
    **options: Unpack[Options],
) -> Added:
    """Check a job as ``Producer.create_job`` does, and return what belongs in the table; nothing is written.

    Raises:
        InvalidRequest: names every wrong field.
        LimitExceeded: names what is larger than a limit.
    """
    limits = options.pop("limits", None) or Limits()
    spec = JobSpec.parse(document_of(tasks, type, **options), limits)
    job = prepare(spec, limits, SystemClock().now()).job
    return Added(job.id, job, json_codec.encode_model(spec.model_copy(update={"id": job.id}), "").decode())


def add(
    connection: Any,
    tasks: TaskForm | Sequence[TaskForm],
    type: str,  # noqa: A002 — as in Producer
    *,
    table: str = TABLE,
    **options: Unpack[Options],
) -> Added:
    """Add a job to the outbox, in the transaction that ``connection`` is in.

    Args:
        connection: a connection or cursor of psycopg or psycopg2; a ``Connection`` or ``Session`` of SQLAlchemy.
        tasks: one task or several.
        type: what kind of job it is.
        table: the table's name, ``schema.table`` if it is elsewhere.
        options: ``strategy``, ``meta``, ``name``, ``id`` of ``Producer.create_job``; ``limits`` of ``Producer``.

    Raises:
        InvalidRequest: names every wrong field; nothing was sent to the database.
        LimitExceeded: names what is larger than a limit.
    """
    added = prepared(tasks, type, **options)
    if _is_of("sqlalchemy", connection):
        inner = connection if hasattr(connection, "exec_driver_sql") else connection.connection()
        inner.exec_driver_sql(*added.statement(inner.dialect.paramstyle, table))
    elif hasattr(connection, "execute"):
        connection.execute(*added.statement("format", table))
    else:
        with connection.cursor() as cursor:
            cursor.execute(*added.statement("format", table))
    return added


async def add_async(
    connection: Any,
    tasks: TaskForm | Sequence[TaskForm],
    type: str,  # noqa: A002 — as in Producer
    *,
    table: str = TABLE,
    **options: Unpack[Options],
) -> Added:
    """Do as ``add`` does, with an asynchronous connection.

    It is one of asyncpg, an ``AsyncConnection`` or ``AsyncCursor`` of psycopg, a cursor of aiopg, or an
    ``AsyncConnection`` or ``AsyncSession`` of SQLAlchemy. A pool is none: it would use some other connection.
    """
    added = prepared(tasks, type, **options)
    if _is_of("sqlalchemy", connection):
        inner = connection if hasattr(connection, "exec_driver_sql") else await connection.connection()
        await inner.exec_driver_sql(*added.statement(inner.dialect.paramstyle, table))
    elif _is_of("asyncpg", connection):
        if hasattr(connection, "acquire"):
            raise TypeError("a pool has no transaction: acquire a connection, and give that")
        sql, parameters = added.statement("numeric_dollar", table)
        await connection.execute(sql, *parameters)
    else:
        await connection.execute(*added.statement("format", table))
    return added


def _is_of(package: str, connection: Any) -> bool:
    return any(one.__module__.partition(".")[0] == package for one in connection.__class__.__mro__)


def _checked(table: str) -> str:
    if not _NAME.fullmatch(table):
        raise ValueError(f"{table!r} is no name of a table: lower-case letters, digits and _, after schema. if needed")
    return table


DDL = ddl()
"""The statements that create the table under its usual name."""
