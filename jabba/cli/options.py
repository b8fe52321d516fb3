"""Options that several commands share, and how they are written; each overrides the setting of the same name."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from jabba.arguments import check_seconds
from jabba.errors import InvalidArgument

Decorated = Callable[..., Any]


class _Seconds(click.ParamType):
    """A duration in seconds, or 0."""

    name = "seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read it."""
        try:
            return check_seconds("", click.FLOAT.convert(value, param, ctx), zero=True)
        except InvalidArgument as error:
            self.fail(error.message, param, ctx)


SECONDS = _Seconds()

_SPAN = re.compile(r"(\d{1,5})([smhdw])", re.ASCII)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def kafka(command: Decorated) -> Decorated:
    """Add ``--kafka``."""
    return click.option("--kafka", metavar="HOST:PORT,…", help="Bootstrap servers of Kafka.  [JABBA_KAFKA]")(command)


def database(command: Decorated) -> Decorated:
    """Add ``--database``."""
    return click.option("--database", metavar="URL", help="URL of the PostgreSQL database.  [JABBA_DATABASE]")(command)


def url(command: Decorated) -> Decorated:
    """Add ``--url``."""
    return click.option("--url", metavar="URL", help="URL of the web process.  [JABBA_URL]")(command)


def callbacks(command: Decorated) -> Decorated:
    """Add ``--callbacks``, which may be repeated."""
    help_text = "Import this module's @jabba.callback functions; may be repeated.  [JABBA_CALLBACKS]"
    return click.option("--callbacks", metavar="MODULE", multiple=True, help=help_text)(command)


def json(command: Decorated) -> Decorated:
    """Add ``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def time_ahead(written: str, now: datetime) -> datetime:
    """Read ``90d`` as that long after now, and a date or time as itself."""
    return _time(written, now, 1)


def time_ago(written: str, now: datetime) -> datetime:
    """Read ``90d`` as that long before now, and a date or time as itself."""
    return _time(written, now, -1)


def _time(written: str, now: datetime, direction: int) -> datetime:
    try:
        if span := _SPAN.fullmatch(written):
            return now + direction * timedelta(**{_UNITS[span[2]]: int(span[1])})
        moment = datetime.fromisoformat(written)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except ValueError as error:
        raise click.UsageError(f"{written!r} is neither a time span such as 12h or 90d nor a date") from error
    except OverflowError as error:
        raise click.UsageError(f"{written!r} lies outside of the years 1 to 9999") from error
