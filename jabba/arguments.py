"""Checks of values that a caller gives: the one place that says which numbers are durations and counts.

Python's arguments, options of the command line and settings all come here, when they are given.
"""

import math
from numbers import Real
from typing import Any
from urllib.parse import urlsplit

from jabba.errors import InvalidArgument

MOST_SECONDS = 1e9
"""Thirty years. Timers, and protocols that count milliseconds, do not take just any number."""


def check_seconds(name: str, value: Any, *, zero: bool = False, unit: str = "seconds") -> float:
    """Return a duration, which is positive, or ``zero`` where that has a meaning.

    Raises:
        InvalidArgument: it is not a number, not finite, negative, or above ``MOST_SECONDS``.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise InvalidArgument(name, f"must be a number of {unit}, not {_shown(value)}")
    number = _float(value)
    if not 0 <= number <= MOST_SECONDS or (number == 0 and not zero):
        least = "0" if zero else "above 0"
        raise InvalidArgument(name, f"must be a number of {unit}, {least} to {MOST_SECONDS:,.0f}, not {_shown(value)}")
    return number


def check_optional_seconds(name: str, value: Any, *, zero: bool = False) -> float | None:
    """Return a duration as ``check_seconds`` does, or None, which means that there is no limit."""
    return None if value is None else check_seconds(name, value, zero=zero)


def _float(value: Real) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf


def check_count(name: str, value: Any, *, least: int = 0) -> int:
    """Return a whole number.

    Raises:
        InvalidArgument: it is not one, or below ``least``.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InvalidArgument(name, f"must be a whole number, at least {least}, not {_shown(value)}")
    return value


def check_web_url(name: str, value: Any) -> str:
    """Return the URL of a web process, without a slash at its end.

    Raises:
        InvalidArgument: it is not a URL of HTTP with a host, or holds what belongs elsewhere.
    """
    if not isinstance(value, str):
        raise InvalidArgument(name, f"must be a URL such as http://127.0.0.1:8600, not {_shown(value)}")
    try:
        parts = urlsplit(value)
        port = parts.port
        # As name servers are asked, who know no label that is empty or longer than 63 bytes.
        (parts.hostname or "").encode("idna")
    except ValueError as error:
        raise InvalidArgument(name, f"is not a URL: {error}") from error
    is_url = parts.scheme in ("http", "https") and parts.hostname and port != 0
    if not is_url or not value.isprintable() or " " in value:
        shown = "" if parts.username else f", not {_shown(value)}"
        raise InvalidArgument(name, f"must be a URL such as http://127.0.0.1:8600 or https://jabba.example{shown}")
    if parts.username is not None:
        raise InvalidArgument(
            name, "must not hold a user or password; the API key is given by itself, as `key` or JABBA_KEY"
        )
    if parts.query or parts.fragment:
        raise InvalidArgument(name, "must not have a query or fragment: paths are appended to it")
    return value.rstrip("/")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"


_SHOWN_CHARACTERS = 80
