"""The commands that ask a running Jabba for a job: ``submit`` and ``get``."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from uuid import UUID

import click
from aiohttp import ClientConnectorError, ClientSSLError
from pydantic import ValidationError

from jabba.cli import console, options, output, progress
from jabba.client import Client
from jabba.concurrency.backoff import Backoff
from jabba.errors import NotReady, Refused, RequestError, Unavailable
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
_FAILURES_SHOWN = 5
_FAILURES = "status:FAILED,RESCUED"


@click.command
@click.argument("file", metavar="FILE.json|-", type=click.File("rb"))
@click.option("--wait", is_flag=True, help="Wait for the end of the job; exit with 1 if it failed.")
@options.url
@options.json
@click.pass_context
def submit(context: click.Context, file: Any, url: str | None, *, wait: bool, as_json: bool) -> None:
    """Submit a job from a file or standard input.

    The document is the body of POST /v1/jobs:

    \b
        {"type": "shipping", "tasks": [["local", "shop.callbacks", "ship", [17]]]}
    """  # noqa: D301 — click wants the very character
    document = _read(file)

    async def work(client: Client) -> Job:
        submitted = await client.submit(document)
        job = await _until_ended(client, submitted, quiet=as_json) if wait else submitted.job
        console.as_json(job) if as_json else output.job(job)
        if job.status == JobStatus.FAILED and not as_json:
            await _show_failures(client, job.id)
        return job

    job = ask(url, work)
    if wait and job.status != JobStatus.PROCESSED:
        context.exit(1)


@click.command
@click.argument("job_id", metavar="ID")
@options.url
@options.json
def get(job_id: str, url: str | None, *, as_json: bool) -> None:
    """Show a job, its tasks, and why those that failed did."""

    async def work(client: Client) -> None:
        job = await client.get_job(job_id)
        if as_json:
            console.as_json(job)
        else:
            progress = await client.get_progress(job_id)
            output.job(job, progress)
            tasks = await client.get_tasks(job_id, cursor=(0, _TASKS_SHOWN))
            output.tasks(tasks, Count(value=progress.total, exact=True))
            if progress.unsuccessful:
                await _show_failures(client, job_id)

    ask(url, work)


async def _show_failures(client: Client, job: UUID | str) -> None:
    found = await client.get_tasks(job, _FAILURES, cursor=(0, _FAILURES_SHOWN), count=True)
    output.failures(found, found.total)


def ask(url: str | None, work: Callable[[Client], Awaitable[Answer]]) -> Answer:
    """Send requests to the web process at ``url``; without it, to that of the settings or of a local ``jabba up``.

    Raises:
        NotReady: nothing listens there; the message says what to start or to set.
        RequestError: what listens there is no Jabba.
    """
    logs.errors_only()
    settings = data_directory.with_places(Settings.from_environ(url=url))

    async def converse() -> Answer:
        async with Client(settings.url, key=data_directory.key_for(settings, settings.url)) as client:
            return await work(client)

    try:
        return asyncio.run(converse())
    except Unavailable as error:
        cause = error.__cause__
        if not isinstance(cause, ClientConnectorError) or isinstance(cause, ClientSSLError):
            raise
        raise NotReady(
            f"no web process listens at {settings.url} ({_reason(cause)}): start `jabba up`, or set --url or JABBA_URL "
            "to where one is, or JABBA_DATA to the data directory of a running `jabba up`"
        ) from error
    except (KeyError, TypeError, AttributeError, ValidationError) as error:
        raise RequestError(
            f"{settings.url} does not answer as a Jabba of this version does, --url or JABBA_URL name another one "
            f"({type(error).__name__}; JABBA_LOG_LEVEL=debug shows the traceback)"
        ) from error


def _reason(error: ClientConnectorError) -> str:
    # asyncio's text holds the address once more; those of name servers have numbers of their own.
    return os.strerror(error.errno) if error.errno is not None and error.errno > 0 else str(error.strerror)


def _read(file: Any) -> Any:
    try:
        return json_codec.decode_unique(file.read())
    except ValueError as error:
        name = getattr(file, "name", "<stdin>").replace("<stdin>", "standard input")
        raise click.UsageError(f"{name} is not JSON: {error}") from error


async def _until_ended(client: Client, submitted: Submitted, *, quiet: bool) -> Job:
    """Show the progress of a job until it has ended; a web process that is away meanwhile is asked again."""
    backoff = Backoff(_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS, _PAUSE_GROWTH)
    with progress.Work(quiet=quiet) as bar:
        while True:
            try:
                job = await client.get_job(submitted.id, after=submitted.position)
                reached = await client.get_progress(submitted.id)
                unsuccessful = f"{reached.unsuccessful:,} unsuccessful" if reached.unsuccessful else ""
                bar.show(job.type, reached.ended, reached.total, note=unsuccessful)
                if job.ended_at is not None:
                    return job
            except Refused:
                raise
            except Unavailable as error:
                bar.note(str(error))
            await asyncio.sleep(backoff.next())
