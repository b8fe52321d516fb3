"""The option ``--watch``: refresh what is shown until Ctrl-C."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

import click

from jabba.cli import output
from jabba.errors import Refused, Unavailable

PAUSE_SECONDS = 2.0

INTERRUPTED = 130
"""What a command exits with that Ctrl-C kept from its end, as shells have it."""

Decorated = Callable[..., object]


def option(command: Decorated) -> Decorated:
    """Add ``--watch``."""
    text = f"Refresh every {PAUSE_SECONDS:g} s until Ctrl-C, which exits with 0."
    return click.option("--watch", is_flag=True, help=text)(command)


@contextmanager
def until_interrupted(code: int) -> Iterator[None]:
    """Let Ctrl-C end the command with this exit code, without a word."""
    try:
        yield
    except KeyboardInterrupt:
        click.get_current_context().exit(code)


async def again(draw: Callable[[], Awaitable[None]], *, clear: bool) -> NoReturn:
    """Draw for ever; a web process that is away meanwhile is asked again."""
    while True:
        with output.redrawn(clear=clear):
            try:
                await draw()
            except Refused:
                raise
            except Unavailable as error:
                output.trouble(str(error))
        await asyncio.sleep(PAUSE_SECONDS)
