"""The audit in PostgreSQL: what was changed by whom, and every statement about it."""

import os
import pwd
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, MetaData, Select, Table, Text, bindparam, delete, func, literal, or_, select
from sqlalchemy.dialects.postgresql import Insert, insert

from jabba.database.bulk_rows import incoming_rows
from jabba.database.connection import Database, Transaction
from jabba.database.schema import audit, keys
from jabba.jobs import ids
from jabba.jobs.models import AuditEntry


class Action(StrEnum):
    """What can be done."""

    SUBMIT = "submit"
    CREATE_KEY = "create_key"
    REVOKE_KEY = "revoke_key"


async def entries(
    database: Database,
    *,
    job: UUID | None = None,
    key: str | None = None,
    since: datetime | None = None,
    offset: int = 0,
    limit: int = 50,
) -> list[AuditEntry]:
    """Return a page of what was changed, the newest first: of one job, with or about one key, from a moment on."""
    asked = select(*_ENTRY).order_by(audit.c.at.desc(), audit.c.id.desc()).offset(offset).limit(limit)
    if job is not None:
        asked = asked.where(audit.c.job_id == str(job))
    if key is not None:
        asked = asked.where(or_(audit.c.key_id == key, audit.c.about_key == key))
    if since is not None:
        asked = asked.where(audit.c.at >= since)
    return [AuditEntry(**row) for row in await database.fetch(asked)]


async def take_over(database: Database, schema: str) -> None:
    """Note what a rebuild in another schema has noted, and the live projection has not: it may have come farther."""
    await database.fetch(_taking_over(audit.to_metadata(MetaData(), schema=schema)))


async def forget(database: Database, before: datetime) -> None:
    """Delete what was noted before a moment, a bounded number of entries at a time."""
    while (await database.fetch(_FORGET, {"before": before, "limit": _FORGOTTEN}))[0]["entries"]:
        pass


async def add_of_key(transaction: Transaction, action: Action, key: str, at: datetime) -> None:
    """Note what is done to a key, and which user of the operating system does it."""
    row = {
        "id": str(ids.new_job_id(at.timestamp())),
        "at": at,
        "action": action,
        "about_key": key,
        "user_name": _user(),
    }
    await transaction.execute(_ADD_OF_KEY, row)


_FORGOTTEN = 10_000
"""So many entries are deleted in one statement."""

_ENTRY: list[ColumnElement[Any]] = [audit.c[name] for name in AuditEntry.model_fields]


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"


def _add_submissions() -> Insert:
    incoming = incoming_rows("submissions", SUBMISSION_COLUMNS)
    action, name = literal(Action.SUBMIT.value, Text), keys.c.name.label("key_name")
    found = select(*incoming.c, action.label("action"), name).join_from(
        incoming, keys, keys.c.id == incoming.c.key_id, isouter=True
    )
    names = [*incoming.c.keys(), "action", "key_name"]
    return insert(audit).from_select(names, found).on_conflict_do_nothing(index_elements=[audit.c.id])


def _forgetting() -> Select[Any]:
    # Several projectors may be at it: each takes what no other one has.
    old = select(audit.c.id).where(audit.c.at < bindparam("before")).order_by(audit.c.at).limit(bindparam("limit"))
    gone = delete(audit).where(audit.c.id.in_(old.with_for_update(skip_locked=True))).returning(audit.c.id).cte("gone")
    return select(func.count().label("entries")).select_from(gone)


def _taking_over(made: Table) -> Insert:
    told = [made.c[name] for name in ("id", "at", "action", "key_id", "job_id")]
    name = keys.c.name.label("key_name")
    found = select(*told, name).join_from(made, keys, keys.c.id == made.c.key_id, isouter=True)
    names = [column.name for column in (*told, name)]
    return insert(audit).from_select(names, found).on_conflict_do_nothing(index_elements=[audit.c.id])


SUBMISSION_COLUMNS = (audit.c.id, audit.c.at, audit.c.key_id, audit.c.job_id)

ADD_SUBMISSIONS = _add_submissions()
"""Note who submitted jobs; one that is noted already stays as it is."""

_FORGET = _forgetting()

_ADD_OF_KEY = insert(audit).values({name: bindparam(name) for name in ("id", "at", "action", "about_key", "user_name")})
