"""The commands that ask a running Jabba for a job: ``submit`` and ``get``."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import click

from jabba.cli import options, output, progress
from jabba.client import Client
from jabba.errors import Unavailable
from jabba.jobs import json_codec
from jabba.jobs.lifecycle import JobStatus
from jabba.jobs.models import Job
from jabba.jobs.pages import Count
from jabba.local import data_directory
from jabba.monitoring import logs
from jabba.producer.submission import Submitted
from jabba.settings import Settings

Answer = TypeVar("Answer")

_FIRST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 0.5
_PAUSE_GROWTH = 1.3
_TASKS_SHOWN = 50


@click.command
@click.argument("file", metavar="FILE.json|-", type=click.File("rb"))
@click.option("--wait", is_flag=True, help="Wait until the job has ended; exit with 1 if it failed.")
@options.url
@options.json
@click.pass_context
def submit(context: click.Context, file: Any, url: str | None, *, wait: bool, as_json: bool) -> None:
    """Submit the job in a file, or on standard input.

    The document is that of POST /v1/jobs:

    \b
        {"type": "shipping", "tasks": [["local", "shop.callbacks", "ship", [17]]]}
    """  # noqa: D301 — click wants the very character
    document = _read(file)

    async def work(client: Client) -> Job:
        submitted = await client.submit(document)
        return await _until_ended(client, submitted, quiet=as_json) if wait else submitted.job

    job = ask(url, work)
    output.as_json(job) if as_json else output.job(job)
    if wait and job.status != JobStatus.PROCESSED:
        context.exit(1)


@click.command
@click.argument("job_id", metavar="ID")
@options.url
@options.json
def get(job_id: str, url: str | None, *, as_json: bool) -> None:
    """Show a job and its tasks."""

    async def work(client: Client) -> None:
        job = await client.get_job(job_id)
        if as_json:
            output.as_json(job)
        else:
            progress = await client.get_progress(job_id)
            output.job(job, progress)
            tasks = await client.get_tasks(job_id, cursor=(0, _TASKS_SHOWN))
            output.tasks(tasks, Count(value=progress.total, exact=True))

    ask(url, work)


def ask(url: str | None, work: Callable[[Client], Awaitable[Answer]]) -> Answer:
    """Run a conversation with the web process."""
    logs.errors_only()
    settings = Settings.from_environ(url=url)

    async def converse() -> Answer:
        async with Client(settings.url, key=data_directory.key_for(settings, settings.url)) as client:
            return await work(client)

    return asyncio.run(converse())


def _read(file: Any) -> Any:
    try:
        return json_codec.decode(file.read())
    except ValueError as error:
        name = getattr(file, "name", "<stdin>").replace("<stdin>", "standard input")
        raise click.UsageError(f"{name} is not JSON: {error}") from error


async def _until_ended(client: Client, submitted: Submitted, *, quiet: bool) -> Job:
    """Show how far the job has come until it has ended; a web process that is away meanwhile is asked again."""
    pause = _FIRST_PAUSE_SECONDS
    with progress.Advance(submitted.job.type, quiet=quiet) as advance:
        while True:
            try:
                job = await client.get_job(submitted.id, after=submitted.position)
                advance.to(await client.get_progress(submitted.id))
                if job.ended_at is not None:
                    return job
            except Unavailable as error:
                advance.trouble(str(error))
            await asyncio.sleep(pause)
            pause = min(pause * _PAUSE_GROWTH, _LONGEST_PAUSE_SECONDS)
