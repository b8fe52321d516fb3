"""What a run shows: a line per round, and in the end a table with a line per kind of fault."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from tests.fault.rounds import Result

_COUNTS = (
    ("jobs", "jobs"),
    ("steps run", "executed"),
    ("in flight", "in_flight"),
    ("repeated of these", "repeated_in_flight"),
    ("repeated otherwise", "repeated_otherwise"),
    ("lost", "lost"),
    ("out of order", "disordered"),
    ("wrong", "wrong"),
)


_SHOWN_PROBLEMS = 5

_console = Console(width=160, highlight=False, markup=False, soft_wrap=True)


def show_result(result: Result, seconds: float) -> None:
    """Show a round that took so long, and what was wrong in it."""
    verdict = result.verdict
    counts = f"{verdict.executed:6d} steps {verdict.repeated_in_flight:3d} of {verdict.in_flight:3d} again"
    _console.print(f"seed {result.seed:4d}  {result.fault:28s}{seconds:5.0f} s {counts}  {result.pause}")
    for problem in verdict.problems[:_SHOWN_PROBLEMS]:
        _console.print(f"    {problem}")


def show_table(results: Sequence[Result]) -> None:
    """Show what was done, what was lost, and the longest pause."""
    table = Table("fault", "rounds", *(title for title, _ in _COUNTS), "longest pause")
    for column in table.columns[1:]:
        column.justify = "right"
    for name in dict.fromkeys(result.fault for result in results):
        table.add_row(name, *_cells([result for result in results if result.fault == name]))
    table.add_section()
    table.add_row("all", *_cells(results))
    _console.print(table)


def _cells(results: Sequence[Result]) -> list[str]:
    sums = [sum(getattr(result.verdict, name) for result in results) for _, name in _COUNTS]
    pause = max((result.pause.seconds for result in results), default=0.0)
    return [f"{len(results):,}", *(f"{number:,}" for number in sums), f"{pause:.1f} s"]
