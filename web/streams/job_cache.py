"""What jobs are, for streams whose filters ask that: looked up in PostgreSQL once, for all streams together.

An event has the id of its job, and nothing of its meta. It may come before the projection has the job; then the job is
waited for. That there is no such job is known once the projection has passed all that stood in the log a while after
somebody first asked: a job that is not kept any more, or of which the first slice never came.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

from jabba.concurrency.cancellation import cancel_and_wait
from jabba.errors import Unavailable
from web.waiting import Offsets, covers

logger = logging.getLogger(__name__)

Ask = Callable[[Iterable[UUID]], Awaitable[Mapping[UUID, bytes]]]
"""Answers what those of some jobs are that PostgreSQL has, as JSON."""

AskOffsets = Callable[[], Awaitable[Offsets]]

PATIENCE_SECONDS = 5.0
"""The slices of a job come to the log side by side: an event of a later one may be there before the first slice is."""

_PATIENCE_AGAIN_SECONDS = 60.0
"""The log may be made anew, and then never come to where it ended."""

_LEAST_SPACING_SECONDS = 0.02
_MOST_SPACING_SECONDS = 1.0
_SPACING = 0.05
"""What is missing is asked for this often, as a part of the time that one has waited."""

_MOST_AT_ONCE = 1000
_MISSING_REMEMBERED = 10_000
_ENTRY_BYTES = 250
"""What remembering takes beside the JSON itself."""


@dataclass(slots=True)
class _Wanted:
    """A job that someone waits for; without it the projection has not passed ``end``, which is taken ``end_at``."""

    since: float
    end_at: float
    end: Offsets | None = None
    waiters: int = 0
    asked: bool = False


class JobCache:
    """Finds out what jobs are, and remembers those last asked for, up to ``max_bytes``: it never changes.

    Args:
        ask: asks PostgreSQL.
        projected: answers how far the topic of slices is projected.
        ends: answers where that topic ends.
        max_bytes: how much is remembered.
    """

    def __init__(self, ask: Ask, projected: AskOffsets, ends: AskOffsets, max_bytes: int) -> None:
        self._ask = ask
        self._projected = projected
        self._ends = ends
        self._max_bytes = max_bytes
        self._found: OrderedDict[str, bytes] = OrderedDict()
        self._bytes = 0
        self._missing: OrderedDict[str, Offsets] = OrderedDict()
        self._wanted: dict[str, _Wanted] = {}
        self._round: asyncio.Task[Mapping[str, bytes | None]] | None = None
        self._asked_at = 0.0
        self._fault = ""

    @property
    def trouble(self) -> str:
        """Return why someone has to wait for long; empty when nobody does."""
        now = asyncio.get_running_loop().time()
        if all(now - one.since < PATIENCE_SECONDS for one in self._wanted.values()):
            return ""
        return self._fault or "the projection is behind"

    def recall(self, job: str) -> bytes | None:
        """Return what a job is if that is remembered."""
        if job not in self._found:
            return None
        self._found.move_to_end(job)
        return self._found[job]

    async def find(self, jobs: Iterable[str]) -> dict[str, bytes | None]:
        """Return what jobs are, None for those that there are not; wait for those that PostgreSQL has not yet."""
        ids = {job for job in jobs if _is_id(job)}
        found: dict[str, bytes | None] = {job: self.recall(job) for job in jobs}
        left = {job for job in ids if found[job] is None}
        with self._wanting(left):
            while left:
                answered = await self._next_round()
                found.update((job, answered[job]) for job in left & answered.keys())
                left -= answered.keys()
        return found

    async def look(self, jobs: Iterable[str]) -> None:
        """Have jobs asked for once, so that what there is of them is remembered."""
        left = {job for job in jobs if _is_id(job) and self.recall(job) is None}
        with self._wanting(left):
            if left:
                await self._next_round()

    async def close(self) -> None:
        """Give up what is being asked."""
        if self._round is not None:
            await cancel_and_wait([self._round])

    @contextmanager
    def _wanting(self, jobs: set[str]) -> Iterator[None]:
        """Have some jobs asked for meanwhile."""
        now, mine = asyncio.get_running_loop().time(), tuple(jobs)
        for job in mine:
            end = self._missing.get(job)
            patience = PATIENCE_SECONDS if end is None else _PATIENCE_AGAIN_SECONDS
            self._wanted.setdefault(job, _Wanted(now, now + patience, end)).waiters += 1
        try:
            yield
        finally:
            for job in mine:
                self._wanted[job].waiters -= 1
                if not self._wanted[job].waiters:
                    del self._wanted[job]

    async def _next_round(self) -> Mapping[str, bytes | None]:
        if self._round is None or self._round.done():
            self._round = asyncio.create_task(self._ask_in_turn())
        # Who gives up waiting must not take the answer away from the others.
        return await asyncio.shield(self._round)

    async def _ask_in_turn(self) -> Mapping[str, bytes | None]:
        """Ask for all that is wanted; return what was found out."""
        loop = asyncio.get_running_loop()
        # What nobody has asked for yet is asked for at once.
        if self._fault or all(one.asked for one in self._wanted.values()):
            waited = (loop.time() - min((one.since for one in self._wanted.values()), default=0.0)) * _SPACING
            spacing = min(max(waited, _LEAST_SPACING_SECONDS), _MOST_SPACING_SECONDS)
            await asyncio.sleep(max(0.0, self._asked_at + spacing - loop.time()))
        self._asked_at = loop.time()
        for one in self._wanted.values():
            one.asked = True
        try:
            answered = await self._ask_for(dict(self._wanted))
        except Exception as error:  # whatever is wrong: nothing may be passed over for it
            if not isinstance(error, Unavailable):
                logger.exception("query for the jobs of filtered live streams failed")
            self._fault = str(error)
            return {}
        self._fault = ""
        return answered

    async def _ask_for(self, wanted: Mapping[str, _Wanted]) -> Mapping[str, bytes | None]:
        # The projection is looked at before the jobs: what it has passed is there then, or nowhere.
        passed = await self._passed(wanted)
        answered: dict[str, bytes | None] = {}
        for some in _parts(list(wanted)):
            found = await self._ask(map(UUID, some))
            answered.update((str(job), facts) for job, facts in found.items())
        for job, facts in answered.items():
            self._remember(job, facts or b"")
        for job in passed - answered.keys():
            answered[job] = None
            self._remember_missing(job, wanted[job].end or {})
        await self._take_ends([one for job, one in wanted.items() if job not in answered])
        return answered

    async def _passed(self, wanted: Mapping[str, _Wanted]) -> set[str]:
        """Return the jobs without which the projection has passed the end of the log."""
        ends = {job: one.end for job, one in wanted.items() if one.end is not None}
        reached = await self._projected() if ends else {}
        return {job for job, end in ends.items() if covers(reached, end)}

    async def _take_ends(self, left: Iterable[_Wanted]) -> None:
        """Note where the log ends for those with which patience is over."""
        now = asyncio.get_running_loop().time()
        late = [one for one in left if now > one.end_at]
        ends = await self._ends() if late else {}
        for one in late:
            one.end = {partition: end - 1 for partition, end in ends.items() if end}
            one.end_at = now + _PATIENCE_AGAIN_SECONDS

    def _remember(self, job: str, facts: bytes) -> None:
        self._missing.pop(job, None)
        self._bytes += len(facts) + _ENTRY_BYTES - self._size(job)
        self._found[job] = facts
        while self._bytes > self._max_bytes:
            oldest = next(iter(self._found))
            self._bytes -= self._size(oldest)
            del self._found[oldest]

    def _remember_missing(self, job: str, end: Offsets) -> None:
        self._missing[job] = end
        if len(self._missing) > _MISSING_REMEMBERED:
            self._missing.popitem(last=False)

    def _size(self, job: str) -> int:
        return len(self._found[job]) + _ENTRY_BYTES if job in self._found else 0


def _is_id(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


def _parts(jobs: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(jobs), _MOST_AT_ONCE):
        yield jobs[start : start + _MOST_AT_ONCE]
