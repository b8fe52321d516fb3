"""What the demo prints."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

import jabba
from demo import report

console = Console(highlight=False)


@contextmanager
def progress() -> Iterator[Progress]:
    """Show bars while jobs run."""
    columns = (TextColumn("  {task.description:<20}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as bars:
        yield bars


def answers(tasks: Iterable[jabba.Task]) -> None:
    """Print what the HTTP interface answers of the audit's tasks, the largest distribution first, and the totals."""
    table = Table(box=box.SIMPLE_HEAD, show_footer=True, collapse_padding=True, show_edge=False, pad_edge=False)
    table.header_style, table.footer_style = "dim", "bold"
    rows = [_row(task) for task in tasks]
    sums = report.totals(row for row in rows if "files" in row)
    table.add_column("distribution", f"{len(rows)} distributions", no_wrap=True, overflow="ellipsis")
    for name, shown in _COLUMNS.items():
        table.add_column(shown, _shown(name, sums), justify="right", no_wrap=True)
    table.add_column("status", no_wrap=True, min_width=len(jabba.TaskStatus.PROCESSED))
    for row in sorted(rows, key=lambda one: (-one.get("bytes", 0), one["distribution"])):
        cells = [_shown(name, row) if "files" in row else "" for name in _COLUMNS]
        table.add_row(escape(_cut(row["distribution"])), *cells, _status(row["status"]))
    console.print()
    console.print(table)
    console.print("[dim]bare: listed in RECORD without a hash (itself, __pycache__); only counted[/]")


_COLUMNS = {name: "bare" if name == "unchecked" else name for name in report.COUNTS}


_WIDTH_OF_THE_REST = 61


def _cut(name: str) -> str:
    """Shorten a name so that the columns of numbers fit beside it."""
    width = max(12, console.width - _WIDTH_OF_THE_REST)
    return name if len(name) <= width else f"{name[: width - 1]}…"


def _row(task: jabba.Task) -> dict[str, Any]:
    found = task.result if task.status == jabba.TaskStatus.PROCESSED and isinstance(task.result, dict) else {}
    return {"distribution": task.name or "", **found, "status": task.status}


def _shown(name: str, row: dict[str, Any]) -> str:
    count = row[name]
    alarming = name in ("mismatches", "missing") and count
    return f"[bold red]{count:,}[/]" if alarming else f"{count:,}"


def _status(status: str) -> str:
    return f"[{_style(status)}]{status}[/]"


def _style(status: str) -> str:
    return "green" if status == jabba.TaskStatus.PROCESSED else "bold red"


def steps(tasks: Iterable[jabba.Task]) -> None:
    """Print how the steps of the report went."""
    told = " → ".join(f"[{_style(task.status)}]{task.name}[/]" for task in tasks)
    console.print(f"\naudit_report: {told}")


def attempts(tasks: Iterable[jabba.TaskDetails]) -> None:
    """Print every call of the service, with what it said."""
    console.print("\ncharges, by calls of the service billing over HTTP:")
    for task in tasks:
        told = " → ".join(_attempt(one) for one in task.attempts)
        console.print(f"  {escape(task.name or '')}: {told}")


def _attempt(attempt: jabba.Attempt) -> str:
    why = f" ({escape(attempt.error)})" if attempt.error else ""
    style = "green" if attempt.outcome == "ok" else "yellow"
    return f"[{style}]attempt {attempt.attempt} {attempt.outcome}[/]{why}"


def ending(seconds: float, written: Path | None) -> None:
    """Say how long it took and where the report is."""
    console.print(f"\nThe three jobs took {seconds:.1f} s, every task through the log and PostgreSQL.")
    if written is not None:
        console.print(f"The report is {written}")
