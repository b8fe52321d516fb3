"""The commands that run Jabba: ``up`` all of it, or ``init``, ``worker``, ``web`` and ``projector`` one by one.

What runs them is imported by its name when it is needed: the application lies above this package and beside it in
the checkout, the embedded parts may not be installed, and all of it takes a second to load.
"""

import asyncio
import importlib
import importlib.util
import signal
from collections.abc import Callable
from typing import Any

import click

from jabba import outbox as outboxes
from jabba.callbacks import registry
from jabba.cli import options, output
from jabba.clock import SystemClock
from jabba.errors import NotReady
from jabba.kafka import admin
from jabba.local.ports import check_port, free_port
from jabba.monitoring import logs
from jabba.settings import Settings, SettingsError


@click.command
@options.kafka
@options.database
def init(**given: str | None) -> None:
    """Prepare Kafka and PostgreSQL: topics, first offsets, schema. Doing it again changes nothing."""
    settings = settings_of_role(given)
    asyncio.run(admin.install(settings))
    click.echo(f"Kafka at {settings.kafka} is ready: topics {settings.prefix}-*")
    dsn = settings.database.get_secret_value()
    migrations = importlib.import_module("jabba.database.migrations")
    before = migrations.current(dsn)
    migrations.upgrade(dsn)
    after = migrations.current(dsn)
    importlib.import_module("jabba.projection.retention").keep_up(settings, SystemClock())
    click.echo(f"PostgreSQL is ready: schema {after}" + ("" if before == after else f", was {before or 'empty'}"))


@click.command
@options.kafka
@options.database
@click.option("--yes", is_flag=True, help="Do it; without this, only the jobs are listed.")
def reconcile(*, yes: bool, **given: str | None) -> None:
    """After the log was lost: submit again what is unfinished.

    PostgreSQL tells what that is, and what of it has ended. Run `jabba init` on the new Kafka first, and this before
    any worker, web or projector.
    """
    settings = settings_of_role(given)
    asyncio.run(admin.check(settings, "reconcile"))
    check_schema(settings)
    module = importlib.import_module("jabba.local.reconcile")
    jobs = asyncio.run(module.unfinished(settings))
    for job in jobs:
        click.echo(job)
    if yes:
        click.echo(f"{asyncio.run(module.reconcile(settings))} jobs submitted again", err=True)
    else:
        click.echo(f"{len(jobs)} jobs would be submitted again; --yes does it", err=True)


@click.command
@options.kafka
@options.callbacks
def worker(**given: Any) -> None:
    """Run the callbacks of submitted tasks. Needs Kafka, not PostgreSQL."""
    settings = settings_of_role(given)
    registry.check(settings.callbacks)
    _check_metrics_port(settings)
    partitions = asyncio.run(admin.check(settings, "worker"))
    _run_app("agents.worker", settings, partitions)


@click.command
@options.kafka
@options.database
@click.option("--host", "web_host", help="Address to listen on. [JABBA_WEB_HOST]")
@click.option("--port", "web_port", type=int, help="Port to listen on. [JABBA_WEB_PORT]")
def web(**given: Any) -> None:
    """Serve the HTTP interface."""
    settings = settings_of_role(given)
    check_port(settings.web_host, settings.web_port)
    asyncio.run(_from_checkout("web.service").check(settings))
    _run_app("web.service", settings)


@click.command
@options.kafka
@options.database
def projector(**given: Any) -> None:
    """Write what happens to PostgreSQL, where it can be searched."""
    settings = settings_of_role(given)
    _check_metrics_port(settings)
    asyncio.run(admin.check(settings, "projector"))
    check_schema(settings)
    app = importlib.import_module("jabba.faust_app")
    app.quiet_libraries(settings.log_level)
    app.run_service(importlib.import_module("jabba.projection.projector").Projector(settings))


@click.command
@options.kafka
@click.option("--source", "outbox", metavar="URL", help="The database that the outbox is in. [JABBA_OUTBOX]")
@click.option("--ddl", is_flag=True, help="Print the statements that create the table, and end.")
def outbox(*, ddl: bool, **given: Any) -> None:
    """Submit what other services have added to their outbox.

    That is a table in their own database: docs/outbox.md.
    """
    settings = settings_of_role(given)
    if ddl:
        click.echo(outboxes.ddl(settings.outbox_table), nl=False)
        return
    source = settings.outbox.get_secret_value()
    if not source:
        raise SettingsError("JABBA_OUTBOX: is missing: the URL of the database that the outbox is in")
    _check_metrics_port(settings)
    importlib.import_module("jabba.faust_app").quiet_libraries(settings.log_level)
    asyncio.run(_relay(source, settings))


async def _relay(source: str, settings: Settings) -> None:
    """Run a relay until SIGINT or SIGTERM."""
    async with importlib.import_module("jabba.outbox.relay").Relay(source, settings) as relay:
        for one in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(one, relay.stop)
        await relay.check()
        await relay.run()


@click.command
@options.kafka
@options.database
@options.callbacks
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1), help="Number of worker processes.")
@click.option(
    "--port", "web_port", type=click.IntRange(0, 65535), help="Port of the web; 0 = any that is free. [JABBA_WEB_PORT]"
)
@click.option("--data", type=click.Path(file_okay=False), help="Directory of what is embedded. [JABBA_DATA]")
def up(workers: int, **given: Any) -> None:
    """Run all of Jabba on this machine, until Ctrl-C.

    Without --kafka and --database it brings a broker and a PostgreSQL of its own, which keep everything in --data:
    jobs that have not ended go on when `jabba up` starts again.
    """
    if given["web_port"] == 0:
        given["web_port"] = free_port()
    settings = settings_of_role(given, lambda line: output.said("up", line))
    own_broker, own_database = (name not in settings.model_fields_set for name in ("kafka", "database"))
    house = importlib.import_module("jabba.local.up")
    house.run(house.House(settings, workers, own_broker, own_database), output.said, output.announced)


def settings_of_role(given: dict[str, Any], say: Callable[[str], None] | None = None) -> Settings:
    """Read the settings, options first, and set logging up."""
    settings = Settings.from_environ(**{name: value or None for name, value in given.items()})
    logs.to_standard_error(settings.log_level, say)
    return settings


def _run_app(module: str, settings: Settings, *arguments: Any) -> None:
    """Build an application of the checkout and run it to its end."""
    app = importlib.import_module("jabba.faust_app")
    app.quiet_libraries(settings.log_level)
    app.run_app(_from_checkout(module).build(settings, *arguments))


def _from_checkout(module: str) -> Any:
    package = module.partition(".")[0]
    if importlib.util.find_spec(package) is None:
        raise NotReady(f"there is no package {package!r} here: run Jabba from the root of its checkout")
    return importlib.import_module(module)


def _check_metrics_port(settings: Settings) -> None:
    if settings.metrics_port:
        check_port(settings.metrics_host, settings.metrics_port, "JABBA_METRICS_PORT")


def check_schema(settings: Settings) -> None:
    """Refuse to go on with another schema than this code needs."""
    importlib.import_module("jabba.database.migrations").check(settings.database.get_secret_value())
