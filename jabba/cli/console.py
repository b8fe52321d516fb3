"""Printing to the terminal or a pipe: what nobody here wrote is escaped, and nothing is cut without a mark."""

import shutil
from typing import Any

import click
from pydantic_core import to_json
from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleDimensions
from rich.markup import escape
from rich.table import Table as TerminalTable
from rich.text import Text

from jabba.printable import printable

_UNLIMITED = 1_000_000
_GAP = "  "
_PADDING = 3
_LEAST_WIDTH = 8
_WIDTHS = {"id": 36, "status": 9, "submitted": 14, "#": 3}
"""Columns that are cut last; the others share what is left."""


class _Output(Console):
    """A console as wide as the terminal; in a pipe or a file lines are as long as they have to be."""

    @property
    def size(self) -> ConsoleDimensions:
        """Return columns and lines."""
        if not self.is_terminal:
            return ConsoleDimensions(_UNLIMITED, 25)
        return ConsoleDimensions(*shutil.get_terminal_size())

    @size.setter
    def size(self, new_size: tuple[int, int]) -> None:
        """Pass over what somebody else takes the size for."""


out = _Output(highlight=False)
err = _Output(highlight=False, stderr=True)


def text(value: object) -> str:
    """Return a text of unknown origin as rich's markup: neither markup nor control characters in it take effect."""
    return escape(printable(str(value)))


def paragraph(value: str, indent: str) -> str:
    """Return a text of several lines as ``text`` does, each line indented."""
    return escape("\n".join(f"{indent}{printable(line)}".rstrip() for line in value.split("\n")))


def compact(value: Any) -> str:
    """Return a value as JSON in one line."""
    return to_json(value).decode()


def line(message: str, *, err: bool = False) -> None:
    """Print a line of text."""
    click.echo(printable(message), err=err)


def as_json(value: Any) -> None:
    """Print a model or a list of models as JSON."""
    click.echo(printable(to_json(value, indent=2).decode(), keep="\n"))


def as_line(value: Any) -> None:
    """Print JSON in one line."""
    line(compact(value))


def _cell(markup: str) -> Text:
    cell = Text.from_markup(markup)
    cell.no_wrap, cell.overflow = True, "ellipsis"
    return cell


class Table:
    """A table that fits the terminal's width; in a pipe it has no ornaments, and no cell is cut.

    Cells are rich's markup: what nobody here wrote goes through ``text``.
    """

    def __init__(self, *headers: str, headed: bool = True) -> None:
        self._headers = headers
        self._headed = headed
        self._rows: list[tuple[tuple[str, ...], str | None]] = []

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, *cells: str, style: str | None = None) -> None:
        """Add a row."""
        self._rows.append((cells, style))

    def print(self, nothing: str) -> None:
        """Print the rows, or ``nothing`` if there are none."""
        if not self._rows:
            out.print(f"[dim]{nothing}[/]")
        elif out.is_terminal:
            out.print(self._for_terminal())
        else:
            self._print_plain()

    def _for_terminal(self) -> TerminalTable:
        table = TerminalTable(
            box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="dim", show_header=self._headed
        )
        has_room = out.width >= sum(_WIDTHS.get(header, _LEAST_WIDTH) + _PADDING for header in self._headers)
        for header in self._headers:
            # Rich shortens those first that it might wrap; the cells themselves are never wrapped.
            kept = has_room and header in _WIDTHS
            table.add_column(header, no_wrap=kept, min_width=_WIDTHS[header] if kept else None)
            if header == "#":
                table.columns[-1].justify = "right"
        for cells, style in self._rows:
            table.add_row(*map(_cell, cells), style=style)
        return table

    def _print_plain(self) -> None:
        rows = [[Text.from_markup(cell).plain for cell in cells] for cells, _ in self._rows]
        if self._headed:
            rows.insert(0, list(self._headers))
        widths = [max(map(cell_len, column)) for column in list(zip(*rows, strict=True))[:-1]]
        for row in rows:
            padded = (cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=False))
            out.out(_GAP.join((*padded, row[-1])).rstrip(), highlight=False)
