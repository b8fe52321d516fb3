"""Moments as people write them on the command line."""

import re
from datetime import UTC, datetime, timedelta

import click

_SPAN = re.compile(r"(\d{1,5})([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def ahead(text: str, now: datetime) -> datetime:
    """Read ``90d`` as that long after now, and a date or time as itself."""
    span = _span(text)
    return _date(text) if span is None else now + span


def ago(text: str, now: datetime) -> datetime:
    """Read ``90d`` as that long before now, and a date or time as itself."""
    span = _span(text)
    return _date(text) if span is None else now - span


def _span(text: str) -> timedelta | None:
    found = _SPAN.fullmatch(text)
    return found and timedelta(**{_UNITS[found[2]]: int(found[1])})


def _date(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise click.UsageError(f"{text!r} is neither a time span such as 12h or 90d nor a date") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
