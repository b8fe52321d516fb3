"""``watch``: the events of jobs, as they happen."""

import asyncio
from collections.abc import Iterable
from contextlib import aclosing
from uuid import UUID

import click

from jabba.cli import console, options, output
from jabba.cli.jobs import ask
from jabba.cli.watch_option import INTERRUPTED, until_interrupted
from jabba.client import Client
from jabba.errors import InvalidRequest, Unavailable
from jabba.jobs.lifecycle import FINAL, JobStatus
from jabba.jobs.models import JobEvent


@click.command
@click.argument("what", metavar="[ID…|QUERY]", nargs=-1)
@options.url
@options.json
@click.pass_context
def watch(context: click.Context, what: tuple[str, ...], url: str | None, *, as_json: bool) -> None:
    """Show the events of jobs as they happen.

    \b
        jabba watch ID ID                                two jobs, from their beginning to their end
        jabba watch 'job.meta.tenant:x status:FAILED'    events that match a query, until Ctrl-C
        jabba watch                                      all events, until Ctrl-C

    Exits with 1 if one of the jobs failed, and with 130 after Ctrl-C. With --json each line is an event.
    docs/protocol.md lists the fields of queries.
    """  # noqa: D301 — click wants the very character
    ids = [found for text in what if (found := _id(text)) is not None]
    with until_interrupted(INTERRUPTED):
        if not what or len(ids) < len(what):
            _watch_all(" ".join(what), url, as_json=as_json)
        elif not _watch_jobs(ids, url, as_json=as_json):
            context.exit(1)


def _id(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _watch_jobs(ids: Iterable[UUID], url: str | None, *, as_json: bool) -> bool:
    """Show the events of jobs until they have ended; return whether all of them succeeded."""

    async def work(client: Client) -> list[bool]:
        with output.Courses(quiet=as_json) as courses:
            jobs = dict.fromkeys(ids)
            return await asyncio.gather(*(_follow(client, job, courses, as_json=as_json) for job in jobs))

    return all(ask(url, work))


def _watch_all(query: str, url: str | None, *, as_json: bool) -> None:
    """Show the events that meet the conditions in a text, for ever."""

    async def work(client: Client) -> None:
        async with aclosing(client.watch(filter=query)) as events:
            async for event in events:
                console.as_line(event) if as_json else output.happening(event)

    try:
        ask(url, work)
    except InvalidRequest as error:
        output.places(query, "q", error.fields)
        raise


async def _follow(client: Client, job: UUID, courses: output.Courses, *, as_json: bool) -> bool:
    """Show the events of a job; return whether it succeeded."""
    courses.begin(job, await _total(client, job))
    ended: set[int] = set()
    async with aclosing(client.watch(job)) as events:
        async for event in events:
            ended.update(_ended(event))
            if as_json:
                console.as_line(event)
            else:
                courses.tell(event, len(ended))
            if event.final is not None:
                return event.final.status == JobStatus.PROCESSED
    return False


async def _total(client: Client, job: UUID) -> int | None:
    """Return how many tasks a job has; None while PostgreSQL cannot tell.

    Raises:
        NotFound: there is no such job.
    """
    try:
        await client.get_job(job)
        return (await client.get_progress(job)).total
    except Unavailable:
        return None


def _ended(event: JobEvent) -> range:
    """Return the indices of the tasks that an event tells the end of."""
    if event.index is None or event.status not in FINAL:
        return range(0)
    return range(event.index, event.index + (event.count or 1))
