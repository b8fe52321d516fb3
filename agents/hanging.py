"""Tells of callbacks that hold all places of a worker for so long that they may hang: nothing else starts meanwhile."""

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable
from uuid import UUID

from jabba.callbacks.places import Capacity, Held

logger = logging.getLogger(__name__)

_NAMED_JOBS = 5


class Hanging:
    """Looks, as long as somebody calls ``look`` every second; says at most once in ``seconds`` what it sees.

    It ends nothing: a callback may take long on purpose, and would hang elsewhere if it hangs here.
    """

    def __init__(self, places: Iterable[Capacity], seconds: float, monotonic: Callable[[], float]) -> None:
        self._places = list(places)
        self._seconds = seconds
        self._monotonic = monotonic
        self._told: dict[str, float] = {}

    @property
    def steps(self) -> int:
        """Return how many steps have held all places of a kind for so long, while others wait."""
        return max(len(self._found(places)) for places in self._places)

    def look(self) -> None:
        """Look once."""
        now = self._monotonic()
        for places in self._places:
            found = self._found(places)
            if found and now - self._told.get(places.kind, -self._seconds) >= self._seconds:
                self._told[places.kind] = now
                held = {
                    "limit": places.limit,
                    "seconds": self._seconds,
                    "waiting": places.waiting(),
                    "held_by": _names(found),
                }
                logger.warning("all %s are held by long steps while others wait", places.kind, extra=held)

    def _found(self, places: Capacity) -> list[Held]:
        if not places.waiting():
            return []
        now = self._monotonic()
        old = [one for one in places.held() if now - one.since >= self._seconds]
        return old if len(old) >= places.limit else []


def _names(found: Iterable[Held]) -> str:
    jobs: defaultdict[str, set[UUID]] = defaultdict(set)
    for one in found:
        jobs[one.callback].add(one.job)
    return "; ".join(f"{callback} of {_few(sorted(some))}" for callback, some in sorted(jobs.items()))


def _few(jobs: list[UUID]) -> str:
    named = ", ".join(map(str, jobs[:_NAMED_JOBS]))
    more = len(jobs) - _NAMED_JOBS
    return f"{'job' if len(jobs) == 1 else 'jobs'} {named}" + (f" and {more} more" if more > 0 else "")
