"""``jabba keys`` and ``jabba audit``: who may use the HTTP interface, and who did; straight from PostgreSQL."""

import asyncio
import importlib
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID

import click

from jabba.auth.api_keys import new_key
from jabba.auth.roles import Role, TypeScope
from jabba.cli import moments, options, output
from jabba.clock import SystemClock
from jabba.errors import NotFound
from jabba.local import data_directory
from jabba.monitoring import logs
from jabba.settings import Settings

Answer = TypeVar("Answer")


@click.group
def keys() -> None:
    """Create, list and revoke keys of the HTTP interface."""


@keys.command
@click.option("--role", type=click.Choice([role.value for role in Role]), required=True, help="What it is for.")
@click.option(
    "--type", "types", metavar="TYPE", multiple=True, help="Limit it to jobs of this type, or audit_*; repeat."
)
@click.option("--name", help="What people call it.")
@click.option("--expires", metavar="90d|DATE", help="When it ends. Without this, never.")
@options.database
@options.json
def create(
    role: str, types: tuple[str, ...], name: str | None, expires: str | None, database: str | None, *, as_json: bool
) -> None:
    """Create a key and print it, this once."""
    now = _now()
    ends = None if expires is None else moments.ahead(expires, now)
    key, text = new_key(Role(role), now, types=TypeScope.parse(types), name=name, expires_at=ends)
    _with(database, lambda store, opened: store.create(opened, key))
    if as_json:
        output.as_json(output.key_as_json(key, now) | {"key": text})
    else:
        click.echo(text)
        click.echo(f"Key {key.id} for the role {key.role}; it is shown this once and kept nowhere", err=True)


@keys.command("list")
@options.database
@options.json
def list_(database: str | None, *, as_json: bool) -> None:
    """List keys, newest first."""
    found = _with(database, lambda store, opened: store.every(opened))
    if as_json:
        output.as_json([output.key_as_json(key, _now()) for key in found])
    else:
        output.keys(found, _now())


@keys.command
@click.argument("key_id", metavar="ID")
@options.database
def revoke(key_id: str, database: str | None) -> None:
    """Revoke a key; web processes learn of it within JABBA_KEY_SECONDS."""
    key = _with(database, lambda store, opened: store.revoke(opened, key_id, _now()))
    if key is None:
        raise NotFound(f"there is no key {key_id}")
    click.echo(f"Key {key.id} is revoked since {key.revoked_at:%Y-%m-%d %H:%M:%S}")


@click.command
@click.option("--job", type=click.UUID, help="What was done to this job.")
@click.option("--key", metavar="ID", help="What was done with this key, or to it.")
@click.option("--since", metavar="7d|DATE", help="From this moment on.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1), help="Newest entries to show.")
@options.database
@options.json
def audit(
    job: UUID | None, key: str | None, since: str | None, limit: int, database: str | None, *, as_json: bool
) -> None:
    """Show who changed what: submissions and keys, newest first."""
    begin = None if since is None else moments.ago(since, _now())
    auditing = importlib.import_module("jabba.database.audit")
    found = _with(database, lambda _, opened: auditing.entries(opened, job=job, key=key, since=begin, limit=limit))
    output.as_json(found) if as_json else output.audit(found)


def _with(database: str | None, work: Callable[[Any, Any], Awaitable[Answer]]) -> Answer:
    """Do something with the keys of a database whose schema is the one that this code needs."""
    settings = data_directory.with_places(Settings.from_environ(database=database))
    logs.to_standard_error("error")
    dsn = settings.database.get_secret_value()
    importlib.import_module("jabba.database.migrations").check(dsn)
    store = importlib.import_module("jabba.database.api_keys")

    async def run() -> Answer:
        async with importlib.import_module("jabba.database.connection").Database(dsn, size=1) as opened:
            return await work(store, opened)

    return asyncio.run(run())


def _now() -> datetime:
    return datetime.fromtimestamp(SystemClock().now(), UTC)
