"""Whatever order the log is read in, however often and in whatever batches, the same rows come out.

The reference is a plain Python account of what the messages of a job amount to.
"""

import itertools
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jabba.database.connection import Database
from jabba.jobs.lifecycle import (
    FINAL,
    TASK_TRANSITIONS,
    UNSUCCESSFUL,
    CallReport,
    Event,
    Strategy,
    TaskAttempted,
    TaskFailed,
    TaskRescued,
    TasksAborted,
    TaskStarted,
    TaskStatus,
    TaskSucceeded,
    Version,
    job_status,
)
from jabba.messages.slices import Slice
from jabba.projection.fold import Content, Fact
from tests.support.projecting import NOW, job_row, job_spec, new_job, project, task_rows

OUTCOMES = (TaskSucceeded, TaskFailed, TaskRescued)


@dataclass
class History:
    """A job's messages, as its worker and its submitter may send them."""

    job: UUID
    strategy: Strategy
    total: int
    slices: list[Fact]
    events: list[Fact]

    @property
    def facts(self) -> list[Fact]:
        return self.slices + self.events


@st.composite
def histories(draw: st.DrawFn) -> History:
    strategy = draw(st.sampled_from(Strategy))
    total = draw(st.integers(1, 7))
    job = new_job()
    outcomes = draw(_outcomes(strategy, total))
    events = _events(job, outcomes, draw(st.lists(st.booleans(), min_size=total, max_size=total)), draw)
    told = draw(st.integers(0, len(events)))
    slices = _slices(job, strategy, total, draw)
    return History(job, strategy, total, slices, _clocked(events[:told], NOW + 10, draw))


@st.composite
def _outcomes(draw: st.DrawFn, strategy: Strategy, total: int) -> list[type[Event]]:
    """Return how each task ends; in a sequential job all behind the first that is unsuccessful are aborted."""
    drawn = draw(st.lists(st.sampled_from(OUTCOMES), min_size=total, max_size=total))
    bad = next((index for index, outcome in enumerate(drawn) if outcome is not TaskSucceeded), total)
    if strategy is Strategy.CONCURRENT:
        return list(drawn)
    return [*drawn[: bad + 1], *[TasksAborted] * (total - bad - 1)]


def _events(job: UUID, outcomes: list[type[Event]], long: list[bool], draw: st.DrawFn) -> list[Event]:
    events: list[Event] = []
    epoch = 1
    for index, outcome in enumerate(outcomes):
        epoch += draw(st.integers(0, 1))
        if outcome is TasksAborted:
            count = len(outcomes) - index
            split = draw(st.integers(1, count))
            events.append(TasksAborted(job, index, Version(0, epoch, len(events)), split))
            if split < count:
                events.append(TasksAborted(job, index + split, Version(0, epoch, len(events)), count - split))
            break
        if long[index]:
            events.append(TaskStarted(job, index, Version(0, epoch, len(events)), 1))
        attempts = draw(st.integers(1, 3))
        for attempt in range(1, attempts):
            version = Version(0, epoch, len(events))
            events.append(TaskAttempted(job, index, version, attempt, "raised", "no", 1.5, 2.25, 3.0, "w"))
        call = draw(st.sampled_from([None, CallReport("ok", "http://a", 200, 1)]))
        version = Version(0, epoch, len(events))
        events.append(outcome(job, index, version, attempts, {"n": index}, call=call))  # type: ignore[call-arg, arg-type]
    return events


def _slices(job: UUID, strategy: Strategy, total: int, draw: st.DrawFn) -> list[Fact]:
    """Cut the job anywhere; a slice may also be younger than events of the slices before it."""
    spec = job_spec(total, strategy=strategy)
    starts = sorted({0, *draw(st.sets(st.integers(0, total))), total})
    common: dict[str, Any] = {"job": job, "total": total, "digest": "d", "strategy": strategy, "type": spec.type}
    slices = []
    for k, (first, end) in enumerate(itertools.pairwise(starts)):
        head = {"name": "named", "meta": spec.meta} if k == 0 else {}
        slices.append(Slice(k=k, n_slices=len(starts) - 1, first=first, tasks=spec.tasks[first:end], **common, **head))
    return [Fact(slice_, NOW + draw(st.integers(0, 30))) for slice_ in slices]


def _clocked(events: list[Event], start: int, draw: st.DrawFn) -> list[Fact]:
    """Give events the times of their messages: they never go back, and several may share one."""
    steps = draw(st.lists(st.integers(0, 3), min_size=len(events), max_size=len(events)))
    times = [start + sum(steps[: number + 1]) for number in range(len(events))]
    return [Fact(event, at) for event, at in zip(events, times, strict=True)]


