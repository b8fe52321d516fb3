"""The keys that tests use: one that everything is asked with unless a test is about keys, and others made for it."""

import asyncio
from datetime import UTC, datetime
from typing import Any

from jabba.auth.api_keys import Key, hash_of, id_of, new_key
from jabba.auth.roles import EVERY_TYPE, Role, TypeScope
from jabba.database import api_keys
from jabba.database.connection import Database

KEY = f"jabba_{'0' * 12}_{'1' * 64}"
"""An admin's."""

AUTHORIZATION = {"Authorization": f"Bearer {KEY}"}
_LONG_AGO = datetime(2026, 11, 1, tzinfo=UTC)


def add_key(dsn: str) -> None:
    """Make ``KEY`` known to a database with the schema."""
    asyncio.run(_add_key(dsn))


async def make_key(database: Database, role: Role = Role.ADMIN, *types: str, **given: Any) -> str:
    """Store a new key, and return its text."""
    key, text = new_key(role, _LONG_AGO, types=TypeScope(types), **given)
    await api_keys.create(database, key)
    return text


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


async def _add_key(dsn: str) -> None:
    async with Database(dsn, size=1) as database:
        await api_keys.create(database, Key(id_of(KEY) or "", "tests", Role.ADMIN, EVERY_TYPE, hash_of(KEY), _LONG_AGO))
