"""What people see of jobs, tasks, keys and all the rest; ``console`` has how it is printed."""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self
from uuid import UUID

import click
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from jabba.auth.api_keys import Key
from jabba.cli.console import Table, compact, err, line, out, paragraph, text
from jabba.errors import FieldError
from jabba.jobs.lifecycle import JobStatus, TaskStatus
from jabba.jobs.models import AuditEntry, Callback, Job, JobEvent, Progress, Task
from jabba.jobs.pages import Count
from jabba.kafka.dead_letters import Letter
from jabba.printable import printable
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

_SHOWN_BYTES = 4000
_VALUE_CHARACTERS = 200
_DEEPEST = 20
_STORY = frozenset({"type", "notes", "traceback", "causes", "members"})
"""What the result of a raised error holds beside ``error``."""


def said(name: str, words: str) -> None:
    """Show a line of a child process, or of ``jabba up`` itself, on standard error."""
    color = _COLORS.get(name, _COLOR_OF_WORKERS)
    bar, shown = click.style("│", dim=True), printable(words, keep="\t")
    click.echo(f"{click.style(name.ljust(_NAME_WIDTH), fg=color)} {bar} {shown}", err=True)


def announced(url: str, settings: Settings) -> None:
    """Say on standard output that Jabba is up, and where."""
    click.echo(f"Jabba is up: {click.style(url, bold=True)}  (broker {settings.kafka}; Ctrl-C stops it)")


def difference(found: "Difference") -> None:
    """Print a difference in one line; of long values as much as tells them apart from nothing."""
    what = f"job {found.job}" if found.index is None else f"task {found.index} of job {found.job}"
    log, postgresql = (_cut(compact(value)) for value in (found.log, found.postgresql))
    line(f"{what}: {found.column}: log {log}, PostgreSQL {postgresql}")


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
        "reason": found.reason,
        "meta": compact(found.meta) if found.meta else None,
    }
    out.print(f"[bold]{text(found.type)}[/]  {_status(found.status)}")
    for name, value in facts.items():
        if value is not None:
            out.print(f"  [dim]{name:<11}[/]{text(value)}", overflow="ellipsis", no_wrap=name != "meta")


def failures(found: Iterable[Task], total: Count | None) -> None:
    """Show why tasks failed: each with its error and, if there is one, its traceback."""
    shown = 0
    for task in found:
        shown += 1
        number = f"task {task.priority}" if task.priority else f"task {task.id}"
        attempt = f", attempt {task.attempt}" if task.attempt > 1 else ""
        known_as = text(task.name or _call(task.callback))
        out.print(f"[bold]{number}[/]  {known_as}  {_status(task.status)}{attempt}: {text(_error(task.result))}")
        for lines in _story(task.result):
            out.print(paragraph(lines, "  "), style="dim", soft_wrap=True)
    if total is not None and total.value > shown:
        out.print(f"[dim]… and {total.value - shown:,} more failed tasks[/]")


def jobs(found: Iterable[Job], *, headed: bool = True) -> None:
    """Show jobs as a table; what people know them by stands in one column, so that ids need no cutting."""
    table = Table("id", "status", "submitted", "job", headed=headed)
    for one in found:
        table.add(str(one.id), _status(one.status), f"{one.inserted_at:%m-%d %H:%M:%S}", _known_by(one))
    table.print("no jobs")


def tasks(found: Iterable[Task], total: Count | None = None, *, headed: bool = True) -> None:
    """Show tasks as a table; ``total`` is how many there are when not all are shown."""
    table = Table("#", "task", "status", "result", headed=headed)
    for one in found:
        result = compact(_without_story(one.result)) if one.result else ""
        known_as = text(one.name or _call(one.callback))
        table.add(str(one.priority or ""), known_as, _status(one.status), text(result))
    table.print("no tasks")
    if total is not None and total.value > len(table):
        out.print(f"[dim]… and {'' if total.exact else 'about '}{total.value - len(table):,} more[/]")


def more(there_is: bool) -> None:  # noqa: FBT001 — its name says it
    """Tell that not all are shown."""
    if there_is:
        out.print("[dim]… and more: --all shows them[/]")


def total(counted: Count | None, what: str) -> None:
    """Tell on standard error how many there are in all."""
    if counted is not None:
        click.echo(f"{'' if counted.exact else 'about '}{counted.value:,} {what}", err=True)


def places(query: str, name: str, fields: Iterable[FieldError]) -> None:
    """Point to the mistakes in a text, on standard error; a field is ``name[place]``."""
    found = [re.fullmatch(rf"{name}\[(\d+)\]", one.field) for one in fields]
    marked = {int(place[1]) for place in found if place}
    if marked and query.isprintable():
        click.echo(f"  {query}", err=True)
        click.echo("  " + "".join("^" if place in marked else " " for place in range(max(marked) + 1)), err=True)


def services(found: Iterable[Mapping[str, Any]]) -> None:
    """Show services as a table."""
    table = Table("service", "transport", "url", "timeout", "at a time", "rate", "attempts")
    for one in found:
        timeout = "" if one["timeout"] is None else f"{one['timeout']:g} s"
        attempts = (one["retry"] or {}).get("max_attempts") or ""
        row = (
            one["name"],
            one["transport"],
            " ".join(one["url"]),
            timeout,
            one["concurrency"] or "",
            one["rate"] or "",
        )
        table.add(*map(text, (*row, attempts)))
    table.print("no services")


def letters(found: Iterable[Letter]) -> None:
    """Show dead letters as a table."""
    table = Table("place", "when", "from", "reason")
    for one in found:
        moment = datetime.fromtimestamp(one.at / 1000, tz=UTC)
        table.add(one.place, f"{moment:%m-%d %H:%M:%S}", text(f"{one.topic}[{one.partition}]"), text(one.reason))
    table.print("no dead letters")


