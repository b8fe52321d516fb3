"""Steps, counted and timed around whatever runs them."""

from collections import Counter
from collections.abc import Callable, Collection

from jabba.callbacks.places import Held
from jabba.callbacks.registry import TaskContext
from jabba.callbacks.results import Answer
from jabba.callbacks.transport import Reply, Runner, Unanswered
from jabba.jobs.lifecycle import TaskFailed, TaskRescued, TaskSucceeded
from jabba.jobs.models import Callback
from jabba.monitoring.histogram import Histogram

_WORDS = {TaskSucceeded: "succeeded", TaskFailed: "failed", TaskRescued: "rescued"}
_CANCELLED = "cancelled"
_UNANSWERED = "unanswered"
_POSTPONED = "postponed"


class MeasuredRunner:
    """A runner that counts: ``outcomes`` by word, ``seconds`` from the call of a callback to its answer."""

    def __init__(self, runner: Runner, monotonic: Callable[[], float]) -> None:
        self._runner = runner
        self._monotonic = monotonic
        self.outcomes: Counter[str] = Counter(dict.fromkeys((*_WORDS.values(), _CANCELLED, _UNANSWERED, _POSTPONED), 0))
        self.seconds = Histogram()
        self._running: dict[object, Held] = {}

    @property
    def running(self) -> Collection[Held]:
        """Return the steps that have begun and not ended."""
        return self._running.values()

    async def run(self, callback: Callback, context: TaskContext) -> Reply:
        """Invoke a callback and return how it went; only a cancellation is raised."""
        began = self._monotonic()
        word = _CANCELLED
        step = object()
        self._running[step] = Held(f"{callback.module}.{callback.function}", context.job_id, began)
        try:
            reply = await self._runner.run(callback, context)
            word = _word(reply)
        finally:
            del self._running[step]
            self.outcomes[word] += 1
            self.seconds.add(self._monotonic() - began)
        return reply


def _word(reply: Reply) -> str:
    if isinstance(reply, Answer):
        return _WORDS[reply.event]
    return _UNANSWERED if isinstance(reply, Unanswered) else _POSTPONED
