"""``watch``: what happens to jobs, as it happens."""

import asyncio
from contextlib import aclosing
from uuid import UUID

import click

from jabba.cli import options, show
from jabba.cli.again import INTERRUPTED, until_interrupted
from jabba.cli.jobs import ask
from jabba.client import Client
from jabba.errors import Unavailable
from jabba.lifecycle import FINAL, JobStatus
from jabba.models import JobEvent


@click.command
@click.argument("ids", metavar="ID…", type=click.UUID, nargs=-1, required=True)
@options.url
@options.json
@click.pass_context
def watch(context: click.Context, ids: tuple[UUID, ...], url: str | None, *, as_json: bool) -> None:
    """Show what happens to jobs, from their beginning until all of them have ended.

    Exits with 1 if one of them failed, and with 130 after Ctrl-C. With --json an event a line.
    """

    async def work(client: Client) -> list[bool]:
        with show.Courses(quiet=as_json) as courses:
            jobs = dict.fromkeys(ids)
            return await asyncio.gather(*(_follow(client, job, courses, as_json=as_json) for job in jobs))

    with until_interrupted(INTERRUPTED):
        if not all(ask(url, work)):
            context.exit(1)


async def _follow(client: Client, job: UUID, courses: show.Courses, *, as_json: bool) -> bool:
    """Show the events of a job; answer whether it succeeded."""
    courses.begin(job, await _total(client, job))
    ended: set[int] = set()
    async with aclosing(client.watch(job)) as events:
        async for event in events:
            ended.update(_ended(event))
            if as_json:
                show.as_line(event)
            else:
                courses.tell(event, len(ended))
            if event.final is not None:
                return event.final.status == JobStatus.PROCESSED
    return False


async def _total(client: Client, job: UUID) -> int | None:
    """Answer how many tasks a job has; None while PostgreSQL cannot tell.

    Raises:
        NotFound: there is no such job.
    """
    try:
        await client.get_job(job)
        return (await client.get_progress(job)).total
    except Unavailable:
        return None


def _ended(event: JobEvent) -> range:
    """Answer the indices of the tasks that an event tells the end of."""
    if event.index is None or event.status not in FINAL:
        return range(0)
    return range(event.index, event.index + (event.count or 1))