@st.composite
def readings(draw: st.DrawFn) -> tuple[list[History], list[list[Fact]]]:
    """Return some jobs, and batches in which their messages are read: shuffled, and some of them twice."""
    jobs = draw(st.lists(histories(), min_size=1, max_size=2))
    facts = [fact for history in jobs for fact in history.facts]
    again = draw(st.lists(st.sampled_from(facts), max_size=6))
    order = draw(st.permutations([*facts, *again]))
    cuts = sorted(draw(st.sets(st.integers(0, len(order)), max_size=5)))
    ends = [0, *cuts, len(order)]
    return jobs, [list(order[start:end]) for start, end in itertools.pairwise(ends)]


@dataclass
class Expected:
    """What a task's row should say; ``last`` is the event of the highest version, and when it came."""

    position: int
    inserted_at: int
    updated_at: int
    status: TaskStatus | None
    last: Fact | None


def expected_tasks(history: History) -> list[Expected]:
    rows = [_told(history, index) for index in range(history.total)]
    ended = [row for row in rows if row.status in FINAL]
    progressed = max((row.updated_at for row in ended), default=0)
    failed = any(row.status in UNSUCCESSFUL for row in ended)
    for row in rows:
        starts = history.strategy is Strategy.CONCURRENT or row.position == 0
        turn = row.position == len(ended) and not failed and not starts
        if row.status is None:
            row.status = TaskStatus.PENDING if starts or turn else TaskStatus.NEW
            row.updated_at = max(row.updated_at, progressed) if turn else row.updated_at
    return rows


def _told(history: History, index: int) -> Expected:
    slice_at = next(fact.at for fact in history.slices if _covers(fact.content, index))
    events = [fact for fact in history.events if _covers(fact.content, index)]
    first = min([slice_at, *(fact.at for fact in events)])
    if not events:
        return Expected(index, first, slice_at, None, None)
    last = max(events, key=lambda fact: _event(fact).version)
    return Expected(index, first, last.at, TASK_TRANSITIONS[type(_event(last))].target, last)


def _event(fact: Fact) -> Event:
    assert isinstance(fact.content, Event)
    return fact.content


def _covers(content: Content, index: int) -> bool:
    if isinstance(content, Slice):
        return content.first <= index < content.first + len(content.tasks)
    assert isinstance(content, Event)
    return content.index <= index < content.index + (content.count if isinstance(content, TasksAborted) else 1)


def milliseconds(moment: Any) -> int | None:
    return None if moment is None else round(moment.timestamp() * 1000)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(reading=readings())
async def test_any_reading_of_the_log_ends_in_the_same_rows(
    projection: Database, reading: tuple[list[History], list[list[Fact]]]
) -> None:
    jobs, batches = reading
    for batch in batches:
        await project(projection, batch)

    for history in jobs:
        wanted = expected_tasks(history)
        found = await task_rows(projection, history.job)
        await _compare_job(projection, history, wanted)
        for want, row in zip(wanted, found, strict=True):
            assert row["status"] == want.status
            assert milliseconds(row["inserted_at"]) == want.inserted_at
            assert milliseconds(row["updated_at"]) == want.updated_at
            assert milliseconds(row["ended_at"]) == (want.updated_at if want.status in FINAL else None)
            assert row["result"] == (getattr(want.last.content, "result", None) if want.last else None)
            assert row["callback"]["args"] == [want.position]
            assert row["priority"] == (0 if history.strategy is Strategy.CONCURRENT else want.position + 1)


async def _compare_job(projection: Database, history: History, wanted: list[Expected]) -> None:
    row = await job_row(projection, history.job)
    ended = [want for want in wanted if want.status in FINAL]
    unsuccessful = [want for want in ended if want.status in UNSUCCESSFUL]
    assert (row["ended"], row["unsuccessful"], row["total"]) == (len(ended), len(unsuccessful), history.total)
    assert row["status"] == job_status(history.total, len(ended), len(unsuccessful))
    first = min(fact.at for fact in history.facts)
    assert milliseconds(row["inserted_at"]) == first
    last = max((want.updated_at for want in ended), default=first)
    assert milliseconds(row["updated_at"]) == last
    assert milliseconds(row["ended_at"]) == (last if len(ended) == history.total else None)
    assert (row["name"], row["meta"]) == ("named", {"request_id": "r-1"})
