"""The keys in PostgreSQL, and every statement about them; whoever creates or revokes one stands in the audit."""

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import ARRAY, Text, bindparam, cast, func, insert, select, update

from jabba.auth.api_keys import Key
from jabba.auth.roles import Role, TypeScope
from jabba.database import audit
from jabba.database.audit import Action
from jabba.database.connection import Database, Row
from jabba.database.schema import keys


async def create(database: Database, key: Key) -> None:
    """Store a key."""
    row = {column.name: getattr(key, column.name) for column in keys.columns}
    async with database.transaction() as transaction:
        await transaction.execute(_INSERT, row | {"types": list(key.types.patterns)})
        await audit.add_of_key(transaction, Action.CREATE_KEY, key.id, key.created_at)


async def revoke(database: Database, key: str, at: datetime) -> Key | None:
    """Revoke a key; return it as it is now, or None when there is none. One that was revoked before stays so."""
    async with database.transaction() as transaction:
        if await transaction.execute(_REVOKE, {"key": key, "at": at}):
            await audit.add_of_key(transaction, Action.REVOKE_KEY, key, at)
    return (await find(database, [key])).get(key)


async def every(database: Database) -> list[Key]:
    """Return all keys, the newest first, also those that are over."""
    return [_key(row) for row in await database.fetch(_EVERY)]


async def find(database: Database, ids: Iterable[str]) -> dict[str, Key]:
    """Return those of the keys that there are."""
    return {row["id"]: _key(row) for row in await database.fetch(_FIND, {"ids": list(ids)})}


def _key(row: Row) -> Key:
    return Key(**row | {"role": Role(row["role"]), "types": TypeScope(tuple(row["types"]))})


_INSERT = insert(keys)

_REVOKE = (
    update(keys)
    .where(keys.c.id == bindparam("key", type_=Text), keys.c.revoked_at.is_(None))
    .values(revoked_at=bindparam("at"))
    .returning(keys.c.id)
)

_EVERY = select(keys).order_by(keys.c.created_at.desc(), keys.c.id)

_FIND = select(keys).where(keys.c.id == func.any(cast(bindparam("ids", type_=ARRAY(Text)), ARRAY(Text))))
