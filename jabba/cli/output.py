"""What people see: tables, progress, and who of ``jabba up`` says what."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self
from uuid import UUID

import click
from pydantic_core import to_json
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar
from rich.table import Table

from jabba.auth.api_keys import Key
from jabba.errors import FieldError
from jabba.jobs.lifecycle import JobStatus, TaskStatus
from jabba.jobs.models import AuditEntry, Callback, Job, JobEvent, Progress, Task
from jabba.jobs.pages import Count
from jabba.kafka.dead_letters import Letter
from jabba.settings import Settings

if TYPE_CHECKING:
    from jabba.projection.rebuild.rebuild import Rebuilt
    from jabba.projection.verify.compare import Difference
    from jabba.projection.verify.verify import Report

_NAME_WIDTH = len("projector")
_COLORS = {"up": "yellow", "web": "cyan", "projector": "magenta"}
_COLOR_OF_WORKERS = "green"

_STYLES: dict[str, str] = {
    JobStatus.PENDING: "yellow",
    JobStatus.PROCESSED: "green",
    JobStatus.FAILED: "bold red",
    JobStatus.CANCELLED: "dim",
    TaskStatus.NEW: "dim",
    TaskStatus.CONSUMED: "cyan",
    TaskStatus.RESCUED: "bold red",
    TaskStatus.ABORTED: "dim",
}

_WIDTHS = {"id": 36, "status": 9, "submitted": 14, "#": 3}
"""Columns that are never cut; the others share what is left."""

_SHOWN_BYTES = 4000
_VALUE_CHARACTERS = 200

out = Console(highlight=False)


def said(name: str, line: str) -> None:
    """Show a line of a child process, or of ``jabba up`` itself, on standard error."""
    color = _COLORS.get(name, _COLOR_OF_WORKERS)
    click.echo(f"{click.style(name.ljust(_NAME_WIDTH), fg=color)} {click.style('│', dim=True)} {line}", err=True)


def announced(url: str, settings: Settings) -> None:
    """Say on standard output that Jabba is up, and where."""
    click.echo(f"Jabba is up: {click.style(url, bold=True)}  (broker {settings.kafka}; Ctrl-C stops it)")


def as_json(value: Any) -> None:
    """Print a model or a list of models as JSON."""
    click.echo(to_json(value, indent=2).decode())


def as_line(value: Any) -> None:
    """Print JSON in one line."""
    click.echo(to_json(value).decode())


def difference(found: "Difference") -> None:
    """Print a difference in one line; of long values as much as tells them apart from nothing."""
    what = f"job {found.job}" if found.index is None else f"task {found.index} of job {found.job}"
    log, postgresql = (_cut(_short(value)) for value in (found.log, found.postgresql))
    click.echo(f"{what}: {found.column}: log {log}, PostgreSQL {postgresql}")


def verified(found: "Report") -> None:
    """Say what was compared, and what came of it."""
    in_part = (
        f", {found.jobs_in_part:,} of them in part, for they began before the log does" if found.jobs_in_part else ""
    )
    click.echo(f"{found.messages:,} messages; {found.jobs:,} jobs with {found.tasks:,} tasks compared{in_part}")
    for (topic, partition), count in sorted(found.waiting.items()):
        click.echo(f"{topic}[{partition}]: {count:,} messages are not projected yet, and were not compared")
    if found.differences:
        click.echo(f"{found.differences:,} differences in {len(found.different):,} jobs")
    else:
        click.echo("no difference")


def rebuilt(found: "Rebuilt") -> None:
    """Say what a rebuild came to."""
    verified(found.report)
    if found.kept:
        click.echo(f"{found.kept:,} jobs that are older than the log are taken over as they are")
    for one in found.dropped:
        click.echo(f"job {one}: the log does not tell of it, and it is left out")
    if found.swapped:
        click.echo("the new projection is in its place")
    if found.schema:
        click.echo(f"the replaced tables are kept in the schema {found.schema}")


def job(found: Job, progress: Progress | None = None) -> None:
    """Show a job."""
    facts = {
        "id": str(found.id),
        "name": found.name,
        "strategy": found.strategy.lower(),
        "tasks": _counts(progress) if progress else None,
        "submitted": _moment(found.inserted_at),
        "took": _duration(found),
        "meta": _short(found.meta) if found.meta else None,
    }
    out.print(f"[bold]{escape(found.type)}[/]  {_status(found.status)}")
    for name, value in facts.items():
        if value is not None:
            out.print(f"  [dim]{name:<11}[/]{escape(value)}", overflow="ellipsis", no_wrap=name != "meta")


def jobs(found: Iterable[Job], *, headed: bool = True) -> None:
    """Show jobs as a table; what people know them by stands in one column, so that ids need no cutting."""
    table = _table("id", "status", "submitted", "job", headed=headed)
    for one in found:
        table.add_row(str(one.id), _status(one.status), f"{one.inserted_at:%m-%d %H:%M:%S}", _known_by(one))
    _print_table(table, "no jobs")


def tasks(found: Iterable[Task], total: Count | None = None, *, headed: bool = True) -> None:
    """Show tasks as a table; ``total`` tells how many there are when not all are shown."""
    table = _table("#", "task", "status", "result", headed=headed)
    table.columns[0].justify = "right"
    for one in found:
        step, result = str(one.priority or ""), _short(one.result) if one.result else ""
        table.add_row(step, escape(one.name or _call(one.callback)), _status(one.status), escape(result))
    _print_table(table, "no tasks")
    if total is not None and total.value > table.row_count:
        out.print(f"[dim]… and {'' if total.exact else 'about '}{total.value - table.row_count:,} more[/]")


def more(there_is: bool) -> None:  # noqa: FBT001 — its name says it
    """Tell that not all are shown."""
    if there_is:
        out.print("[dim]… and more: --all shows them[/]")


def total(counted: Count | None, what: str) -> None:
    """Tell on standard error how many there are in all."""
    if counted is not None:
        click.echo(f"{'' if counted.exact else 'about '}{counted.value:,} {what}", err=True)


def places(text: str, name: str, fields: Iterable[FieldError]) -> None:
    """Point to the mistakes in a text, on standard error; a field is ``name[place]``."""
    found = [re.fullmatch(rf"{name}\[(\d+)\]", one.field) for one in fields]
    marked = {int(place[1]) for place in found if place}
    if marked and text.isprintable():
        line = "".join("^" if place in marked else " " for place in range(max(marked) + 1))
        click.echo(f"  {text}\n  {line}", err=True)


def letters(found: Iterable[Letter]) -> None:
    """Show dead letters as a table."""
    table = _table("place", "when", "from", "reason")
    for one in found:
        moment = datetime.fromtimestamp(one.at / 1000, tz=UTC)
        table.add_row(one.place, f"{moment:%m-%d %H:%M:%S}", f"{one.topic}[{one.partition}]", escape(one.reason))
    _print_table(table, "no dead letters")


def letter(found: Letter) -> None:
    """Show a dead letter, and as much of its message as can be read."""
    out.print(f"[bold]{escape(found.reason)}[/]")
    out.print(f"  [dim]from[/] {found.topic}[{found.partition}] offset {found.offset}, {found.size:,} bytes")
    out.print(escape(found.value[:_SHOWN_BYTES].decode(errors="backslashreplace")), soft_wrap=True)
    if found.size > _SHOWN_BYTES:
        out.print(f"[dim]… and {found.size - _SHOWN_BYTES:,} bytes more[/]")


def keys(found: Iterable[Key], now: datetime) -> None:
    """Show keys as a table."""
    table = _table("id", "name", "role", "types", "created", "expires", "state")
    table.columns[0].min_width = None
    for one in found:
        expires = _moment(one.expires_at) if one.expires_at else "never"
        state = one.is_over(now.timestamp()) or "valid"
        row = (one.id, one.name or "", one.role, str(one.types), _moment(one.created_at), expires, state)
        table.add_row(*map(escape, row), style="dim" if state != "valid" else None)
    _print_table(table, "no keys")


def audit(found: Iterable[AuditEntry]) -> None:
    """Show entries of the audit as a table."""
    table = _table("when", "action", "by", "about")
    for one in found:
        by = f"{one.key_id} {one.key_name or ''}" if one.key_id else one.user_name or ""
        table.add_row(_moment(one.at), one.action, escape(by), escape(str(one.job_id or one.about_key or "")))
    _print_table(table, "nothing")


def key_as_json(key: Key, now: datetime) -> dict[str, Any]:
    """Return a key as JSON tells it: without what is stored of its secret."""
    names = ("id", "name", "role", "created_at", "expires_at", "revoked_at")
    told = {name: getattr(key, name) for name in names}
    return told | {"types": list(key.types.patterns), "state": key.is_over(now.timestamp()) or "valid"}


class Courses:
    """What happens to several jobs: a line for each event on standard output, a bar for each job on standard error."""

    def __init__(self, *, quiet: bool) -> None:
        console = Console(stderr=True)
        columns = ("[bold]{task.description}", BarColumn(), MofNCompleteColumn())
        self._bars = Bar(
            *(TextColumn(one) if isinstance(one, str) else one for one in columns),
            TimeElapsedColumn(),
            console=console,
            disable=quiet or not console.is_terminal,
            transient=True,
            redirect_stdout=out.is_terminal,
        )
        self._of_job: dict[UUID, TaskID] = {}

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def begin(self, job: UUID, total: int | None) -> None:
        """Add a job, with how many tasks it has if that is known."""
        self._of_job[job] = self._bars.add_task(str(job), total=total)

    def tell(self, event: JobEvent, ended: int) -> None:
        """Show an event, and how many tasks have ended."""
        self._bars.update(self._of_job[event.job], completed=ended)
        happening(event)


def happening(event: JobEvent) -> None:
    """Show an event as a line."""
    out.print(f"[dim]{event.job}[/]  {_told(event).rstrip()}", overflow="ellipsis", no_wrap=True)


def _told(event: JobEvent) -> str:
    if event.final is not None:
        return f"[bold]the job[/]  {_status(event.final.status)}"
    if event.index is None:
        return f"[bold]the job[/]  {escape(event.event)}  {escape(event.reason or '')}"
    last = f" to {event.index + event.count}" if event.count and event.count > 1 else ""
    result = escape(_short(event.result)) if event.result else ""
    return f"task {event.index + 1}{last}  {_status(event.status or event.event)}  {result}"


def facts(found: Iterable[tuple[str, str]]) -> None:
    """Show facts, each behind its name."""
    for name, value in found:
        out.print(f"[dim]{name:<13}[/]{escape(value)}", soft_wrap=True)


def trouble(message: str) -> None:
    """Show why there is nothing to see."""
    out.print(f"[yellow]{escape(message)}")


@contextmanager
def redrawn(*, clear: bool) -> Iterator[None]:
    """Put what is shown meanwhile in the place of all that was shown, at once; in a file it goes below."""
    with out.capture() as captured:
        yield
    if clear and out.is_terminal:
        click.clear()
    click.echo(captured.get(), nl=False)


def _table(*headers: str, headed: bool = True) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="dim", show_header=headed)
    for header in headers:
        table.add_column(header, overflow="ellipsis", no_wrap=True, min_width=_WIDTHS.get(header))
    return table


def _print_table(table: Table, nothing: str) -> None:
    out.print(table if table.row_count else f"[dim]{nothing}[/]")


def _status(status: str) -> str:
    style = _STYLES.get(status)
    return f"[{style}]{status}[/]" if style else status


def _counts(progress: Progress) -> str:
    unsuccessful = f", {progress.unsuccessful:,} unsuccessful" if progress.unsuccessful else ""
    return f"{progress.ended:,} of {progress.total:,} ended{unsuccessful}"


def _call(callback: Callback) -> str:
    return f"{callback.module}.{callback.function}"


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}"


def _known_by(found: Job) -> str:
    parts = (f"[bold]{escape(found.type)}[/]", escape(found.name or ""), f"[dim]{escape(_short(found.meta))}[/]")
    return " ".join(part for part in (*parts[:2], parts[2] if found.meta else "") if part)


def _duration(found: Job) -> str | None:
    if found.ended_at is None:
        return None
    return f"{(found.ended_at - found.inserted_at).total_seconds():.2f} s"


def _short(value: Any) -> str:
    return to_json(value).decode()


def _cut(text: str) -> str:
    return text if len(text) <= _VALUE_CHARACTERS else f"{text[:_VALUE_CHARACTERS]}…"
