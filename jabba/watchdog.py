"""Ends a process that is alive but does nothing any more, so that its supervisor starts a new one."""

import faulthandler
import logging
import os
import sys
import threading
from collections.abc import Callable

logger = logging.getLogger(__name__)

EXIT_CODE = 70
"""What a process that was ended by its watchdog exits with: EX_SOFTWARE of sysexits.h."""

_WARN_SECONDS = 5.0
_LOOK_SECONDS = 1.0


class Watchdog:
    """Two ways to be stuck: the event loop is held up, or it runs and nothing comes of it.

    ``beat`` is called from the event loop every second. If it stays away, a callback blocks the loop: where is printed
    after five seconds, and the process ends after ``seconds``, since its heartbeats go on in another thread and would
    keep its partitions for ever. If beats come but say for ``seconds`` that work waits and none is done, it ends too.
    """

    def __init__(self, seconds: float, monotonic: Callable[[], float], end: Callable[[int], object] = os._exit) -> None:
        self._seconds = seconds
        self._monotonic = monotonic
        self._end = end
        self._beaten_at: float | None = None
        self._progress: object = None
        self._progressed_at = monotonic()
        self._warned = False
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Watch from now on, from a thread of its own, which ends with the process; once started, it goes on."""
        if self._thread is None:
            self._beaten_at = self._progressed_at = self._monotonic()
            self._thread = threading.Thread(target=self._watch, name="jabba-watchdog", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Watch no longer."""
        self._stopped.set()

    def beat(self, progress: object, *, waiting: bool) -> None:
        """Tell that the loop runs; ``progress`` changes whenever something was done, ``waiting`` is whether work is."""
        now = self._beaten_at = self._monotonic()
        self._warned = False
        if progress != self._progress or not waiting:
            self._progress, self._progressed_at = progress, now

    @property
    def stalled_seconds(self) -> float:
        """Answer for how long the loop has been held up, or work has waited while none was done."""
        return max(self._stalled())

    def fault(self) -> str:
        """Answer what is wrong once half of the time is over after which this process ends; else nothing."""
        held_up, idle = self._stalled()
        return self._reason(held_up, idle) if max(held_up, idle) > self._seconds / 2 else ""

    def look(self) -> None:
        """Judge once."""
        held_up, idle = self._stalled()
        if held_up > _WARN_SECONDS and not self._warned:
            self._warned = True
            logger.warning("the event loop has been held up for %.0f s, by what one of these threads does:", held_up)
            faulthandler.dump_traceback(file=sys.stderr)
        if held_up > self._seconds or idle > self._seconds:
            logger.critical("this process ends, because %s", self._reason(held_up, idle))
            self._end(EXIT_CODE)

    def _stalled(self) -> tuple[float, float]:
        now = self._monotonic()
        return (now - self._beaten_at, now - self._progressed_at) if self._beaten_at is not None else (0.0, 0.0)

    @staticmethod
    def _reason(held_up: float, idle: float) -> str:
        what = "its event loop is held up" if held_up > _WARN_SECONDS else "work waits and none is done"
        return f"{what} since {max(held_up, idle):.0f} s"

    def _watch(self) -> None:
        while not self._stopped.wait(_LOOK_SECONDS):
            self.look()
