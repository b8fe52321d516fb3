"""How far something has come: bars on standard error, or lines where there is no terminal."""

from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from jabba.clock import Clock, SystemClock
from jabba.jobs.models import Progress

_LINE_SECONDS = 10.0


class Advance:
    """A bar on standard error: how many tasks of a job have ended, and how many of them without success."""

    def __init__(self, name: str, *, quiet: bool = False) -> None:
        console = Console(stderr=True)
        columns = (
            "[bold]{task.description}",
            BarColumn(),
            MofNCompleteColumn(),
            "{task.fields[news]}",
            TimeElapsedColumn(),
        )
        self._bar = Bar(
            *(TextColumn(one) if isinstance(one, str) else one for one in columns),
            console=console,
            disable=quiet or not console.is_terminal,
            transient=True,
        )
        self._task = self._bar.add_task(escape(name), total=None, news="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def to(self, progress: Progress) -> None:
        """Move the bar."""
        news = f"[bold red]{progress.unsuccessful:,} unsuccessful" if progress.unsuccessful else ""
        self._bar.update(self._task, completed=progress.ended, total=progress.total, news=news)

    def trouble(self, message: str) -> None:
        """Show why the bar does not move."""
        self._bar.update(self._task, news=f"[yellow]{escape(message)}")


class Work:
    """A bar on standard error: what a long command does, how much of it is done, how fast, and when it will be.

    Where nobody would see it move, a line now and then, so that a log shows that it is alive.
    """

    def __init__(self, clock: Clock | None = None, console: Console | None = None) -> None:
        self._clock = clock or SystemClock()
        self._console = console or Console(stderr=True, highlight=False)
        columns = ("[bold]{task.description}", BarColumn(), MofNCompleteColumn(), "{task.fields[rate]}")
        self._bar = Bar(
            *(TextColumn(one) if isinstance(one, str) else one for one in columns),
            TimeRemainingColumn(compact=True),
            console=self._console,
            disable=not self._console.is_terminal,
            transient=True,
            redirect_stdout=False,
        )
        self._task: TaskID | None = None
        self._doing = ""
        self._told_at = self._clock.monotonic()

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def stop(self) -> None:
        """Leave the screen to what is printed."""
        self._bar.stop()

    def tell(self, doing: str, done: int, total: int) -> None:
        """Move the bar, or begin a new one for another thing to do."""
        if not self._console.is_terminal:
            self._tell_in_a_line(doing, done, total)
            return
        if self._task is None or doing != self._doing:
            if self._task is not None:
                self._bar.remove_task(self._task)
            self._task, self._doing = self._bar.add_task(doing, total=total, completed=done, rate=""), doing
        speed = self._bar.tasks[0].speed
        self._bar.update(self._task, completed=done, total=total, rate=f"{speed:,.0f}/s" if speed else "")

    def _tell_in_a_line(self, doing: str, done: int, total: int) -> None:
        now = self._clock.monotonic()
        if now - self._told_at >= _LINE_SECONDS:
            self._told_at = now
            self._console.print(f"{doing}: {done:,} of {total:,}")
