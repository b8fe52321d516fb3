"""Watching: the events of a job as they happen, over connections that may break."""

import asyncio
import json
import logging
from collections import OrderedDict
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any
from uuid import UUID

from jabba.client.connection import Connection
from jabba.client.forms import Filter, listed
from jabba.client.sse import SentEvent, SentEvents
from jabba.errors import Unauthorized, Unavailable
from jabba.jobs import json_codec
from jabba.jobs.lifecycle import Version
from jabba.jobs.models import JobEvent

logger = logging.getLogger(__name__)

_IDLE_SECONDS = 60.0
"""A server that says nothing for so long, not even that it is alive, is gone."""

_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 5.0
_PAUSE_GROWTH = 2.0

_LAST = "job_ended"
_GAP = "gap"
_OF_THE_STREAM = frozenset({"delayed", _GAP, "lagged", Unauthorized.type})
"""With them a stream speaks of itself; why it ended is told when it is opened again."""

_REMEMBERED = 10_000
"""Tasks of which the last version is known, where there is no end of jobs: repeats come soon, when a worker died."""


async def watch(connection: Connection, job: UUID | str | None, conditions: Filter) -> AsyncGenerator[JobEvent]:
    """Return the events of a job from its beginning to its end, or those of all jobs; see ``Client.watch``."""
    query = {} if job is None else {"job": str(job), "from": "beginning"}
    query |= {"q": conditions} if isinstance(conditions, str) else _as_json(listed(conditions))
    news = _News(_REMEMBERED if job is None else None)
    pause, events = _FIRST_PAUSE_SECONDS, SentEvents()
    while True:
        try:
            async with aclosing(_sent(connection, query, events)) as sent:
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


async def _sent(connection: Connection, query: Mapping[str, str], events: SentEvents) -> AsyncGenerator[SentEvent]:
    """Return what one connection brings, from where the one before broke off."""
    events.begin_again()
    headers = {"Last-Event-ID": events.last_id} if events.last_id else {}
    async with connection.streaming(
        "GET", "/v1/events", idle_seconds=_IDLE_SECONDS, params=query, headers=headers
    ) as stream:
        async for chunk in stream.iter_any():
            for one in events.feed(chunk):
                if one.kind == Unauthorized.type:
                    raise Unauthorized(json.loads(one.data)["message"])
                if one.kind == _GAP:
                    logger.warning("not all of what happened is told: %s", json.loads(one.data)["message"])
                if one.kind not in _OF_THE_STREAM:
                    yield one


def _as_json(conditions: Sequence[Any]) -> dict[str, str]:
    return {"filter": json_codec.encode(conditions).decode()} if conditions else {}


class _News:
    """Tells what is new from what the log repeats: of each task, only the highest version counts."""

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._highest: OrderedDict[tuple[UUID, int | None], Version] = OrderedDict()

    def is_new(self, event: JobEvent) -> bool:
        """Return whether an event has a higher version than all before it of the same task."""
        task, version = (event.job, event.index), Version(event.run, event.epoch, event.seq)
        if version <= self._highest.get(task, _NONE):
            return False
        self._highest[task] = version
        self._highest.move_to_end(task)
        if self._limit is not None and len(self._highest) > self._limit:
            self._highest.popitem(last=False)
        return True


_NONE = Version(-1, -1, -1)
