"""What PostgreSQL and the events topic say at the end of a round."""

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from aiokafka import AIOKafkaConsumer, TopicPartition
from sqlalchemy import select

from jabba.database.connection import Database, Row
from jabba.database.schema import jobs, tasks
from jabba.errors import Unavailable
from jabba.jobs.lifecycle import FINAL, TASK_TRANSITIONS, Event, JobClosed, TasksAborted
from jabba.messages.events import decode_events
from jabba.settings import Settings

_AT_A_TIME = 500

Task = tuple[UUID, int]
"""A job's id and an index in it."""


@dataclass
class Projection:
    """The rows of some jobs, and the rows of their tasks in order."""

    jobs: dict[UUID, Row] = field(default_factory=dict)
    tasks: dict[UUID, list[Row]] = field(default_factory=dict)


def unended(settings: Settings, wanted: Iterable[UUID]) -> set[UUID]:
    """Return which of these jobs have not ended, as far as PostgreSQL knows; all of them while it is away."""
    left = set(wanted)
    try:
        return left - asyncio.run(_ended(settings, left))
    except Unavailable:
        return left


def read_projection(settings: Settings, wanted: Iterable[UUID]) -> Projection:
    """Return what PostgreSQL has of these jobs."""
    return asyncio.run(_projection(settings, list(wanted)))


async def _ended(settings: Settings, wanted: set[UUID]) -> set[UUID]:
    found: set[UUID] = set()
    async with _database(settings) as database:
        for part in _parts(list(wanted)):
            rows = await database.fetch(select(jobs.c.id).where(jobs.c.id.in_(part), jobs.c.ended_at.is_not(None)))
            found.update(UUID(str(row["id"])) for row in rows)
    return found


async def _projection(settings: Settings, wanted: list[UUID]) -> Projection:
    found = Projection()
    async with _database(settings) as database:
        for part in _parts(wanted):
            for row in await database.fetch(jobs.select().where(jobs.c.id.in_(part))):
                found.jobs[UUID(str(row["id"]))] = row
            statement = tasks.select().where(tasks.c.job_id.in_(part)).order_by(tasks.c.job_id, tasks.c.position)
            for row in await database.fetch(statement):
                found.tasks.setdefault(UUID(str(row["job_id"])), []).append(row)
    return found


def _database(settings: Settings) -> Database:
    return Database(settings.database.get_secret_value(), size=1, statement_seconds=60.0)


def _parts(wanted: list[UUID]) -> Iterator[list[str]]:
    for start in range(0, len(wanted), _AT_A_TIME):
        yield [str(job) for job in wanted[start : start + _AT_A_TIME]]


class EventLog:
    """Reads the events topic on and on; ``outcomes`` answers what each task was said to have come to."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._next: dict[TopicPartition, int] = {}

    def outcomes(self) -> dict[Task, list[tuple[str, Any]]]:
        """Answer, of what is new since the last call, the different outcomes of each task: status and result."""
        found: dict[Task, list[tuple[str, Any]]] = {}
        for event in asyncio.run(self._read()):
            target = TASK_TRANSITIONS[type(event)].target
            if target not in FINAL:
                continue
            count = event.count if isinstance(event, TasksAborted) else 1
            for index in range(event.index, event.index + count):
                told = found.setdefault((event.job, index), [])
                outcome = (str(target), getattr(event, "result", None))
                if outcome not in told:
                    told.append(outcome)
        return found

    async def _read(self) -> list[Event]:
        topic = self._settings.topics.events
        places = [TopicPartition(topic, number) for number in range(self._settings.partitions)]
        events: list[Event] = []
        async with AIOKafkaConsumer(bootstrap_servers=self._settings.kafka, enable_auto_commit=False) as consumer:
            consumer.assign(places)
            ends = await consumer.end_offsets(places)
            for place in places:
                consumer.seek(place, self._next.get(place, 0))
            while any([await consumer.position(place) < end for place, end in ends.items()]):
                for messages in (await consumer.getmany(timeout_ms=500)).values():
                    for message in messages:
                        events += [one for one in decode_events(message.value) if not isinstance(one, JobClosed)]
            self._next = {place: await consumer.position(place) for place in places}
        return events
