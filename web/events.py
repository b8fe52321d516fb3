"""``GET /v1/events``: what happens, as it happens, as server-sent events."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import Annotated, Literal, NamedTuple
from uuid import UUID

from aiohttp.web import Request, Response, StreamResponse
from multidict import MultiMapping
from pydantic import Field
from pydantic_core import to_json

from jabba.auth.roles import Permission, TypeScope
from jabba.errors import InvalidRequest, NotFound, Unauthorized, Unavailable
from jabba.jobs import ids
from jabba.jobs.models import Job, JobEvent
from jabba.messages.events import KINDS
from jabba.printable import quoted
from jabba.search import EVENTS
from web import requests, schemas
from web.api import HEADERS, ApiView, admit, backends, caller
from web.operations import EVENT_STREAM, Example, Operation, Parameter, operation
from web.parameters import FILTER, QUERY
from web.streams.cursor import Mark, read_mark
from web.streams.hub import Selection
from web.streams.stream import Stream, notice
from web.streams.stream_events import EventFilter, StreamEvent

logger = logging.getLogger(__name__)

STALL_SECONDS = 60.0
"""How long a reader may take nothing of what waits for it."""

JOB_ENDED = "job_ended"
"""The last event of a stream of one job: no fact of the log, but PostgreSQL's word."""

_LAST_EVENT_ID = "last_event_id"
_BEGINNINGS = ("now", "beginning")
_Kinds = Annotated[str, Field(pattern="^({0})(,({0}))*$".format("|".join(sorted(KINDS))))]
_PARAMETERS = (
    Parameter("job", schemas.Id, "Only events of this job."),
    Parameter("event", _Kinds, "Only events of these names.", repeated=True),
    replace(
        FILTER,
        what="Only events that meet every condition, as JSON: the `filter` of a search, on the fields of events.",
        example='[["type", "equal", "shipping"], ["status", "in", ["FAILED", "RESCUED"]]]',
    ),
    replace(QUERY, example="job.meta.tenant:x -status:PROCESSED"),
    Parameter("from", Literal["now", "beginning"], "Where the stream of a job begins."),
    Parameter(_LAST_EVENT_ID, schemas.MarkText, "As the header `Last-Event-ID`."),
    Parameter("Last-Event-ID", schemas.MarkText, "The id of the last event that was received.", place="header"),
)

# The clocks of brokers, of which one has stamped the slice and another one may have stamped an event.
_BROKERS_SKEW_SECONDS = 5.0

_STREAM_HEADERS = {
    **HEADERS,
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store",
    # Without it, nginx would collect the stream before it passes it on.
    "X-Accel-Buffering": "no",
}


class Wanted(NamedTuple):
    """What a caller asks to hear."""

    job: UUID | None
    kinds: frozenset[str]
    filter: EventFilter
    types: TypeScope
    from_beginning: bool
    last_event_id: str | None

    @property
    def selection(self) -> Selection:
        """Return it as the hub takes it."""
        job = None if self.job is None else str(self.job)
        if self.filter.of_job:
            return Selection(job, self._takes, self._asks)
        chosen = self.kinds or self.filter.own or self.types.limited
        return Selection(job, self._takes) if chosen else Selection(job)

    def _takes(self, one: StreamEvent) -> bool:
        return self._may_take(one) and one.meets(self.filter)

    def _asks(self, one: StreamEvent) -> bool:
        return self._may_take(one) and one.may_meet(self.filter)

    def _may_take(self, one: StreamEvent) -> bool:
        return (not self.kinds or one.kind in self.kinds) and self._may_hear(one)

    def _may_hear(self, one: StreamEvent) -> bool:
        """Return whether the key may: of a job that it may see all, else what says that it is of the key's types."""
        if self.job is not None or not self.types.limited:
            return True
        type_ = one.held("type")
        return type_ is not None and self.types.allows(type_)


_OPERATION = Operation(
    "Hear events as they happen",
    "Server-sent events: each has the name of its event, the event itself as data, and an id to go on from "
    "with `Last-Event-ID`. A stream of one job ends with it, with an event `job_ended`; every stream ends with "
    "its key, with an event `unauthorized`. `q` and `filter` choose among the events, also by what their jobs "
    "are: `q=job.meta.tenant:x status:FAILED`; such a stream waits for PostgreSQL to tell. docs/protocol.md "
    "has all events.",
    answer=str,
    needs=Permission.READ,
    # It finds jobs, as a search does.
    needs_without={"job": Permission.SEARCH},
    content=EVENT_STREAM,
    item=JobEvent,
    parameters=_PARAMETERS,
    errors=(NotFound, InvalidRequest, Unavailable),
    example=Example({"event": "task_failed,task_rescued"}),
)


