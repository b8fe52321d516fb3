"""A store in the memory of one process."""

from collections import OrderedDict
from dataclasses import dataclass
from uuid import uuid4

from jabba.callee.store import Busy, Claimed, Kept
from jabba.clock import Clock, SystemClock

KEEP_SECONDS = 86_400.0
"""For how long answers are kept: longer than any caller tries again, by default 600 s, and the replay window."""


@dataclass(frozen=True, slots=True)
class _Entry:
    answer: str
    until: float


class MemoryStore:
    """Keeps answers for ``keep_seconds``, at most ``most_answers`` with ``most_bytes``, the oldest forgotten first.

    It serves one process, and forgets with it: a call whose callee is restarted runs again.
    """

    lease: float | None = None

    def __init__(
        self,
        *,
        keep_seconds: float = KEEP_SECONDS,
        most_answers: int = 100_000,
        most_bytes: int = 64 << 20,
        clock: Clock | None = None,
    ) -> None:
        self._keep_seconds = keep_seconds
        self._most_answers = most_answers
        self._most_bytes = most_bytes
        self._clock = clock or SystemClock()
        self._claims: dict[str, str] = {}
        # The oldest first.
        self._answers: OrderedDict[str, _Entry] = OrderedDict()
        self._bytes = 0

    async def claim(self, id: str) -> Claimed | Busy | Kept:  # noqa: A002 — the header's name
        """Take a call, unless it is taken or has ended."""
        self._forget()
        if (entry := self._answers.get(id)) is not None:
            return Kept(entry.answer)
        if id in self._claims:
            return Busy()
        self._claims[id] = uuid4().hex
        return Claimed(self._claims[id])

    async def renew(self, id: str, claim: str) -> bool:  # noqa: A002
        """Return whether a claim still holds."""
        return self._claims.get(id) == claim

    async def keep(self, id: str, claim: str, answer: str) -> None:  # noqa: A002
        """Keep a final answer, and give the claim up."""
        if self._claims.get(id) != claim:
            return
        del self._claims[id]
        self._answers[id] = _Entry(answer, self._clock.monotonic() + self._keep_seconds)
        self._bytes += len(answer)
        self._forget()

    async def release(self, id: str, claim: str) -> None:  # noqa: A002
        """Give a claim up without an answer."""
        if self._claims.get(id) == claim:
            del self._claims[id]

    def _forget(self) -> None:
        now = self._clock.monotonic()
        while self._answers and (
            next(iter(self._answers.values())).until <= now
            or len(self._answers) > self._most_answers
            or self._bytes > self._most_bytes
        ):
            _, entry = self._answers.popitem(last=False)
            self._bytes -= len(entry.answer)
