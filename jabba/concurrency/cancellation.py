"""Ending tasks reliably."""

import asyncio
from collections.abc import Iterable
from typing import Any

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