class Events(ApiView):
    """``GET /v1/events?job=…&event=…`` tells events as they stand in the log; a stream of one job ends with it."""

    view_name = "events"
    view_path = "/v1/events"

    @operation(_OPERATION)
    async def get(self, request: Request) -> StreamResponse:
        """Return the stream."""
        wanted = read_wanted(request)
        job = await _job_if_available(request, wanted.job)
        mark = await _mark(request, wanted, job)
        informed = bool(wanted.filter.of_job)
        farewell = asyncio.create_task(_farewell(request, wanted.job, informed=informed)) if wanted.job else None
        try:
            stream = Stream(backends(request).feed, wanted.selection, mark, farewell)
            async with aclosing(stream.blocks()) as blocks, aclosing(_while_admitted(request, blocks)) as admitted:
                return await _send(request, admitted)
        finally:
            if farewell is not None:
                farewell.cancel()

    async def head(self, request: Request) -> Response:
        """Return the headers alone; a stream has no end to wait for."""
        _OPERATION.require(request)
        requests.refuse_unknown(request.query, frozenset(one.name for one in _PARAMETERS))
        read_wanted(request)
        return Response(headers=_STREAM_HEADERS)


def read_wanted(request: Request) -> Wanted:
    """Read the parameters, and the id with which a browser comes back.

    Raises:
        InvalidRequest: names the parameter.
    """
    query = request.query
    kinds = [kind for text in query.getall("event", []) for kind in text.split(",")]
    for kind in kinds:
        if kind not in KINDS:
            raise InvalidRequest.at("event", f"{quoted(kind)} is no event: {', '.join(sorted(KINDS))}")
    begin = query.get("from", _BEGINNINGS[0])
    if begin not in _BEGINNINGS:
        raise InvalidRequest.at("from", f"must be one of {', '.join(_BEGINNINGS)}")
    if begin != _BEGINNINGS[0] and "job" not in query:
        raise InvalidRequest.at("from", "only the stream of one job has a beginning; name it with job=")
    last = request.headers.get("Last-Event-ID") or query.get(_LAST_EVENT_ID)
    job, begins = _read_job(query.get("job")), begin != _BEGINNINGS[0]
    return Wanted(job, frozenset(kinds), _read_filter(query), caller(request).types, begins, last)


def _read_filter(query: MultiMapping[str]) -> EventFilter:
    written = query.get("filter"), query.getall("q", [])
    return EventFilter(repr(written), requests.read_conditions(*written, EVENTS))


def _read_job(text: str | None) -> UUID | None:
    try:
        return None if text is None else UUID(text)
    except ValueError as error:
        raise InvalidRequest.at("job", f"{quoted(text)} is no UUID") from error


async def _job_if_available(request: Request, job: UUID | None) -> Job | None:
    """Return the job, or None while PostgreSQL cannot tell: the stream needs it not."""
    types = caller(request).types
    try:
        return None if job is None else await backends(request).job(job, None, types)
    except Unavailable:
        if types.limited:
            raise
        return None


async def _mark(request: Request, wanted: Wanted, job: Job | None) -> Mark | None:
    feed = backends(request).feed
    if wanted.last_event_id is not None:
        return read_mark(wanted.last_event_id, _LAST_EVENT_ID, await feed.partitions())
    if wanted.job is None or not wanted.from_beginning:
        return None
    if job is not None:
        since = job.inserted_at.timestamp() - _BROKERS_SKEW_SECONDS
    else:
        since = ids.job_seconds(wanted.job) - ids.MAX_SKEW_SECONDS
    return await feed.since(since, str(wanted.job))


async def _farewell(request: Request, job: UUID, *, informed: bool) -> bytes:
    """Return the last block once a job has ended and the streams have told all of it."""
    ended = await backends(request).ended(job)
    if ended is None:
        return b""
    await backends(request).told(job, informed=informed)
    document = to_json({"event": JOB_ENDED, "job": str(job), "final": ended})
    return b"event: %b\ndata: %b\n\n" % (JOB_ENDED.encode(), document)


async def _while_admitted(request: Request, blocks: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    """Return blocks until the key is over with which the stream was opened, which may last for weeks, and say so."""
    seconds, now = backends(request).settings.key_seconds, asyncio.get_running_loop().time
    admitted_at = now()
    async for block in blocks:
        if now() > admitted_at + seconds:
            try:
                await admit(request)
            except Unauthorized as error:
                yield notice(error.type, error.message)
                return
            admitted_at = now()
        yield block


async def _send(request: Request, blocks: AsyncGenerator[bytes]) -> StreamResponse:
    """Send blocks until there are no more, or the reader is gone or takes nothing."""
    # Whatever can be refused is refused before the answer begins.
    chunk = await anext(blocks)
    response = StreamResponse(headers=_STREAM_HEADERS)
    await response.prepare(request)
    try:
        while True:
            async with asyncio.timeout(STALL_SECONDS):
                await response.write(chunk)
            chunk = await anext(blocks)
    except StopAsyncIteration:
        pass
    except (ConnectionError, TimeoutError, Unavailable) as error:
        logger.debug("live stream broke off", extra={"error": repr(error)})
        if request.transport is not None:
            request.transport.abort()
    return response
