"""The group of all commands."""

from typing import Any, NoReturn

import click

from jabba.cli import (
    callee,
    completion,
    dead_letters,
    errors,
    jobs,
    keys,
    processes,
    projections,
    search,
    services,
    stats,
    watching,
)


class Commands(click.Group):
    """Runs a command to its exit code; no error leaves it as a traceback."""

    def main(self, *args: Any, **extra: Any) -> NoReturn:
        """Run the command that the arguments name, and exit."""
        errors.run(lambda: super(Commands, self).main(*args, **extra | {"standalone_mode": False}))


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="jabba", message="Jabba %(version)s")
def jabba() -> None:
    """Jabba, an asynchronous job manager on Kafka and PostgreSQL.

    `jabba up` runs all of it on this machine. In production, `jabba init` prepares Kafka and PostgreSQL, and `worker`,
    `web` and `projector` run as many processes as you need.

    Settings are environment variables such as JABBA_URL (docs/settings.md); options override them.
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
    services.services,
):
    jabba.add_command(command)
jabba.add_command(completion.completion)
jabba.add_command(callee.callee)
jabba.add_command(dead_letters.dead_letters)
jabba.add_command(keys.keys)
jabba.add_command(keys.audit)
