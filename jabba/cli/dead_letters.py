"""``jabba dead-letters``: messages that could not be decoded."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import click

from jabba.cli import console, options, output
from jabba.kafka import aiokafka_patches
from jabba.kafka.acls import Process, check_acls, rights_of
from jabba.kafka.dead_letters import DeadLetters, Letter
from jabba.local import data_directory
from jabba.monitoring import logs
from jabba.settings import Settings

Answer = TypeVar("Answer")


@click.group("dead-letters")
def dead_letters() -> None:
    """List, show or retry messages that could not be decoded."""


@dead_letters.command("list")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1), help="Number of dead letters.")
@options.kafka
@options.json
def list_(limit: int, kafka: str | None, *, as_json: bool) -> None:
    """List dead letters, newest first."""

    async def work(letters: DeadLetters) -> list[Letter]:
        found = [letter async for letter in letters.all()]
        return sorted(found, key=lambda letter: letter.at, reverse=True)[:limit]

    found = _with("dead-letters list", kafka, work)
    console.as_json([letter.as_json() for letter in found]) if as_json else output.letters(found)


@dead_letters.command("show")
@click.argument("place", metavar="PARTITION:OFFSET")
@options.kafka
@options.json
def show_(place: str, kafka: str | None, *, as_json: bool) -> None:
    """Show a dead letter and the message in it."""
    letter = _with("dead-letters list", kafka, lambda letters: letters.get(place))
    console.as_json(letter.as_json()) if as_json else output.letter(letter)


@dead_letters.command
@click.argument("place", metavar="PARTITION:OFFSET")
@options.kafka
def retry(place: str, kafka: str | None) -> None:
    """Send the message of a dead letter to its topic again."""
    offset = _with("dead-letters retry", kafka, lambda letters: letters.retry(place))
    click.echo(f"sent again, to offset {offset}")


def _with(process: Process, kafka: str | None, work: Callable[[DeadLetters], Awaitable[Answer]]) -> Answer:
    settings = data_directory.with_places(Settings.from_environ(kafka=kafka))
    logs.to_standard_error("error")
    aiokafka_patches.apply()

    async def run() -> Answer:
        await check_acls(settings.kafka_access, rights_of(process, settings.topics))
        async with DeadLetters(
            settings.kafka_access, settings.topics, produce_seconds=settings.produce_seconds
        ) as letters:
            return await work(letters)

    return asyncio.run(run())
