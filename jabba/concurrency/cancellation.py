"""Ending tasks, and whole processes, for sure."""

import asyncio
import logging
import os
import threading
import time
from collections.abc import Iterable
from typing import Any

logger = logging.getLogger(__name__)

_IDLE_THREAD_SECONDS = 0.5
"""How long a thread of a pool that was shut down may take to notice."""

PATIENCE_SECONDS = 3.0
"""How long a task that was cancelled may take to close what it has open."""


async def cancel_and_wait(tasks: Iterable[asyncio.Task[Any]], *, patience: float = PATIENCE_SECONDS) -> None:
    """Cancel tasks, again after each ``patience`` seconds, until they have ended.

    Once is not enough: aiokafka swallows a cancellation that meets it while it closes, and ``asyncio.wait_for`` one
    that comes together with an answer. Whoever waited for such a task would wait for ever.
    """
    while left := [task for task in tasks if not task.done()]:
        for task in left:
            task.cancel()
        await asyncio.wait(left, timeout=patience)


def exit_beside_threads(prefix: str, code: int) -> None:
    """Exit at once if threads whose names begin like that go on: Python would wait for them, however long that takes.

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
