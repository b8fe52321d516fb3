"""The commands that run Jabba: ``up`` all of it, or ``init``, ``worker``, ``web`` and ``projector`` one by one."""

import asyncio
import importlib
import importlib.util
import signal
from collections.abc import Callable
from typing import Any

import click

from jabba.callbacks import registry
from jabba.cli import options, output
from jabba.clock import SystemClock
from jabba.concurrency.process import detach_children
from jabba.errors import NotReady
from jabba.kafka import admin, aiokafka_patches
from jabba.local.ports import check_port, free_port
from jabba.monitoring import logs
from jabba.settings import Settings, SettingsError


@click.command
@options.kafka
@options.database
def init(**given: str | None) -> None:
    """Create topics and database schema, or bring them up to date.

    Running it again changes nothing.
    """
    from jabba.database import migrations
    from jabba.projection import retention

    settings = settings_of_role(given)
    asyncio.run(admin.create_topics(settings.cluster))
    click.echo(f"Kafka at {settings.kafka} is ready: topics {settings.prefix}-*")
    dsn = settings.database.get_secret_value()
    before = migrations.current(dsn)
    migrations.upgrade(dsn)
    after = migrations.current(dsn)
    retention.keep_up(settings, SystemClock())
    click.echo(f"PostgreSQL is ready: schema {after}" + ("" if before == after else f", was {before or 'empty'}"))


@click.command
@options.kafka
@options.database
@click.option("--yes", is_flag=True, help="Submit them; without it, they are only listed.")
def reconcile(*, yes: bool, **given: str | None) -> None:
    """Submit unfinished jobs again after Kafka's log was lost.

    PostgreSQL has the jobs and which of their tasks have ended. Run `jabba init` on the new Kafka first, and start
    workers, webs and projectors after this.
    """
    from jabba.local import reconcile as reconciliation

    settings = settings_of_role(given)
    asyncio.run(admin.check_topics(settings.cluster, "reconcile"))
    check_schema(settings)
    jobs = asyncio.run(reconciliation.unfinished(settings))
    for job in jobs:
        click.echo(job)
    if yes:
        click.echo(f"{asyncio.run(reconciliation.reconcile(settings))} jobs submitted again", err=True)
    else:
        click.echo(f"{len(jobs)} jobs would be submitted again; --yes does it", err=True)


@click.command
@options.kafka
@options.callbacks
def worker(**given: Any) -> None:
    """Run a worker, which invokes the callbacks of tasks."""
    settings = settings_of_role(given)
    registry.check(settings.callbacks)
    settings.open_services(SystemClock().monotonic)
    _check_metrics_port(settings)
    partitions = asyncio.run(admin.check_topics(settings.cluster, "worker"))
    detach_children()
    _run_app("agents.worker", settings, partitions)


@click.command
@options.kafka
@options.database
@click.option("--host", "web_host", help="Address to listen on.  [JABBA_WEB_HOST]")
@click.option("--port", "web_port", type=int, help="Port to listen on.  [JABBA_WEB_PORT]")
def web(**given: Any) -> None:
    """Serve the HTTP API."""
    settings = settings_of_role(given)
    check_port(settings.web_host, settings.web_port)
    settings.open_services(SystemClock().monotonic)
    asyncio.run(_from_checkout("web.service").check(settings))
    _run_app("web.service", settings)


@click.command
@options.kafka
@options.database
def projector(**given: Any) -> None:
    """Write the log's events to PostgreSQL."""
    from jabba import faust_app
    from jabba.projection.projector import Projector

    settings = settings_of_role(given)
    _check_metrics_port(settings)
    asyncio.run(admin.check_topics(settings.cluster, "projector"))
    check_schema(settings)
    faust_app.quiet_libraries(settings.log_level)
    faust_app.run_service(Projector(settings))


@click.command
@options.kafka
@click.option("--source", "outbox", metavar="URL", help="URL of the outbox's database.  [JABBA_OUTBOX]")
@click.option("--ddl", is_flag=True, help="Print the SQL that creates the table, and exit.")
def outbox(*, ddl: bool, **given: Any) -> None:
    """Submit the jobs in another service's outbox table.

    docs/outbox.md describes the table, which lives in the service's own database.
    """
    from jabba import faust_app
    from jabba import outbox as outboxes

    settings = settings_of_role(given)
    if ddl:
        click.echo(outboxes.ddl(settings.outbox_table), nl=False)
        return
    source = settings.outbox.get_secret_value()
    if not source:
        raise SettingsError("JABBA_OUTBOX: is missing; set it, or --source, to the URL of the outbox's database")
    _check_metrics_port(settings)
    faust_app.quiet_libraries(settings.log_level)
    asyncio.run(_relay(source, settings))


async def _relay(source: str, settings: Settings) -> None:
    """Run a relay until SIGINT or SIGTERM."""
    from jabba.outbox.relay import Relay

    async with Relay(source, settings) as relay:
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
    "--port",
    "web_port",
    type=click.IntRange(0, 65535),
    help="Port of the HTTP API; 0 = any free one. By default 8600, or a free one if that is taken.  [JABBA_WEB_PORT]",
)
@click.option(
    "--data", type=click.Path(file_okay=False), help="Directory of the embedded broker and database.  [JABBA_DATA]"
)
def up(workers: int, **given: Any) -> None:
    """Run all of Jabba on this machine until Ctrl-C.

    Without --kafka and --database it runs a broker and a PostgreSQL of its own, which keep everything in --data:
    unfinished jobs continue when `jabba up` starts again. Other commands find it through the same directory.
    """
    from jabba.local.up import House, run

    if given["web_port"] == 0:
        given["web_port"] = free_port()
    settings = _with_free_port(settings_of_role(given, lambda words: output.said("up", words)))
    own_broker, own_database = (name not in settings.model_fields_set for name in ("kafka", "database"))
    run(House(settings, workers, own_broker, own_database), output.said, output.announced)


def _with_free_port(settings: Settings) -> Settings:
    """Return settings with a free port for the web if nobody chose the one that is taken."""
    if "web_port" not in settings.model_fields_set:
        try:
            check_port(settings.web_host, settings.web_port)
        except NotReady:
            return settings.model_copy(update={"web_port": free_port()})
    return settings


def settings_of_role(given: dict[str, Any], say: Callable[[str], None] | None = None) -> Settings:
    """Read the settings, options first; set logging up, and correct aiokafka for this process."""
    aiokafka_patches.apply()
    settings = Settings.from_environ(**{name: value or None for name, value in given.items()})
    logs.to_standard_error(settings.log_level, say, log_format=settings.log_format)
    return settings


def _run_app(module: str, settings: Settings, *arguments: Any) -> None:
    """Build an application of the checkout and run it to its end."""
    from jabba import faust_app

    faust_app.quiet_libraries(settings.log_level)
    faust_app.run_app(_from_checkout(module).build(settings, *arguments))


def _from_checkout(module: str) -> Any:
    package = module.partition(".")[0]
    if importlib.util.find_spec(package) is None:
        raise NotReady(f"there is no package {package!r} here: run Jabba from the root of its checkout")
    return importlib.import_module(module)


def _check_metrics_port(settings: Settings) -> None:
    if settings.metrics_port:
        check_port(settings.metrics_host, settings.metrics_port, "JABBA_METRICS_PORT")


def check_schema(settings: Settings) -> None:
    """Refuse another schema than this code needs."""
    from jabba.database import migrations

    migrations.check(settings.database.get_secret_value())
