"""The commands that look after the projection: ``verify`` and ``rebuild``."""

import asyncio
from typing import TYPE_CHECKING, Any

import click

from jabba.cli import console, options, output, progress
from jabba.cli.processes import check_schema
from jabba.clock import SystemClock
from jabba.kafka import aiokafka_patches
from jabba.kafka.acls import Process, check_acls, rights_of
from jabba.local import data_directory
from jabba.monitoring import logs
from jabba.settings import Settings

if TYPE_CHECKING:
    from jabba.projection.rebuild.rebuild import Rebuilt
    from jabba.projection.verify.compare import Difference
    from jabba.projection.verify.verify import Report

_STATEMENT_SECONDS = 60.0
_DIFFERENT = 1
_NOT_READY = 3


@click.command
@options.kafka
@options.database
@click.option(
    "--wait",
    default=60.0,
    show_default=True,
    type=options.SECONDS,
    metavar="SECONDS",
    help="How long to wait for the projection to catch up.",
)
@options.json
@click.pass_context
def verify(context: click.Context, /, wait: float, *, as_json: bool, **given: str | None) -> None:
    """Compare PostgreSQL with the log, and list every difference.

    Jobs may run meanwhile. Exits with 0 if they agree, with 1 if they differ, and with 3 if the projection is too far
    behind to compare, or there is no disk space to sort the log.
    """
    from jabba.database.connection import Database
    from jabba.projection.verify.verify import Verification

    settings = _prepared("verify", given)

    def report_difference(difference: "Difference") -> None:
        bar.stop()
        console.as_line(difference) if as_json else output.difference(difference)

    async def work(bar: progress.Work) -> "Report":
        dsn = settings.database.get_secret_value()
        async with Database(dsn, size=1, statement_seconds=_STATEMENT_SECONDS) as opened:
            verification = Verification(settings, opened, SystemClock(), bar.show)
            return await verification.run(wait, report_difference)

    with progress.Work() as bar:
        report = asyncio.run(work(bar))
    console.as_line(report.as_json()) if as_json else output.verified(report)
    if report.differences:
        context.exit(_DIFFERENT)
    if report.waiting:
        context.exit(_NOT_READY)


@click.command
@options.kafka
@options.database
@click.option("--yes", is_flag=True, help="Swap the tables; without it, this is a dry run.")
@click.option("--keep", is_flag=True, help="Keep the replaced tables in a schema of their own.")
@click.pass_context
def rebuild(context: click.Context, /, *, yes: bool, keep: bool, **given: str | None) -> None:
    """Build the projection again from the log, and swap it in.

    It is built beside the live one, which stays in use meanwhile. Jobs that are older than the log are copied. Exits
    with 1, and swaps nothing, if the new projection differs from the log.
    """
    from jabba.projection.rebuild.rebuild import Rebuild

    settings = _prepared("rebuild", given)

    def report_difference(difference: "Difference") -> None:
        bar.stop()
        output.difference(difference)

    async def work(bar: progress.Work) -> "Rebuilt":
        async with Rebuild(settings, SystemClock(), bar.show) as opened:
            return await opened.run(report_difference, swap=yes, keep=keep)

    with progress.Work() as bar:
        rebuilt = asyncio.run(work(bar))
    output.rebuilt(rebuilt)
    if not yes:
        click.echo("nothing was changed; --yes swaps", err=True)
    if rebuilt.report.differences:
        context.exit(_DIFFERENT)


def _prepared(process: Process, given: dict[str, Any]) -> Settings:
    """Read the settings, and check the schema and the permission to read Kafka."""
    logs.errors_only()
    aiokafka_patches.apply()
    settings = data_directory.with_places(
        Settings.from_environ(**{name: value or None for name, value in given.items()})
    )
    check_schema(settings)
    asyncio.run(check_acls(settings.kafka_access, rights_of(process, settings.topics)))
    return settings
