"""A simulated projector: the real fold, and PostgreSQL's part of it said once more in Python."""

import asyncio
from collections.abc import Iterable
from typing import Any
from uuid import UUID

from jabba.lifecycle import (
    FINAL,
    TASK_TRANSITIONS,
    UNSUCCESSFUL,
    JobStatus,
    Strategy,
    TaskStatus,
    job_status,
    precursors,
)
from jabba.persistence.projection import Batch, Fact, ImpossibleFact, fold
from jabba.persistence.writes import JOB_COLUMNS, TASK_COLUMNS
from jabba.slices import decode_message
from jabba.topics import decode_events
from tests.simulation.kafka import Kafka, Message
from tests.simulation.loop import Process
from tests.simulation.rules import TOPICS
from tests.simulation.world import World

Row = dict[str, Any]
Place = tuple[str, int]

_TOLD_BY_SLICES = ("n_slices", "total", "strategy", "type", "digest", "name", "meta")
_SPECIFIED = ("priority", "name", "callback", "meta")
_HAPPENED = ("status", "updated_at", "ended_at", "attempt", "result", "run", "epoch", "seq")


class Database:
    """The rows of PostgreSQL; ``write`` is one transaction, statement by statement what ``persistence.writes`` does."""

    def __init__(self) -> None:
        self.jobs: dict[UUID, Row] = {}
        self.tasks: dict[UUID, Row] = {}

    def write(self, batch: Batch) -> None:
        """Write a batch."""
        for id_, told in batch.jobs.items():
            if id_ in self.jobs and self.jobs[id_]["digest"] is not None:
                told.check_digest(self.jobs[id_]["digest"])
        for values in batch.job_values():
            self._lock_job(_row(JOB_COLUMNS, values))
        ended = [self._write_task(_row(TASK_COLUMNS, values)) for values in batch.task_values()]
        changed = [row for row in ended if row is not None]
        for row in changed:
            self.count(self.jobs[row["job_id"]], row)
        for job in batch.stepped | {row["job_id"] for row in changed}:
            self._make_next_due(self.jobs[job])

    def count(self, job: Row, task: Row) -> None:
        """Count a task that was not final before this transaction and is now."""
        job["updated_at"] = _latest(_progressed_at(job), task["updated_at"])
        job["ended"] += 1
        job["unsuccessful"] += task["status"] in UNSUCCESSFUL
        job["ended_at"] = _earliest(job["ended_at"], _all_ended_at(job))
        _judge(job)

    def _lock_job(self, new: Row) -> None:
        job = self.jobs.setdefault(
            new["id"], new | {"ended": 0, "unsuccessful": 0, "ended_at": None, "closed_at": None}
        )
        progressed_at = _progressed_at(job)
        job["ended_at"] = _earliest(job["ended_at"], _all_ended_at(job | {"total": job["total"] or new["total"]}))
        for name in (*_TOLD_BY_SLICES, "reason"):
            job[name] = new[name] if job[name] is None else job[name]
        job["run"] = max(job["run"], new["run"])
        job["inserted_at"] = min(job["inserted_at"], new["inserted_at"])
        job["closed_at"] = _earliest(job["closed_at"], new["closed_at"])
        job["updated_at"] = _latest(progressed_at, new["closed_at"]) or job["inserted_at"]
        job["ended_at"] = _earliest(job["ended_at"], job["closed_at"])
        _judge(job)

    def _write_task(self, new: Row) -> Row | None:
        """Insert or update a task; answer its row if it has ended with this."""
        task = self.tasks.get(new["id"])
        if task is None:
            self.tasks[new["id"]] = new
            return new if new["status"] in FINAL else None
        was_final = task["status"] in FINAL
        task["inserted_at"] = min(task["inserted_at"], new["inserted_at"])
        for name in _SPECIFIED:
            task[name] = new[name] if task[name] is None else task[name]
        if self.follows(new, task):
            task.update({name: new[name] for name in _HAPPENED})
        return task if task["status"] in FINAL and not was_final else None

    @staticmethod
    def follows(new: Row, known: Row) -> bool:
        """Answer whether an event may change a task: it is younger, and the table of transitions has a path."""
        later = (new["run"], new["epoch"], new["seq"]) > (known["run"], known["epoch"], known["seq"])
        return later and any(
            known["status"] in precursors(event)
            for event, path in TASK_TRANSITIONS.items()
            if path.target is new["status"]
        )

    def _make_next_due(self, job: Row) -> None:
        if job["strategy"] is not Strategy.SEQUENTIAL or job["status"] is not JobStatus.PENDING:
            return
        for task in self.tasks.values():
            if task["job_id"] == job["id"] and task["position"] == job["ended"] and task["status"] is TaskStatus.NEW:
                task["status"] = TaskStatus.PENDING


