"""The group of all commands, and how their errors end."""

from typing import IO, Any

import click
from rich.console import Console
from rich.markup import escape

from jabba.cli import dead_letters, jobs, keys, processes, projections, search, stats, watching
from jabba.errors import JabbaError, MissingExtra, NotReady, RequestError, Unavailable
from jabba.settings import SettingsError

FAILED = 1
WRONG_USAGE = 2
NOT_READY = 3


class Failure(click.ClickException):
    """An error of Jabba's as the command line tells it: one line, the wrong fields below it, and an exit code."""

    def __init__(self, error: JabbaError) -> None:
        super().__init__(str(error))
        self.fields = error.fields if isinstance(error, RequestError) else []
        self.exit_code = exit_code(error)

    def show(self, file: IO[Any] | None = None) -> None:
        """Print it to standard error."""
        console = Console(file=file, stderr=True, highlight=False, soft_wrap=True)
        console.print(f"[bold red]Error:[/] {escape(self.message)}")
        if len(self.fields) == 1 and self.fields[0].message in self.message:
            return
        for one in self.fields:
            console.print(f"  [bold]{escape(one.field)}[/]  {escape(one.message)}")


class Commands(click.Group):
    """Turns every error that Jabba raises on purpose into a message without traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except JabbaError as error:
            raise Failure(error) from error


def exit_code(error: JabbaError) -> int:
    """Return 3 when something is not there or not ready, 2 when the input is wrong, else 1."""
    if isinstance(error, RequestError) and not isinstance(error, Unavailable):
        return WRONG_USAGE if error.status in (400, 409, 413, 422) else FAILED
    if isinstance(error, SettingsError):
        return WRONG_USAGE
    return NOT_READY if isinstance(error, Unavailable | NotReady | MissingExtra) else FAILED


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="jabba", message="Jabba %(version)s")
def jabba() -> None:
    """Jabba, an asynchronous job manager on Kafka and PostgreSQL.

    `jabba up` runs all of it on this machine. In production, `jabba init` prepares Kafka and PostgreSQL, and `worker`,
    `web` and `projector` run as many processes as you need.

    Every setting is an environment variable that begins with JABBA_; an option goes before it.
    """


for command in (
    processes.up,
    processes.init,
    processes.reconcile,
    projections.verify,
    projections.rebuild,
    processes.worker,
    processes.web,
    processes.projector,
    processes.outbox,
    jobs.submit,
    jobs.get,
    search.search,
    search.tasks,
    watching.watch,
    stats.stats,
):
    jabba.add_command(command)
jabba.add_command(dead_letters.dead_letters)
jabba.add_command(keys.keys)
jabba.add_command(keys.audit)
