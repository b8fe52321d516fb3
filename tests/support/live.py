"""Events written to the log as workers write them, and read as live streams tell them."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any
from uuid import UUID

from aiohttp import ClientSession

from jabba.client.sse import SentEvent, SentEvents
from jabba.jobs import ids
from jabba.jobs.lifecycle import Event, TaskStarted, TaskSucceeded, Version
from jabba.kafka.writer import Emitter, Log
from jabba.messages.events import encode_event
from jabba.settings import Settings


def new_jobs(count: int) -> list[UUID]:
    return [ids.new_job_id(time.time()) for _ in range(count)]


def transitions(job: UUID, tasks: int, type_: str | None = None) -> list[Event]:
    """Return two events for each task of a sequential job, in order."""
    events: list[Event] = []
    for index in range(tasks):
        events.append(TaskStarted(job, index, Version(0, 1, 2 * index), type=type_))
        events.append(TaskSucceeded(job, index, Version(0, 1, 2 * index + 1), result={"n": index}, type=type_))
    return events


@asynccontextmanager
async def emitter(settings: Settings) -> AsyncIterator[Emitter]:
    """Return what workers send their events with."""
    async with Log(settings.kafka_access) as log:
        made = Emitter(partial(log.append, settings.topics.events), settings.partitions)
        yield made
        await made.close()


async def emit(settings: Settings, events: Iterable[Event]) -> None:
    """Send events, and wait until the log has them."""
    async with emitter(settings) as sender:
        await asyncio.gather(*(sender.send(event.job, encode_event(event)) for event in events))


async def emit_interleaved(settings: Settings, jobs: Sequence[UUID], tasks: int, pause: float) -> None:
    """Send the transitions of jobs step by step, all jobs side by side."""
    async with emitter(settings) as sender:
        for step in zip(*(transitions(job, tasks) for job in jobs), strict=True):
            await asyncio.gather(*(sender.send(event.job, encode_event(event)) for event in step))
            await asyncio.sleep(pause)


@asynccontextmanager
async def listening(http: ClientSession, **query: str) -> AsyncIterator[AsyncIterator[SentEvent]]:
    """Open a stream; return its events."""
    async with http.get("/v1/events", params=query) as response:
        assert response.status == 200, await response.text()
        assert response.content_type == "text/event-stream"
        yield told(response.content.iter_any(), SentEvents())


async def told(chunks: AsyncIterator[bytes], events: SentEvents) -> AsyncIterator[SentEvent]:
    async for chunk in chunks:
        for one in events.feed(chunk):
            yield one


async def first(stream: AsyncIterator[SentEvent], count: int) -> list[SentEvent]:
    """Return what a stream tells next, without the signs that it waits for PostgreSQL."""
    found: list[SentEvent] = []
    while len(found) < count:
        one = await anext(stream)
        if one.kind != "delayed":
            found.append(one)
    return found


def data(event: SentEvent) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(event.data)
    return document


def places(events: Iterable[SentEvent]) -> list[tuple[str, int]]:
    """Return job and number of each transition."""
    return [(data(one)["job"], data(one)["seq"]) for one in events]
