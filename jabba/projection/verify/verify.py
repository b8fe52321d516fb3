"""Comparing all of the projection with all of the log, while both go on."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from jabba.clock import Clock
from jabba.database import queries
from jabba.database.connection import Database
from jabba.errors import NotReady
from jabba.projection.replay import Replay
from jabba.projection.retention import days_before
from jabba.projection.statements import Offsets
from jabba.projection.verify.compare import Difference, JobRows, contradictions, differences, was_dropped
from jabba.projection.verify.expected import account, entries
from jabba.projection.verify.external_sort import Entry, Ledger
from jabba.projection.verify.log_start import Beginning
from jabba.projection.verify.snapshot import Snapshot, taken
from jabba.settings import Settings

Tell = Callable[[str, int, int], None]
"""Is told what is being done, how much of it is done, and of how much."""

_CHUNK_JOBS = 200
_CHUNK_BYTES = 4 * 1024 * 1024
_LOOK_SECONDS = 0.2
_LOWEST_ID, _HIGHEST_ID = UUID(int=0), UUID(int=2**128 - 1)

Chunk = dict[UUID, list[Entry]]
"""Some jobs, and what the log says of each."""


@dataclass(slots=True)
class Report:
    """What was compared.

    ``messages`` were read. Of the ``jobs`` with ``tasks`` that were compared, ``jobs_in_part`` began before the log
    does; ``differences_in_part`` are those of them. ``waiting`` counts per topic and partition the messages that were
    not projected, and so not compared either.
    """

    messages: int = 0
    jobs: int = 0
    jobs_in_part: int = 0
    tasks: int = 0
    differences: int = 0
    differences_in_part: int = 0
    different: set[UUID] = field(default_factory=set)
    waiting: dict[tuple[str, int], int] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return the counts, for programs."""
        names = ("messages", "jobs", "jobs_in_part", "tasks", "differences", "differences_in_part")
        waiting = [[topic, partition, count] for (topic, partition), count in sorted(self.waiting.items())]
        return {name: getattr(self, name) for name in names} | {
            "different_jobs": len(self.different),
            "waiting": waiting,
        }


