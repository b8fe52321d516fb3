"""Progress of long commands: a bar on standard error, or a line now and then where there is no terminal."""

from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from jabba.cli import console as consoles
from jabba.clock import Clock, SystemClock

_LINE_SECONDS = 10.0


class Work:
    """What a command does, how much of it is done of how much, how fast, for how long, and how long it will take.

    ``quiet`` shows nothing.
    """

    def __init__(self, clock: Clock | None = None, console: Console | None = None, *, quiet: bool = False) -> None:
        self._clock = clock or SystemClock()
        self._console = console or consoles.err
        self._quiet = quiet
        self._bar = Bar(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("[yellow]{task.fields[note]}"),
            console=self._console,
            disable=quiet or not self._console.is_terminal,
            transient=True,
            redirect_stdout=False,
        )
        self._task: TaskID | None = None
        self._doing = ""
        self._shown_at = self._begun_at = self._clock.monotonic()
        self._begun_with = 0

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def stop(self) -> None:
        """Leave the screen to what is printed."""
        self._bar.stop()

    def show(self, doing: str, done: int, total: int | None = None, *, note: str = "") -> None:
        """Move the bar, or begin a new one for another thing to do."""
        if self._quiet:
            return
        if self._task is None or doing != self._doing:
            self._begin(doing, done, total)
        if not self._console.is_terminal:
            self._show_line(done, total, note)
        elif self._task is not None:
            speed = self._bar.tasks[0].speed
            rate = f"{speed:,.0f}/s" if speed else ""
            self._bar.update(self._task, completed=done, total=total, rate=rate, note=consoles.text(note))

    def note(self, message: str) -> None:
        """Show why the bar does not move."""
        if self._task is None:
            self._begin("", 0, None)
        if self._task is not None:
            self._bar.update(self._task, note=consoles.text(message))

    def _begin(self, doing: str, done: int, total: int | None) -> None:
        if self._task is not None:
            self._bar.remove_task(self._task)
        self._task = self._bar.add_task(consoles.text(doing), total=total, completed=done, rate="", note="")
        self._doing, self._begun_at, self._begun_with = doing, self._clock.monotonic(), done

    def _show_line(self, done: int, total: int | None, note: str) -> None:
        now = self._clock.monotonic()
        if now - self._shown_at < _LINE_SECONDS:
            return
        self._shown_at = now
        of_total = f" of {total:,}" if total is not None else ""
        seconds = now - self._begun_at
        rate = f", {(done - self._begun_with) / seconds:,.0f}/s" if seconds else ""
        self._console.print(consoles.text(f"{self._doing}: {done:,}{of_total}{rate}{note and f'; {note}'}"))
