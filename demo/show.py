"""What the demo prints."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.filesize import decimal
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
    table = Table(
        box=box.SIMPLE_HEAD, show_footer=True, show_edge=False, pad_edge=False, header_style="dim", footer_style="bold"
    )
    rows = [_row(task) for task in tasks]
    sums = report.totals(row for row in rows if "files" in row)
    table.add_column("distribution", f"{len(rows)} distributions", no_wrap=True, overflow="ellipsis")
    for name, shown in _COLUMNS.items():
        table.add_column(shown, _shown(name, sums), justify="right", no_wrap=True)
    table.add_column("status", no_wrap=True)
    for row in sorted(rows, key=lambda one: (-one.get("bytes", 0), one["distribution"])):
        cells = [_shown(name, row) if "files" in row else "" for name in _COLUMNS]
        table.add_row(escape(row["distribution"]), *cells, _status(row["status"]))
    console.print(table)
    console.print("[dim]unhashed: listed in RECORD without a hash (itself, __pycache__), so counted, not checked.[/]")


_COLUMNS = {
    "files": "files",
    "bytes": "size",
    "unchecked": "unhashed",
    "mismatches": "mismatches",
    "missing": "missing",
}


def _row(task: jabba.Task) -> dict[str, Any]:
    found = task.result if task.status == jabba.TaskStatus.PROCESSED and isinstance(task.result, dict) else {}
    return {"distribution": task.name or "", **found, "status": task.status}


def _shown(name: str, row: dict[str, Any]) -> str:
    count = row[name]
    if name == "bytes":
        return decimal(count)
    alarming = name in ("mismatches", "missing") and count
    return f"[bold red]{count:,}[/]" if alarming else f"{count:,}"


def _status(status: str) -> str:
    return f"[green]{status}[/]" if status == jabba.TaskStatus.PROCESSED else f"[bold red]{status}[/]"


def steps(tasks: Iterable[jabba.Task]) -> None:
    """Print how the steps of the report went."""
    told = " → ".join(f"{task.name} {_status(task.status)}" for task in tasks)
    console.print(f"\naudit_report: {told}")


def ending(seconds: float, written: Path | None) -> None:
    """Say how long it took and where the report is."""
    told = f"Both jobs took {seconds:.1f} s, all of it through Kafka's protocol and PostgreSQL."
    console.print(told if written is None else f"{told} The report is {written}.")