def _row(columns: Iterable[Any], values: list[Any]) -> Row:
    return {column.name: value for column, value in zip(columns, values, strict=True)}


def _judge(job: Row) -> None:
    status = job_status(job["total"], job["ended"], job["unsuccessful"])
    job["status"] = status if job["closed_at"] is None else JobStatus.FAILED


def _progressed_at(job: Row) -> int | None:
    """Answer when the job was last brought further; None before its first outcome."""
    return job["updated_at"] if job["ended"] > 0 or job["closed_at"] is not None else None


def _all_ended_at(job: Row) -> int | None:
    return job["updated_at"] if job["total"] is not None and job["ended"] >= job["total"] else None


def _earliest(*times: int | None) -> int | None:
    return min((time for time in times if time is not None), default=None)


def _latest(*times: int | None) -> int | None:
    return max((time for time in times if time is not None), default=None)


class Projector:
    """Reads slices and events in batches of any mixture, and may die between a transaction and its commit."""

    def __init__(self, world: World, kafka: Kafka) -> None:
        self._world = world
        self._kafka = kafka
        self._committed: dict[Place, int] = {}
        self._lives = 0
        self.database = Database()
        self.start()

    def start(self) -> None:
        """Begin a life."""
        self._lives += 1
        self.process = Process(self._world.loop, f"projector.{self._lives}")
        self.process.start(self._live())

    def caught_up(self, *topics: str) -> bool:
        """Answer whether everything in these topics is in the database."""
        return not any(topic in topics for topic, _ in self._ready(self._committed))

    async def _live(self) -> None:
        positions = dict(self._committed)
        while True:
            ready = self._ready(positions)
            if not ready:
                await self._kafka.news()
                continue
            chosen = self._world.rng.sample(ready, self._world.rng.randint(1, len(ready)))
            facts = [fact for place in chosen for fact in self._take(place, positions)]
            await asyncio.sleep(self._world.delay())
            self._write(facts)
            await asyncio.sleep(self._world.delay())
            self._committed.update(positions)

    def _write(self, facts: list[Fact]) -> None:
        """Write facts, without those that nobody in Jabba has sent."""
        try:
            self.database.write(fold(facts))
        except ImpossibleFact:
            if len(facts) > 1:
                for fact in facts:
                    self._write([fact])

    def _ready(self, positions: dict[Place, int]) -> list[Place]:
        places = [(topic, n) for topic in (TOPICS.tasks, TOPICS.events) for n in range(self._kafka.partitions)]
        return [place for place in places if self._kafka.partition(*place).end > positions.get(place, 0)]

    def _take(self, place: Place, positions: dict[Place, int]) -> list[Fact]:
        messages = self._kafka.partition(*place).since(positions.get(place, 0))
        taken = messages[: self._world.rng.randint(1, len(messages))]
        positions[place] = taken[-1].offset + 1
        return [fact for message in taken for fact in facts_in(place[0], message)]


def facts_in(topic: str, message: Message) -> list[Fact]:
    """Answer the facts of a message; none if nobody can read it."""
    decode: Any = decode_message if topic == TOPICS.tasks else decode_events
    try:
        return [Fact(content, message.at) for content in decode(message.value or b"")]
    except ValueError:
        return []
