"""``jabba keys`` and ``jabba audit``: API keys and what was done with them, straight from PostgreSQL."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar
from uuid import UUID

import click

from jabba.auth.api_keys import Key, new_key
from jabba.auth.roles import Role, TypeScope
from jabba.cli import console, options, output
from jabba.clock import SystemClock
from jabba.errors import NotFound
from jabba.jobs.models import AuditEntry
from jabba.local import data_directory
from jabba.monitoring import logs
from jabba.search import MAX_LIMIT
from jabba.settings import Settings

if TYPE_CHECKING:
    from jabba.database.connection import Database

Answer = TypeVar("Answer")


@click.group
def keys() -> None:
    """Create, list and revoke API keys."""


@keys.command
@click.option("--role", type=click.Choice([role.value for role in Role]), required=True, help="What the key may do.")
@click.option(
    "--type", "types", metavar="TYPE", multiple=True, help="Only jobs of this type, or audit_*; may be repeated."
)
@click.option("--name", help="A name to recognise the key by.")
@click.option("--expires", metavar="90d|DATE", help="When the key expires; never by default.")
@options.database
@options.json
def create(
    role: str, types: tuple[str, ...], name: str | None, expires: str | None, database: str | None, *, as_json: bool
) -> None:
    """Create a key and print it; it cannot be shown again."""
    now = _now()
    ends = None if expires is None else options.time_ahead(expires, now)
    key, text = new_key(Role(role), now, types=TypeScope.parse(types), name=name, expires_at=ends)

    async def work(opened: "Database") -> None:
        from jabba.database import api_keys

        await api_keys.create(opened, key)

    _with(database, work)
    if as_json:
        console.as_json(output.key_as_json(key, now) | {"key": text})
    else:
        click.echo(text)
        click.echo(f"Key {key.id} for the role {key.role}; it is not stored, and cannot be shown again", err=True)


@keys.command("list")
@options.database
@options.json
def list_(database: str | None, *, as_json: bool) -> None:
    """List keys, newest first."""

    async def work(opened: "Database") -> list[Key]:
        from jabba.database import api_keys

        return await api_keys.every(opened)

    found = _with(database, work)
    if as_json:
        console.as_json([output.key_as_json(key, _now()) for key in found])
    else:
        output.keys(found, _now())


@keys.command
@click.argument("key_id", metavar="ID")
@options.database
def revoke(key_id: str, database: str | None) -> None:
    """Revoke a key; web processes refuse it within JABBA_KEY_SECONDS."""

    async def work(opened: "Database") -> Key | None:
        from jabba.database import api_keys

        return await api_keys.revoke(opened, key_id, _now())

    key = _with(database, work)
    if key is None:
        raise NotFound(f"there is no key {key_id}; `jabba keys list` shows all")
    click.echo(f"Key {key.id} was revoked at {key.revoked_at:%Y-%m-%d %H:%M:%S}")


@click.command
@click.option("--job", type=click.UUID, help="Only changes of this job.")
@click.option("--key", metavar="ID", help="Only changes made with this key, or of it.")
@click.option("--since", metavar="7d|DATE", help="Only changes since then.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, MAX_LIMIT), help="Number of entries.")
@options.database
@options.json
def audit(
    job: UUID | None, key: str | None, since: str | None, limit: int, database: str | None, *, as_json: bool
) -> None:
    """Show who submitted jobs and changed keys, newest first."""
    begin = None if since is None else options.time_ago(since, _now())

    async def work(opened: "Database") -> list[AuditEntry]:
        from jabba.database import audit as auditing

        return await auditing.entries(opened, job=job, key=key, since=begin, limit=limit)

    found = _with(database, work)
    console.as_json(found) if as_json else output.audit(found)


def _with(database: str | None, work: Callable[["Database"], Awaitable[Answer]]) -> Answer:
    """Work in a database whose schema is the one that this code needs."""
    from jabba.database import migrations
    from jabba.database.connection import Database

    settings = data_directory.with_places(Settings.from_environ(database=database))
    logs.to_standard_error("error")
    dsn = settings.database.get_secret_value()
    migrations.check(dsn)

    async def run() -> Answer:
        async with Database(dsn, size=1) as opened:
            return await work(opened)

    return asyncio.run(run())


def _now() -> datetime:
    return datetime.fromtimestamp(SystemClock().now(), UTC)
