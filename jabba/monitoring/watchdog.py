"""Ends a process that is alive but does nothing any more, so that its supervisor starts a new one."""

import faulthandler
import logging
import os
import sys
import threading
from collections.abc import Callable, Mapping
from typing import NamedTuple

logger = logging.getLogger(__name__)

EXIT_CODE = 70
"""What a process that was ended by its watchdog exits with: EX_SOFTWARE of sysexits.h."""

_LATER_SECONDS = 5.0
"""How much later the timer outside of the interpreter ends the process: the watchdog itself says more."""

_STDERR = 2
_WARN_SECONDS = 5.0
_LOOK_SECONDS = 1.0


def end_from_outside(seconds: float) -> None:
    """End this process after so many seconds, without the interpreter; calling it again restarts the time."""
    faulthandler.dump_traceback_later(seconds, exit=True, file=_STDERR)


class Watchdog:
    """Two ways to be stuck: the event loop is held up, or it runs and nothing comes of it.

    ``beat`` is called from the event loop every second. If it stays away, a callback blocks the loop: where is printed
    after five seconds, and the process ends after ``seconds``, since its heartbeats go on in another thread and would
    keep its partitions for ever. If beats come but say for ``seconds`` that the same stands still, it ends too. Where a
    callback holds the interpreter's lock no thread gets to look: each beat also arms a timer outside of the
    interpreter, which prints where and ends the process with code 1.
    """

    def __init__(
        self,
        seconds: float,
        monotonic: Callable[[], float],
        end: Callable[[int], object] = os._exit,
        arm: Callable[[float], object] = end_from_outside,
    ) -> None:
        self._arm = arm
        self._seconds = seconds
        self._monotonic = monotonic
        self._end = end
        self._beaten_at: float | None = None
        self._still: dict[str, _Since] = {}
        self._warned = False
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Watch from now on, from a thread of its own, which ends with the process; once started, it goes on."""
        if self._thread is None:
            self._beaten_at = self._monotonic()
            self._thread = threading.Thread(target=self._watch, name="jabba-watchdog", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Watch no longer."""
        self._stopped.set()
        faulthandler.cancel_dump_traceback_later()

    def beat(self, still: Mapping[str, object]) -> None:
        """Tell that the loop runs, and what stands still, with a value that changes as soon as some of it is done."""
        now = self._beaten_at = self._monotonic()
        self._warned = False
        if self._thread is not None and not self._stopped.is_set():
            self._arm(self._seconds + _LATER_SECONDS)
        fresh = {wrong: _Since(progress, now) for wrong, progress in still.items()}
        known = self._still
        self._still = {
            wrong: known[wrong] if wrong in known and known[wrong].progress == since.progress else since
            for wrong, since in fresh.items()
        }

    @property
    def stalled_seconds(self) -> float:
        """Return for how long the loop has been held up, or something has stood still."""
        return self._stalled().seconds

    def fault(self) -> str:
        """Return what is wrong once half of the time is over after which this process ends; else nothing."""
        stalled = self._stalled()
        return str(stalled) if stalled.seconds > self._seconds / 2 else ""

    def look(self) -> None:
        """Judge once."""
        stalled = self._stalled()
        if stalled.held_up > _WARN_SECONDS and not self._warned:
            self._warned = True
            text = "the event loop has been held up for %.0f s, by what one of these threads does:"
            logger.warning(text, stalled.held_up)
            faulthandler.dump_traceback(file=sys.stderr)
        if stalled.seconds > self._seconds:
            logger.critical("this process ends, because %s", stalled)
            self._end(EXIT_CODE)

    def _stalled(self) -> "_Stalled":
        if self._beaten_at is None:
            return _Stalled(0.0, 0.0, "")
        now = self._monotonic()
        idle, wrong = max(((now - since.at, wrong) for wrong, since in self._still.items()), default=(0.0, ""))
        return _Stalled(now - self._beaten_at, idle, wrong)

    def _watch(self) -> None:
        while not self._stopped.wait(_LOOK_SECONDS):
            self.look()


class _Since(NamedTuple):
    """Since when something has stood still."""

    progress: object
    at: float


class _Stalled(NamedTuple):
    """For how long the loop has been held up, and ``wrong`` has stood still longest."""

    held_up: float
    idle: float
    wrong: str

    @property
    def seconds(self) -> float:
        return max(self.held_up, self.idle)

    def __str__(self) -> str:
        what = self.wrong if self.wrong and self.held_up <= _WARN_SECONDS else "its event loop is held up"
        return f"{what} since {self.seconds:.0f} s"