class Verification:
    """Reads the log up to where it ends now, and compares what it amounts to with the rows.

    The rows are those of one moment, and the same moment says which messages had been projected: just these count. So
    work that goes on is no difference. What differs all the same is looked at a second time: the projector may have
    been putting aside a message that could not be written, with its neighbours written and the offsets not yet.
    """

    def __init__(self, settings: Settings, database: Database, clock: Clock, tell: Tell) -> None:
        self._topics = settings.topics
        self._database = database
        self._clock = clock
        self._keep_days = settings.keep_days
        self._tell = tell
        self._replay = Replay(settings)
        self._ledger = Ledger()
        self._entries = 0

    async def run(self, wait_seconds: float, found: Callable[[Difference], None]) -> Report:
        """Compare; ``found`` is told each difference.

        ``wait_seconds`` is how long the projection may take to come as far as the log is at the beginning.

        Raises:
            NotReady: the projection is further than the log, which is another one; or the temporary directory is full.
            Unavailable: Kafka or PostgreSQL does not answer.
        """
        with self._ledger:
            async with self._replay:
                # The projection first: it goes on, and a log that is asked after it has all that it had.
                reached = await self._reached()
                ends = await self._replay.ends()
                _check_same_log(reached, ends)
                await self._read(ends)
                await self._wait(ends, wait_seconds)
                report = await self._look(None, lambda _: None)
                if report.different:
                    again = await self._look(report.different, found)
                    report.different, report.differences = again.different, again.differences
                    report.differences_in_part = again.differences_in_part
        report.waiting = _waiting(ends, self._projected)
        return report

    async def _reached(self) -> Offsets:
        return await queries.projected_offsets(self._database, [self._topics.tasks, self._topics.events])

    async def _read(self, ends: Offsets) -> None:
        """Take the messages before these offsets into the ledger."""
        total = self._replay.count(ends)
        async for messages in self._replay.until(ends):
            for message in messages:
                for entry in entries(message, are_events=message.place.topic == self._topics.events):
                    self._ledger.add(entry)
                    self._entries += 1
            self._tell("reading the log", self._replay.passed(), total)

    async def _wait(self, ends: Offsets, seconds: float) -> None:
        """Wait until the projection has come so far, if it does in time."""
        total = self._replay.count(ends)
        until = self._clock.monotonic() + seconds
        while waiting := sum(_waiting(ends, await self._reached()).values()):
            self._tell("waiting for the projection", total - waiting, total)
            if self._clock.monotonic() >= until:
                return
            await asyncio.sleep(_LOOK_SECONDS)

    async def _look(self, only: set[UUID] | None, found: Callable[[Difference], None]) -> Report:
        """Compare all jobs, or some only."""
        report = Report()
        async with taken(self._database) as snapshot:
            projected = await snapshot.offsets([self._topics.tasks, self._topics.events])
            # What came since the reading, as far as it is projected.
            await self._read({place: max(at, projected.get(place, 0)) for place, at in self._replay.next.items()})
            self._projected = projected
            beginning = Beginning.of(self._replay, self._topics, self._clock.now())
            done = 0
            async for chunk in self._chunks(snapshot, beginning, only):
                await self._compare(snapshot, chunk, beginning, report, found)
                done += sum(map(len, chunk.values()))
                self._tell("comparing", done, self._entries)
        report.messages = self._replay.passed()
        return report

    async def _chunks(self, snapshot: Snapshot, beginning: Beginning, only: set[UUID] | None) -> AsyncIterator[Chunk]:
        """Return all jobs of the log by id, and between them those that only PostgreSQL knows."""
        last = _LOWEST_ID
        for chunk in _cut(self._ledger, only):
            yield chunk
            if only is None:
                after, last = last, max(chunk)
                async for strangers in _strangers(snapshot, beginning, after, last, chunk):
                    yield strangers
            else:
                only = only - chunk.keys()
        if only is None:
            async for strangers in _strangers(snapshot, beginning, last, _HIGHEST_ID, {}):
                yield strangers
        elif only:
            yield {job: [] for job in sorted(only)}

    async def _compare(
        self,
        snapshot: Snapshot,
        chunk: Chunk,
        beginning: Beginning,
        report: Report,
        found: Callable[[Difference], None],
    ) -> None:
        jobs, tasks = await snapshot.jobs(chunk), await snapshot.tasks(chunk)
        expired = days_before(int(self._clock.now() * 1000), self._keep_days)
        for job, said in chunk.items():
            live = JobRows(jobs.get(job), tasks.get(job, {}))
            projected = [entry for entry in said if self._is_projected(entry)]
            if not projected and live == JobRows():
                continue
            log = account(job, projected, live.job["digest"] if live.job else None)
            if was_dropped(log.rows, live, expired):
                continue
            whole = beginning.has_all_of(log, live)
            report.jobs += 1
            report.jobs_in_part += not whole
            report.tasks += len(live.tasks)
            for difference in (differences if whole else contradictions)(job, log.rows, live):
                report.differences += 1
                report.differences_in_part += not whole
                report.different.add(job)
                found(difference)

    def _is_projected(self, entry: Entry) -> bool:
        topic = self._topics.events if entry.is_event else self._topics.tasks
        return entry.offset < self._projected.get((topic, entry.partition), 0)


def _check_same_log(reached: Offsets, ends: Offsets) -> None:
    for (topic, partition), offset in reached.items():
        if offset > ends.get((topic, partition), 0):
            raise NotReady(
                f"{topic}[{partition}] is projected to {offset} and ends before that: the log is another one"
            )


def _waiting(ends: Offsets, reached: Offsets) -> dict[tuple[str, int], int]:
    """Count the messages that are not projected, of the partitions that have any."""
    missing = {place: end - reached.get(place, 0) for place, end in ends.items()}
    return {place: count for place, count in missing.items() if count > 0}


def _cut(ledger: Ledger, only: set[UUID] | None) -> Iterator[Chunk]:
    """Return the jobs of a ledger, some at a time."""
    chunk: Chunk = {}
    size = 0
    for job, said in ledger.by_job():
        if only is None or job in only:
            chunk[job] = said
            size += sum(len(entry.text) for entry in said)
            if len(chunk) >= _CHUNK_JOBS or size >= _CHUNK_BYTES:
                yield chunk
                chunk, size = {}, 0
    if chunk:
        yield chunk


async def _strangers(
    snapshot: Snapshot, beginning: Beginning, after: UUID, last: UUID, known: Chunk
) -> AsyncIterator[Chunk]:
    while found := await snapshot.strangers(after, last, beginning.since / 1000, known):
        for start in range(0, len(found), _CHUNK_JOBS):
            yield {job: [] for job in found[start : start + _CHUNK_JOBS]}
        after = found[-1]
