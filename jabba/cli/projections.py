"""The commands that look after the projection: ``verify`` and ``rebuild``."""

import asyncio
import importlib
from typing import Any

import click

from jabba.cli import options, output, progress
from jabba.cli.processes import check_schema
from jabba.clock import SystemClock
from jabba.kafka import granted
from jabba.kafka.acls import Process, rights_of
from jabba.local import data_directory
from jabba.monitoring import logs
from jabba.settings import Settings

_STATEMENT_SECONDS = 60.0
_DIFFERENT = 1
_NOT_READY = 3


@click.command
@options.kafka
@options.database
@click.option("--wait", default=60.0, show_default=True, help="Seconds that the projection may need to catch up.")
@options.json
@click.pass_context
def verify(context: click.Context, /, wait: float, *, as_json: bool, **given: str | None) -> None:
    """Compare PostgreSQL with the log, and name each difference.

    Work may go on meanwhile. Ends with 0 when they agree, with 1 when they differ, and with 3 when the projection is
    too far behind to tell, or there is no room to sort the log.
    """
    settings = _prepared("verify", given)
    verifying = importlib.import_module("jabba.projection.verify.verify")
    database = importlib.import_module("jabba.database.connection").Database

    def told(difference: Any) -> None:
        bar.stop()
        output.as_line(difference) if as_json else output.difference(difference)

    async def work(bar: progress.Work) -> Any:
        dsn = settings.database.get_secret_value()
        async with database(dsn, size=1, statement_seconds=_STATEMENT_SECONDS) as opened:
            verification = verifying.Verification(settings, opened, SystemClock(), bar.tell)
            return await verification.run(wait, told)

    with progress.Work() as bar:
        report = asyncio.run(work(bar))
    output.as_line(report.as_json()) if as_json else output.verified(report)
    if report.differences:
        context.exit(_DIFFERENT)
    if report.waiting:
        context.exit(_NOT_READY)


@click.command
@options.kafka
@options.database
@click.option("--yes", is_flag=True, help="Swap; without this, it is a rehearsal.")
@click.option("--keep", is_flag=True, help="Keep the tables that are replaced, in a schema of their own.")
@click.pass_context
def rebuild(context: click.Context, /, *, yes: bool, keep: bool, **given: str | None) -> None:
    """Make the projection anew from the log, and swap it in.

    It is made beside the live one, and everything goes on meanwhile. Jobs that are older than the log are taken over as
    they are. Ends with 1, and swaps nothing, if the new projection is not what the log says.
    """
    settings = _prepared("rebuild", given)
    module = importlib.import_module("jabba.projection.rebuild.rebuild")

    def told(difference: Any) -> None:
        bar.stop()
        output.difference(difference)

    async def work(bar: progress.Work) -> Any:
        async with module.Rebuild(settings, SystemClock(), bar.tell) as opened:
            return await opened.run(told, swap=yes, keep=keep)

    with progress.Work() as bar:
        rebuilt = asyncio.run(work(bar))
    output.rebuilt(rebuilt)
    if not yes:
        click.echo("nothing was changed; --yes swaps", err=True)
    if rebuilt.report.differences:
        context.exit(_DIFFERENT)


def _prepared(process: Process, given: dict[str, Any]) -> Settings:
    """Read the settings, and look whether the schema is the one that this code needs, and Kafka may be read."""
    logs.errors_only()
    settings = data_directory.with_places(
        Settings.from_environ(**{name: value or None for name, value in given.items()})
    )
    check_schema(settings)
    asyncio.run(granted.check(settings.kafka_access, rights_of(process, settings.topics)))
    return settings
