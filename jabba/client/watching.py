"""Watching: the events of a job as they happen, over connections that may break."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from uuid import UUID

from jabba.client.connection import Connection
from jabba.client.sse import SentEvent, SentEvents
from jabba.errors import Unauthorized, Unavailable
from jabba.lifecycle import Version
from jabba.models import JobEvent

_IDLE_SECONDS = 60.0
"""A server that says nothing for so long, not even that it is alive, is gone."""

_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 5.0
_PAUSE_GROWTH = 2.0

_LAST = "job_ended"
_OF_THE_STREAM = frozenset({"lagged", "gap"})


async def watch(connection: Connection, job: UUID | str) -> AsyncGenerator[JobEvent]:
    """Answer the events of a job from its beginning to its end; see ``Client.watch``."""
    news = _News()
    pause, events = _FIRST_PAUSE_SECONDS, SentEvents()
    while True:
        try:
            async with aclosing(_sent(connection, job, events)) as sent:
                async for one in sent:
                    pause = _FIRST_PAUSE_SECONDS
                    event = JobEvent.model_validate(json.loads(one.data))
                    if event.event == _LAST:
                        yield event
                        return
                    if news.is_new(event):
                        yield event
        except Unavailable:
            pass
        await asyncio.sleep(pause)
        pause = min(pause * _PAUSE_GROWTH, _LONGEST_PAUSE_SECONDS)


async def _sent(connection: Connection, job: UUID | str, events: SentEvents) -> AsyncGenerator[SentEvent]:
    """Answer what one connection brings, from where the one before broke off."""
    events.begin_again()
    headers = {"Last-Event-ID": events.last_id} if events.last_id else {}
    query = {"job": str(job), "from": "beginning"}
    async with connection.streaming(
        "GET", "/v1/events", idle_seconds=_IDLE_SECONDS, params=query, headers=headers
    ) as stream:
        async for chunk in stream.iter_any():
            for one in events.feed(chunk):
                if one.kind == Unauthorized.type:
                    raise Unauthorized(json.loads(one.data)["message"])
                if one.kind not in _OF_THE_STREAM:
                    yield one


class _News:
    """Tells what is new from what the log repeats: of each task, only the highest version counts."""

    def __init__(self) -> None:
        self._highest: dict[int | None, Version] = {}

    def is_new(self, event: JobEvent) -> bool:
        """Answer whether an event has a higher version than all before it of the same task."""
        version = Version(event.run, event.epoch, event.seq)
        if version <= self._highest.get(event.index, _NONE):
            return False
        self._highest[event.index] = version
        return True


_NONE = Version(-1, -1, -1)
