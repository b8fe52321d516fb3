"""The contract between a lane and whatever invokes a callback."""

from typing import Protocol

from jabba.callbacks.registry import TaskContext
from jabba.callbacks.results import Answer
from jabba.jobs.models import Callback


class Runner(Protocol):
    """Where callbacks are invoked."""

    async def run(self, callback: Callback, context: TaskContext) -> Answer:
        """Invoke a callback and return its answer; only a cancellation is raised."""
        ...
