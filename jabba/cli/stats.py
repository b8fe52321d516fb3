"""``stats``: how many jobs and tasks there are, have ended and wait."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import click

from jabba.cli import console, options, output
from jabba.cli.jobs import ask
from jabba.cli.watch_option import again, option, until_interrupted
from jabba.client import Client


@click.command
@option
@options.url
@options.json
def stats(url: str | None, *, watch: bool, as_json: bool) -> None:
    """Show counts of jobs, failures and waiting messages."""

    async def draw(client: Client) -> None:
        found = await client.get_stats()
        if not as_json:
            output.facts(lines(found))
        elif watch:
            console.as_line(found)
        else:
            console.as_json(found)

    if watch:
        with until_interrupted(0):
            ask(url, lambda client: again(lambda: draw(client), clear=not as_json))
    else:
        ask(url, draw)


def lines(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Return what is told, each with its name; what is missing comes last."""
    told: dict[str, Callable[[Any], Iterable[tuple[str, str]]]] = {
        "jobs": _jobs,
        "recent": _recent,
        "projection": _projection,
        "workers": lambda workers: [("workers", _waiting(workers))],
        "dead_letters": lambda letters: [("dead letters", f"{letters:,}")],
    }
    for part, tell in told.items():
        if found[part] is not None:
            yield from tell(found[part])
    for one in found["missing"]:
        yield one["part"].replace("_", " "), f"cannot be told: {one['reason']}"


def _jobs(jobs: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "jobs", " · ".join(f"{status} {_count(count)}" for status, count in jobs["by_status"].items())
    oldest = jobs["oldest_unfinished"]
    since = f", the oldest since {oldest['inserted_at'][:19]}: {oldest['type']} {oldest['id']}" if oldest else ""
    yield "unfinished", _count(jobs["unfinished"]) + since


def _recent(recent: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for window in (recent["minute"], recent["hour"]):
        jobs = f"{window['jobs']:,} jobs ended, {window['failed_jobs']:,} failed"
        tasks = f"{window['tasks']:,} tasks, {window['unsuccessful_tasks']:,} without success"
        yield f"last {window['seconds']:,.0f} s", f"{jobs}; {tasks}"
    if recent["failures"]:
        yield "failed", " · ".join(f"{kind} {count:,}" for kind, count in recent["failures"].items())


def _projection(projection: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "projection", "; ".join(f"{_waiting(waiting)} of {topic}" for topic, waiting in projection.items())


def _waiting(waiting: Mapping[str, Any]) -> str:
    if not waiting["messages"]:
        return "nothing waits"
    since = f" for {waiting['seconds']:.1f} s" if waiting["seconds"] is not None else ""
    return f"{waiting['messages']:,} messages wait{since}"


def _count(count: Mapping[str, Any]) -> str:
    return f"{'' if count['exact'] else 'about '}{count['value']:,}"
