"""Options that several commands share; each stands before the setting of the same name."""

from collections.abc import Callable
from typing import Any

import click

Decorated = Callable[..., Any]


def kafka(command: Decorated) -> Decorated:
    """Add ``--kafka``."""
    return click.option("--kafka", metavar="HOST:PORT,…", help="Kafka's bootstrap servers. [JABBA_KAFKA]")(command)


def database(command: Decorated) -> Decorated:
    """Add ``--database``."""
    return click.option("--database", metavar="URL", help="Where the projection lives. [JABBA_DATABASE]")(command)


def url(command: Decorated) -> Decorated:
    """Add ``--url``."""
    return click.option("--url", metavar="URL", help="Where the web process is. [JABBA_URL]")(command)


def callbacks(command: Decorated) -> Decorated:
    """Add ``--callbacks``, which may be repeated."""
    help_text = "A module whose @jabba.callback functions may run; repeat it for more. [JABBA_CALLBACKS]"
    return click.option("--callbacks", metavar="MODULE", multiple=True, help=help_text)(command)


def json(command: Decorated) -> Decorated:
    """Add ``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")(command)
