"""Submitting many jobs: pieces of them travel in one request each, and what was not acknowledged is sent again."""

import asyncio
import io
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from jabba.client.answers import DELIVERED
from jabba.client.connection import Connection, log_retry, pauses
from jabba.clock import SystemClock
from jabba.concurrency.memory_budget import MemoryBudget
from jabba.concurrency.ordered import map_ordered
from jabba.errors import InvalidRequest, Refused, RequestError, Unavailable
from jabba.jobs import ids
from jabba.jobs.models import encode_document
from jabba.producer.submission import Delivery, Submitted, each, given_id

PIECE_JOBS = 1000
PIECE_BYTES = 4 * 1024 * 1024
"""So many jobs, and bytes of them, share a request."""

_PIECES = 2
"""Requests that are under way at a time: the next one is read while one is answered."""

_PATH = "/v1/jobs/bulk"
_HEADERS = {"Content-Type": "application/x-ndjson"}


@dataclass(frozen=True, slots=True)
class _Outgoing:
    """A job as it is sent; ``unnamed`` is the document without the id that was made here."""

    number: int
    id: UUID | None
    line: bytes
    unnamed: Mapping[str, Any] | None = None


_Piece = list[_Outgoing | Delivery]


async def create_jobs(connection: Connection, jobs: Iterable[Any] | AsyncIterable[Any]) -> AsyncGenerator[Delivery]:
    """Submit jobs, and return what became of each, in their order; see ``Client.create_jobs``."""
    room = MemoryBudget(_PIECES, _PIECES * PIECE_BYTES)
    sender = _Sender(connection)
    async with aclosing(map_ordered(_pieces(jobs), sender.deliver, room=room, size=_size)) as batches:
        async for batch in batches:
            for piece in batch:
                for delivery in piece:
                    yield delivery


async def _pieces(jobs: Iterable[Any] | AsyncIterable[Any]) -> AsyncGenerator[_Piece]:
    piece: _Piece = []
    number = size = 0
    async for document in each(jobs):
        one = _outgoing(number, document)
        length = len(one.line) if isinstance(one, _Outgoing) else 0
        if piece and (len(piece) == PIECE_JOBS or size + length > PIECE_BYTES):
            yield piece
            piece, size = [], 0
        piece.append(one)
        number, size = number + 1, size + length
    if piece:
        yield piece


def _outgoing(number: int, document: Any) -> _Outgoing | Delivery:
    try:
        if not isinstance(document, Mapping) or document.get("id") is not None:
            return _Outgoing(number, given_id(document), encode_document(document) + b"\n")
        job = ids.new_job_id(SystemClock().now())
        return _Outgoing(number, job, encode_document({**document, "id": job}) + b"\n", document)
    except InvalidRequest as error:
        return Delivery(number, given_id(document), error=error)


class _Sender:
    """Sends pieces, each until it is answered or there is no patience left."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def deliver(self, piece: _Piece) -> list[Delivery]:
        """Return what became of the jobs of a piece."""
        delivered = {one.number: one for one in piece if isinstance(one, Delivery)}
        left = list(_sent(piece))
        delivered |= await self._deliver(left, self._connection.retries)
        if named_here := [one for one in left if _is_clock_wrong(one, delivered[one.number])]:
            # The clock here is far from the server's, which then chooses the ids; and nothing may be sent twice.
            delivered |= await self._deliver([_without_id(one) for one in named_here], 0)
        return [delivered[one.number] for one in piece]

    async def _deliver(self, left: Sequence[_Outgoing], retries: int) -> dict[int, Delivery]:
        delivered = await self._send(left)
        for pause in pauses(retries):
            if not (left := [one for one in left if _may_repeat(delivered[one.number])]):
                break
            log_retry(_first_error(left, delivered), pause)
            await asyncio.sleep(pause)
            delivered |= await self._send(left)
        return delivered

    async def _send(self, outgoing: Sequence[_Outgoing]) -> dict[int, Delivery]:
        """Send jobs once; those that the answer does not tell of are unavailable."""
        if not outgoing:
            return {}
        error: RequestError = Unavailable(
            f"{self._connection.url_of(_PATH)} ended its answer before it came to this job"
        )
        told: dict[int, Delivery] = {}
        try:
            async for line, result in self._results(outgoing):
                if 0 < line <= len(outgoing):
                    told[outgoing[line - 1].number] = _delivery(outgoing[line - 1], result)
        except Unavailable as silence:
            error = silence
        return {one.number: told.get(one.number) or Delivery(one.number, one.id, error=error) for one in outgoing}

    async def _results(self, outgoing: Sequence[_Outgoing]) -> AsyncGenerator[tuple[int, Submitted | RequestError]]:
        # As a stream, since aiohttp warns of large bodies that are bytes.
        body = io.BytesIO(b"".join(one.line for one in outgoing))
        idle_seconds, url = self._connection.timeout, self._connection.url_of(_PATH)
        async with self._connection.streaming(
            "POST", _PATH, idle_seconds=idle_seconds, data=body, headers=_HEADERS
        ) as answer:
            rest = b""
            async for chunk in answer.content.iter_any():
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    yield DELIVERED.of_text(url, line)
            if rest:
                yield DELIVERED.of_text(url, rest)


def _delivery(one: _Outgoing, result: Submitted | RequestError) -> Delivery:
    if isinstance(result, RequestError):
        return Delivery(one.number, one.id, error=result)
    return Delivery(one.number, result.id, result)


def _first_error(left: Sequence[_Outgoing], delivered: Mapping[int, Delivery]) -> Exception:
    error = delivered[left[0].number].error
    return Unavailable(f"{len(left)} jobs were not acknowledged: {error}")


def _may_repeat(delivery: Delivery) -> bool:
    return isinstance(delivery.error, Unavailable) and not isinstance(delivery.error, Refused)


def _is_clock_wrong(one: _Outgoing, delivery: Delivery) -> bool:
    error = delivery.error
    return one.unnamed is not None and error is not None and [field.field for field in error.fields] == ["id"]


def _without_id(one: _Outgoing) -> _Outgoing:
    return replace(one, id=None, line=encode_document(one.unnamed) + b"\n", unnamed=None)


def _size(piece: _Piece) -> int:
    return sum(len(one.line) for one in _sent(piece))


def _sent(piece: _Piece) -> Iterator[_Outgoing]:
    return (one for one in piece if isinstance(one, _Outgoing))
