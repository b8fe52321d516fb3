"""``search`` and ``tasks``: jobs and tasks that meet the conditions in a text."""

from collections.abc import Callable, Iterator
from contextlib import aclosing, contextmanager, nullcontext
from typing import Any
from uuid import UUID

import click

from jabba.cli import console, options, output, progress
from jabba.cli.jobs import ask
from jabba.cli.watch_option import again, option, until_interrupted
from jabba.client import Client, Order
from jabba.errors import InvalidRequest
from jabba.search import MAX_LIMIT

_SHOWN = 20
_TASKS_SHOWN = 50
_PAGE_SIZE = 200


@click.command
@click.argument("query", metavar="[QUERY]…", nargs=-1)
@click.option("--tasks", "of_tasks", is_flag=True, help="Search tasks instead of jobs.")
@click.option(
    "--order",
    metavar="FIELD,…",
    default="-inserted_at",
    show_default=True,
    help="Sort by these fields; -FIELD descends.",
)
@click.option("--limit", type=click.IntRange(1, MAX_LIMIT), help=f"Number of results.  [default: {_SHOWN}]")
@click.option("--all", "everything", is_flag=True, help="Show all results; with --json, one per line.")
@click.option("--count", is_flag=True, help="Print the total number to standard error.")
@option
@options.url
@options.json
def search(query: tuple[str, ...], order: str, limit: int | None, url: str | None, **flags: bool) -> None:
    """Search jobs or tasks, newest first.

    QUERY is a list of conditions:

    \b
        jabba search 'status:FAILED type:audit_* meta.order>17'
        jabba search 'tasks(status:RESCUED name~mail) or -status:PROCESSED,PENDING'
        jabba search --tasks 'job.type:shipping result.parcel:*'

    docs/search.md describes the language. Write "not" for a "-" at the beginning, which would be an option here.
    """  # noqa: D301 — click wants the very character
    if flags["everything"] and limit is not None:
        raise click.UsageError("--all and --limit exclude each other")
    if flags["watch"] and (flags["everything"] or flags["count"]):
        raise click.UsageError("--watch excludes --all and --count")
    text = " ".join(query)
    wanted = _Search(text, _order_by(order), of_tasks=flags["of_tasks"], as_json=flags["as_json"])
    work = wanted.show_all if flags["everything"] else wanted.show_some(limit or _SHOWN)
    with _pointing_into(text), until_interrupted(0) if flags["watch"] else nullcontext():
        if flags["watch"]:
            ask(url, lambda client: again(lambda: work(client), clear=not flags["as_json"]))
        else:
            ask(url, lambda client: wanted.counted(client, work) if flags["count"] else work(client))


@click.command
@click.argument("job", metavar="ID", type=click.UUID)
@click.argument("query", metavar="[QUERY]…", nargs=-1)
@click.option(
    "--limit", type=click.IntRange(1, MAX_LIMIT), default=_TASKS_SHOWN, show_default=True, help="Number of tasks."
)
@options.url
@options.json
def tasks(job: UUID, query: tuple[str, ...], limit: int, url: str | None, *, as_json: bool) -> None:
    """Show the tasks of a job in their order.

    With a QUERY, only those that match it:

    \b
        jabba tasks ID
        jabba tasks ID 'status:FAILED,RESCUED result.code>400'
    """  # noqa: D301 — click wants the very character
    text = " ".join(query)

    async def work(client: Client) -> None:
        found = await client.get_tasks(job, text, cursor=(0, limit), count=not as_json)
        console.as_json(found) if as_json else output.tasks(found, found.total)

    with _pointing_into(text, "q"):
        ask(url, work)


@contextmanager
def _pointing_into(text: str, name: str = "query") -> Iterator[None]:
    """Show where the mistakes in a text are."""
    try:
        yield
    except InvalidRequest as error:
        output.places(text, name, error.fields)
        raise


def _order_by(text: str) -> Order:
    """Read ``-inserted_at,name`` as an order."""
    return [("desc", name[1:]) if name.startswith("-") else ("asc", name) for name in text.split(",")]


Work = Callable[[Client], Any]


class _Search:
    """What is searched for, and how it is shown."""

    def __init__(self, text: str, order_by: Order, *, of_tasks: bool, as_json: bool) -> None:
        self._text = text
        self._order_by = order_by
        self._of_tasks = of_tasks
        self._as_json = as_json

    async def show_all(self, client: Client) -> None:
        """Show all there are, as they come."""
        iterate = client.iter_tasks if self._of_tasks else client.iter_jobs
        some: list[Any] = []
        shown = 0
        # What is printed on the same terminal shows how far it is.
        quiet = console.out.is_terminal
        with progress.Work(quiet=quiet) as bar:
            total = None if quiet else await self._total(client)
            async with aclosing(iterate(self._text, self._order_by, page_size=_PAGE_SIZE)) as found:
                async for one in found:
                    some.append(one)
                    if len(some) == _PAGE_SIZE:
                        self._show_part(some, begun=shown > 0)
                        some, shown = [], shown + len(some)
                        bar.show(self._what, shown, total)
        if some or not shown:
            self._show_part(some, begun=shown > 0)

    def show_some(self, limit: int) -> Work:
        """Make what shows the first ones."""

        async def work(client: Client) -> None:
            page = await self._page(client, limit)
            if self._as_json:
                console.as_json(page)
            else:
                self._show_part(page, begun=False)
                output.more(page.next is not None)

        return work

    async def counted(self, client: Client, work: Work) -> None:
        """Do it, and tell how many there are in all."""
        await work(client)
        output.total((await self._page(client, 1, count=True)).total, self._what)

    @property
    def _what(self) -> str:
        return "tasks" if self._of_tasks else "jobs"

    async def _total(self, client: Client) -> int | None:
        counted = (await self._page(client, 1, count=True)).total
        return None if counted is None else counted.value

    async def _page(self, client: Client, limit: int, *, count: bool = False) -> Any:
        look_for = client.search_tasks if self._of_tasks else client.search_jobs
        return await look_for(self._text, self._order_by, (0, limit), count=count)

    def _show_part(self, found: list[Any], *, begun: bool) -> None:
        if self._as_json:
            for one in found:
                console.as_line(one)
        elif self._of_tasks:
            output.tasks(found, headed=not begun)
        else:
            output.jobs(found, headed=not begun)