def letter(found: Letter) -> None:
    """Show a dead letter, and as much of its message as can be read."""
    out.print(f"[bold]{text(found.reason)}[/]")
    out.print(f"  [dim]from[/] {text(f'{found.topic}[{found.partition}]')} offset {found.offset}, {found.size:,} bytes")
    out.print(text(found.value[:_SHOWN_BYTES].decode(errors="backslashreplace")), soft_wrap=True)
    if found.size > _SHOWN_BYTES:
        out.print(f"[dim]… and {found.size - _SHOWN_BYTES:,} bytes more[/]")


def keys(found: Iterable[Key], now: datetime) -> None:
    """Show keys as a table."""
    table = Table("key", "name", "role", "types", "created", "expires", "state")
    for one in found:
        expires = _moment(one.expires_at) if one.expires_at else "never"
        state = one.is_over(now.timestamp()) or "valid"
        row = (one.id, one.name or "", one.role, str(one.types), _moment(one.created_at), expires, state)
        table.add(*map(text, row), style="dim" if state != "valid" else None)
    table.print("no keys")


def audit(found: Iterable[AuditEntry]) -> None:
    """Show entries of the audit as a table."""
    table = Table("when", "action", "by", "about")
    for one in found:
        by = f"{one.key_id} {one.key_name or ''}" if one.key_id else one.user_name or ""
        table.add(_moment(one.at), text(one.action), text(by), text(one.job_id or one.about_key or ""))
    table.print("nothing")


def key_as_json(key: Key, now: datetime) -> dict[str, Any]:
    """Return a key as JSON tells it: without what is stored of its secret."""
    names = ("id", "name", "role", "created_at", "expires_at", "revoked_at")
    told = {name: getattr(key, name) for name in names}
    return told | {"types": list(key.types.patterns), "state": key.is_over(now.timestamp()) or "valid"}


class Courses:
    """What happens to several jobs: a line for each event on standard output, a bar for each job on standard error."""

    def __init__(self, *, quiet: bool) -> None:
        columns = ("[bold]{task.description}", BarColumn(), MofNCompleteColumn())
        self._bars = Bar(
            *(TextColumn(one) if isinstance(one, str) else one for one in columns),
            TimeElapsedColumn(),
            console=err,
            disable=quiet or not err.is_terminal,
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
        return f"[bold]the job[/]  {text(event.event)}  {text(event.reason or '')}"
    last = f" to {event.index + event.count}" if event.count and event.count > 1 else ""
    result = text(compact(_without_story(event.result))) if event.result else ""
    return f"task {event.index + 1}{last}  {_status(event.status or event.event)}  {result}"


def facts(found: Iterable[tuple[str, str]]) -> None:
    """Show facts, each behind its name."""
    for name, value in found:
        out.print(f"[dim]{name:<13}[/]{text(value)}", soft_wrap=True)


def trouble(message: str) -> None:
    """Show why there is nothing to see."""
    out.print(f"[yellow]{text(message)}")


@contextmanager
def redrawn(*, clear: bool) -> Iterator[None]:
    """Put what is shown meanwhile in the place of all that was shown, at once; in a file it goes below."""
    with out.capture() as captured:
        yield
    if clear and out.is_terminal:
        click.clear()
    click.echo(captured.get(), nl=False)


def _status(status: str) -> str:
    style = _STYLES.get(status)
    return f"[{style}]{status}[/]" if style else text(status)


def _counts(progress: Progress) -> str:
    unsuccessful = f", {progress.unsuccessful:,} unsuccessful" if progress.unsuccessful else ""
    return f"{progress.ended:,} of {progress.total:,} ended{unsuccessful}"


def _call(callback: Callback) -> str:
    return f"{callback.module}.{callback.function}"


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}"


def _known_by(found: Job) -> str:
    meta = f"[dim]{text(compact(found.meta))}[/]" if found.meta else ""
    return " ".join(part for part in (f"[bold]{text(found.type)}[/]", text(found.name or ""), meta) if part)


def _duration(found: Job) -> str | None:
    if found.ended_at is None:
        return None
    return f"{(found.ended_at - found.inserted_at).total_seconds():.2f} s"


def _cut(text: str) -> str:
    return text if len(text) <= _VALUE_CHARACTERS else f"{text[:_VALUE_CHARACTERS]}…"


def _error(result: Any) -> str:
    """Return the error in a result; the whole result if it has none."""
    error = result.get("error") if isinstance(result, Mapping) else None
    return error if isinstance(error, str) else compact(_without_story(result))


def _story(result: Any, depth: int = 0) -> Iterator[str]:
    """Return the paragraphs of a raised error: notes, traceback, and the same of its causes and members."""
    if not _is_raised(result):
        return
    for note in result.get("notes", ()):
        yield str(note)
    if traceback := str(result.get("traceback", "")).strip("\n"):
        yield traceback
    for relation, name in (("caused by", "causes"), ("member", "members")):
        for inner in result.get(name, ()) if depth < _DEEPEST else ():
            yield f"{relation}: {_error(inner)}"
            yield from _story(inner, depth + 1)


def _without_story(result: Any) -> Any:
    """Leave out of the result of a raised error all but its text."""
    return {"error": result["error"]} if _is_raised(result) else result


def _is_raised(result: Any) -> bool:
    """Whether a result is what the worker keeps of an exception."""
    return isinstance(result, Mapping) and {"error", "type"} <= result.keys() <= _STORY | {"error"}
