"""How a command ends: the one place that turns every error into a sentence and an exit code."""

import errno
import io
import os
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

import click

from jabba.cli import console
from jabba.errors import FieldError, JabbaError, MissingExtra, NotReady, RequestError, Unavailable
from jabba.settings import Settings, SettingsError

FAILED = 1
WRONG_USAGE = 2
NOT_READY = 3
INTERRUPTED = 130
"""What shells report of a program that SIGINT ended."""


def run(command: Callable[[], object]) -> NoReturn:
    """Run a command and exit with its code; what it raises is shown as one sentence on standard error."""
    _never_fail_to_encode()
    try:
        code = command()
        _flush()
    except (KeyboardInterrupt, click.Abort):
        code = INTERRUPTED
    except click.exceptions.Exit as end:
        code = end.exit_code
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except Exception as error:  # noqa: BLE001 — nobody above shows it
        code = _show_and_rate(error)
    sys.exit(code if isinstance(code, int) else 0)


def exit_code(error: BaseException) -> int:
    """Return 3 when something is not there or not ready, 2 when the input is wrong, else 1."""
    if isinstance(error, RequestError) and not isinstance(error, Unavailable):
        return WRONG_USAGE if error.status in (400, 409, 413, 422) else FAILED
    if isinstance(error, SettingsError):
        return WRONG_USAGE
    return NOT_READY if isinstance(error, Unavailable | NotReady | MissingExtra) else FAILED


def sentence(error: BaseException) -> str:
    """Return what to show of any error, in one line."""
    return " ".join(line.strip() for line in _text(error).splitlines() if line.strip())


def _text(error: BaseException) -> str:
    if isinstance(error, JabbaError):
        return str(error) or type(error).__name__
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename is not None else error.strerror
    if isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        return _text(error.exceptions[0])
    return f"unexpected {type(error).__name__}: {error} (JABBA_LOG_LEVEL=debug shows the traceback)"


def show(error: BaseException) -> None:
    """Print an error to standard error, with its wrong fields below it."""
    message = sentence(error)
    fields: list[FieldError] = error.fields if isinstance(error, RequestError) else []
    console.err.print(f"[bold red]Error:[/] {console.text(message)}", soft_wrap=True)
    if len(fields) == 1 and fields[0].message in message:
        return
    for one in fields:
        console.err.print(f"  [bold]{console.text(one.field)}[/]  {console.text(one.message)}", soft_wrap=True)


def _show_and_rate(error: Exception) -> int:
    if isinstance(error, OSError):
        _discard_output()
        if error.errno == errno.EPIPE:
            return FAILED
    elif _is_debugging():
        traceback.print_exception(error)
    show(error)
    return exit_code(error)


def _is_debugging() -> bool:
    try:
        return Settings.from_environ().log_level == "debug"
    except SettingsError:
        return False


def _never_fail_to_encode() -> None:
    """Escape what the terminal's encoding lacks."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _flush() -> None:
    if sys.stdout is not None:
        sys.stdout.flush()


def _discard_output() -> None:
    """Let the interpreter's last flush of standard output succeed."""
    try:
        _flush()
    except OSError:
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
