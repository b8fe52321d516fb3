"""The contract between a lane and whatever invokes a callback.

A lane calls ``Runner.run`` once for each attempt, and reads its reply:

- an ``Answer`` is the callback's own word: it succeeded, failed or raised;
- ``Unanswered`` says that the callback's word is not known: its service was not reached, or an attempt timed out. The
  attempt counts, and the retry policy decides whether there is another one;
- ``Postponed`` says that nothing was attempted and why: the service is busy, its breaker is open, no worker knows the
  callback yet. The task waits, and no attempt is counted;
- ``Accepted`` says that the service will complete the task later, through the API.

A transport raises nothing but a cancellation of the lane itself.
"""

from dataclasses import dataclass
from typing import Protocol

from jabba.callbacks.registry import TaskContext
from jabba.callbacks.results import Answer
from jabba.jobs.models import Callback


@dataclass(frozen=True, slots=True)
class Unanswered:
    """An attempt that ended without the callback's word.

    ``outcome`` is ``infrastructure`` or ``timeout``. ``retry_after`` is the earliest time for the next attempt, in
    seconds from now. ``final`` says that another attempt is useless, such as for a redirect: the task fails.
    ``status_code`` and ``address`` are those of the service that was called.
    """

    error: str
    outcome: str = "infrastructure"
    retry_after: float | None = None
    final: bool = False
    status_code: int | None = None
    address: str | None = None


@dataclass(frozen=True, slots=True)
class Postponed:
    """Nothing was attempted; ask again in ``seconds``, or as the policy says.

    ``limit`` bounds all waits of this task for this reason together, in seconds; behind it the task fails with
    ``reason``.
    """

    reason: str
    seconds: float | None = None
    limit: float | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    """The service has taken the call and completes it through the API, within ``seconds``."""

    seconds: float
    status_code: int | None = None
    address: str | None = None


Reply = Answer | Unanswered | Postponed | Accepted


class Runner(Protocol):
    """Where callbacks are invoked."""

    async def run(self, callback: Callback, context: TaskContext) -> Reply:
        """Invoke a callback and return its reply; only a cancellation is raised."""
        ...
