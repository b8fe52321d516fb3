"""Watching: the events of a job as they happen, over connections that may break."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any
from uuid import UUID

from jabba.client.answers import EVENT, MESSAGE
from jabba.client.connection import Connection, log_retry, logger
from jabba.client.forms import Filter, listed
from jabba.client.sse import SentEvent, SentEvents
from jabba.concurrency.backoff import Backoff
from jabba.errors import Refused, RequestError, Unauthorized, Unavailable
from jabba.jobs import json_codec
from jabba.jobs.lifecycle import Version
from jabba.jobs.models import JobEvent
from jabba.printable import printable

_PATH = "/v1/events"
_EVENT_STREAM = "text/event-stream"

_IDLE_SECONDS = 60.0
"""A server that says nothing for so long, not even that it is alive, is gone."""

_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 5.0

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
    backoff, events = Backoff(_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS), SentEvents()
    url = connection.url_of(_PATH)
    while True:
        trouble = Unavailable(f"{url} ended the stream")
        try:
            async with aclosing(_sent(connection, query, events)) as sent:
                async for one in sent:
                    backoff.reset()
                    event = EVENT.of_text(url, one.data)
                    if event.event == _LAST:
                        yield event
                        return
                    if news.is_new(event):
                        yield event
        except Refused:
            raise
        except Unavailable as error:
            trouble = error
        pause = backoff.next()
        log_retry(trouble, pause)
        await asyncio.sleep(pause)


async def within(
    seconds: float | None, events: AsyncGenerator[JobEvent], job: UUID | str | None
) -> AsyncGenerator[JobEvent]:
    """Return events for so many seconds at most.

    Raises:
        TimeoutError: they have not ended by then.
    """
    deadline = None if seconds is None else asyncio.get_running_loop().time() + seconds
    of_job = "" if job is None else f" of job {job}"
    async with aclosing(events):
        while True:
            try:
                async with asyncio.timeout_at(deadline):
                    event = await anext(events, None)
            except TimeoutError as error:
                raise TimeoutError(f"the events{of_job} have not ended within {seconds} s") from error
            if event is None:
                return
            yield event


async def _sent(connection: Connection, query: Mapping[str, str], events: SentEvents) -> AsyncGenerator[SentEvent]:
    """Return what one connection brings, from where the one before broke off."""
    events.begin_again()
    headers = {"Last-Event-ID": events.last_id} if events.last_id else {}
    url = connection.url_of(_PATH)
    async with connection.streaming("GET", _PATH, idle_seconds=_IDLE_SECONDS, params=query, headers=headers) as answer:
        if answer.content_type != _EVENT_STREAM:
            raise RequestError(f"{url} is not Jabba: it answered {printable(answer.content_type)}, not {_EVENT_STREAM}")
        async for chunk in answer.content.iter_any():
            for one in events.feed(chunk):
                if one.kind == Unauthorized.type:
                    raise Unauthorized(MESSAGE.of_text(url, one.data))
                if one.kind == _GAP:
                    logger.warning("events are missing: %s", printable(MESSAGE.of_text(url, one.data)))
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
