"""How a process ends whatever its user code has started, and what children of it must not inherit."""

import asyncio
import faulthandler
import logging
import os
import signal
import threading
import time
from concurrent.futures import thread as executor_threads

logger = logging.getLogger(__name__)

_IDLE_THREAD_SECONDS = 0.5
"""How long a thread of a pool that was shut down may take to notice."""

_LAST_SECONDS = 5.0
"""How much later a process is ended from outside of the interpreter."""

_STDERR = 2

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def detach_children() -> None:
    """Let processes that user code forks end by themselves.

    A forked child has its parent's signal handlers and wake-up descriptor: a signal for it would stop the parent. And a
    child that was forked in a thread of a pool would try to join that thread, and exit with 1
    (github.com/python/cpython/issues/94777).
    """
    os.register_at_fork(after_in_child=_detached)


def _detached() -> None:
    signal.set_wakeup_fd(-1)
    for one in _SIGNALS:
        signal.signal(one, signal.SIG_DFL)
    executor_threads._threads_queues.clear()  # type: ignore[attr-defined]  # noqa: SLF001 — there is no public way


def exit_beside_threads(prefix: str, code: int) -> None:
    """Exit at once if threads whose names begin with ``prefix`` go on: Python would wait for them, however long.

    Nothing else may be left to do: handlers of ``atexit`` are not called.
    """
    until = time.monotonic() + _IDLE_THREAD_SECONDS
    threads = [thread for thread in threading.enumerate() if thread.name.startswith(prefix)]
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    if running := sum(thread.is_alive() for thread in threads):
        logger.warning("%d callbacks go on in threads, and end with this process", running)
        logging.shutdown()
        os._exit(code)


def exit_within(seconds: float, code: int = 0) -> None:
    """Exit with ``code`` after so many seconds at the latest, and log what held this process up.

    Called from the event loop. Where even a thread gets no time, because one holds the interpreter's lock, the process
    is ended with code 1 from outside of it, five seconds later.
    """
    loop = asyncio.get_running_loop()
    faulthandler.dump_traceback_later(seconds + _LAST_SECONDS, exit=True, file=_STDERR)
    ending = threading.Thread(target=_end_later, args=(seconds, code, loop), name="jabba-exit", daemon=True)
    ending.start()


def _end_later(seconds: float, code: int, loop: asyncio.AbstractEventLoop) -> None:
    time.sleep(seconds)
    threads = [one.name for one in threading.enumerate() if not one.daemon and one is not threading.main_thread()]
    tasks = [one.get_name() for one in asyncio.all_tasks(loop) if not one.done()]
    logger.warning("this process has not ended in time and is ended now", extra={"threads": threads, "tasks": tasks})
    logging.shutdown()
    os._exit(code)
