"""The commands that ask a running Jabba over HTTP: ``submit``, ``get`` and ``search``."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import click

from jabba import key_file, strictjson
from jabba.cli import logs, options, show
from jabba.client import Client, Condition
from jabba.errors import Unavailable
from jabba.filters import JOBS, MAX_LIMIT, TASKS, Collection, Field, Kind
from jabba.lifecycle import JobStatus
from jabba.models import Job
from jabba.settings import Settings
from jabba.submission import Submitted

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
    r"""Submit the job in a file, or on standard input.

    The document is that of POST /v1/jobs:

    \b
        {"type": "shipping", "tasks": [["local", "shop.callbacks", "ship", [17]]]}
    """
    document = _read(file)

    async def work(client: Client) -> Job:
        submitted = await client.submit(document)
        return await _until_ended(client, submitted, quiet=as_json) if wait else submitted.job

    job = _ask(url, work)
    show.as_json(job) if as_json else show.job(job)
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
            show.as_json(job)
        else:
            progress = await client.get_progress(job_id)
            show.job(job, progress)
            show.tasks(await client.get_tasks(job_id, cursor=(0, _TASKS_SHOWN)), progress.total)

    _ask(url, work)


@click.command
@click.argument("filters", metavar="[FIELD=VALUE]…", nargs=-1)
@click.option("--tasks", "of_tasks", is_flag=True, help="Search tasks instead of jobs.")
@click.option("--limit", type=click.IntRange(1, MAX_LIMIT), default=20, show_default=True, help="How many to show.")
@options.url
@options.json
def search(filters: tuple[str, ...], limit: int, url: str | None, *, of_tasks: bool, as_json: bool) -> None:
    """Search for jobs, the newest first.

    Every FIELD must equal its VALUE: status=FAILED type=shipping meta.order=17. What is below meta, result or callback
    is compared as JSON if it is JSON, else as text; an empty VALUE asks for a field without one.
    """
    collection = TASKS if of_tasks else JOBS
    conditions = [_condition(one, collection) for one in filters]

    async def work(client: Client) -> Any:
        look_for = client.search_tasks if of_tasks else client.search_jobs
        return await look_for(conditions, [["desc", "inserted_at"]], (0, limit))

    found = _ask(url, work)
    if as_json:
        show.as_json(found)
    elif of_tasks:
        show.tasks(found)
    else:
        show.jobs(found)


def _ask(url: str | None, work: Callable[[Client], Awaitable[Answer]]) -> Answer:
    """Run a conversation with the web process."""
    logs.errors_only()
    settings = Settings.from_environ(url=url)

    async def converse() -> Answer:
        async with Client(settings.url, key=key_file.key_for(settings, settings.url)) as client:
            return await work(client)

    return asyncio.run(converse())


def _read(file: Any) -> Any:
    try:
        return strictjson.decode(file.read())
    except ValueError as error:
        name = getattr(file, "name", "<stdin>").replace("<stdin>", "standard input")
        raise click.UsageError(f"{name} is not JSON: {error}") from error


async def _until_ended(client: Client, submitted: Submitted, *, quiet: bool) -> Job:
    """Show how far the job has come until it has ended; a web process that is away meanwhile is asked again."""
    pause = _FIRST_PAUSE_SECONDS
    with show.Advance(submitted.job.type, quiet=quiet) as advance:
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


def _condition(text: str, collection: Collection) -> Condition:
    """Read ``field=value`` or ``meta.key.key=value`` as a condition."""
    path, equals, value = text.partition("=")
    name, *keys = path.split(".")
    field = collection.fields.get(name)
    if not equals or field is None or (keys and field.kind is not Kind.JSON):
        raise click.UsageError(f"{text!r} is no FIELD=VALUE; the fields are {', '.join(collection.fields)}")
    return _nested([name, *keys], _value(value, field))


def _nested(path: list[str], value: Any) -> list[Any]:
    name, *keys = path
    return [name, None, [_nested(keys, value)]] if keys else [name, "equal", value]


def _value(text: str, field: Field) -> Any:
    if not text:
        return None
    if field.kind not in (Kind.JSON, Kind.INTEGER):
        return text.upper() if field.choices else text
    try:
        return strictjson.decode(text)
    except ValueError:
        return text
