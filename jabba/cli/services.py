"""``services``: where callbacks may live."""

import click

from jabba.cli import console, options, output
from jabba.cli.jobs import ask


@click.command
@options.url
@options.json
def services(url: str | None, *, as_json: bool) -> None:
    """List the services that callbacks may call."""
    found = ask(url, lambda client: client.get_services())
    if as_json:
        console.as_json(found)
    else:
        output.services(found)
