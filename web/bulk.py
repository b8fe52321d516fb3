"""``POST /v1/jobs/bulk``: many jobs in one request, streamed both ways, in bounded memory."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing

from aiohttp.web import HTTPRequestTimeout, Request, StreamResponse

from jabba.auth.roles import Caller, Permission
from jabba.concurrency.memory_budget import MemoryBudget
from jabba.concurrency.ordered import map_ordered
from jabba.errors import LimitExceeded, Unavailable
from web import responses, schemas
from web.api import BODY_SECONDS, HEADERS, ApiView, admit, backends, caller
from web.backends import Backends
from web.circuit_breaker import CircuitBreaker
from web.ndjson import Line, Lines
from web.operations import NDJSON, Example, Operation, operation
from web.responses import Answer

logger = logging.getLogger(__name__)

STALL_SECONDS = 60.0
"""How long a caller may take no results while some wait for it."""

_HEADERS = {
    **HEADERS,
    "Content-Type": NDJSON,
    # Without it, nginx would collect the results before it passes them on.
    "X-Accel-Buffering": "no",
}


class BulkOfJobs(ApiView):
    """``POST /v1/jobs/bulk`` submits the job of each line, and answers a line for each."""

    view_name = "jobs_bulk"
    view_path = "/v1/jobs/bulk"

    @operation(
        Operation(
            "Submit many jobs",
            "A job a line, as `POST /v1/jobs` takes it, and as many lines as you like. A result a line, in the order "
            'of the jobs and while more of them are sent: `{"line", "data"}` as for a single submission, or '
            '`{"line", "error"}`, and the others go on. Take the results while you send: as soon as too many wait, '
            "no more is read. Jobs without a result line, and those with the error `unavailable`, may be sent again "
            "with the same ids. Once a job was not acknowledged because Kafka is away, the others are refused at once "
            "until it is back. A last line with an error may say why the rest was not read.",
            answer=str,
            needs=Permission.SUBMIT,
            content=NDJSON,
            item=schemas.BulkResult,
            body=str,
            body_content=NDJSON,
            body_item=schemas.Submission,
            errors=(),
            example=Example(
                body='{"type": "shipping", "tasks": ["local", "shop.callbacks", "ship", [17]]}\n'
                '{"type": "shipping", "tasks": ["local", "shop.callbacks", "ship", [18]]}\n'
            ),
        )
    )
    async def post(self, request: Request) -> StreamResponse:
        """Return 200 and the results as they come."""
        response = StreamResponse(headers=_HEADERS)
        await response.prepare(request)
        try:
            await _answer_lines(request, response)
        except (ConnectionError, TimeoutError) as error:
            logger.debug("bulk submission broke off", extra={"error": repr(error)})
            if request.transport is not None:
                request.transport.abort()
        return response


async def _answer_lines(request: Request, response: StreamResponse) -> None:
    behind = backends(request)
    lines = Lines(behind.settings.request_bytes)
    room = MemoryBudget(behind.settings.bulk_jobs, behind.settings.bulk_bytes)

    outage = behind.outage()

    async def result(line: Line) -> bytes:
        return _result(line.number, await _submitted(behind, line, caller(request), outage))

    try:
        # Whoever is gone has its last jobs accepted or refused all the same: the closing waits for them.
        async with outage, aclosing(map_ordered(_read(request, lines), result, room=room, size=_size)) as batches:
            async for batch in batches:
                await _write(response, b"".join(batch))
    except Exception as error:
        if not responses.is_expected(error):
            raise
        await _write(response, _result(lines.number, responses.of_error(error)))


async def _write(response: StreamResponse, results: bytes) -> None:
    async with asyncio.timeout(STALL_SECONDS):
        await response.write(results)


async def _submitted(behind: Backends, line: Line, by: Caller, outage: CircuitBreaker) -> Answer:
    try:
        text = _text(line, behind.settings.request_bytes)
        return responses.of_submission(await behind.submit(text, by, outage.send))
    except Exception as error:
        if not responses.is_expected(error):
            logger.exception("line of a bulk submission failed", extra={"line": line.number})
        return responses.of_error(error)


def _text(line: Line, limit: int) -> bytes:
    if line.text is None:
        raise LimitExceeded(f"the line is longer than {limit:,} bytes")
    return line.text


async def _read(request: Request, lines: Lines) -> AsyncGenerator[Line]:
    """Return the lines as they come.

    Raises:
        HTTPRequestTimeout: nothing came for a minute.
        Unauthorized: the key with which the request was sent is not valid any more.
        Unavailable: this process stops.
    """
    while chunk := await _chunk(request):
        await admit(request)
        for line in lines.feed(chunk):
            yield line
    for line in lines.end():
        yield line


async def _chunk(request: Request) -> bytes:
    closing = asyncio.ensure_future(backends(request).closing.wait())
    reading = asyncio.ensure_future(request.content.readany())
    try:
        await asyncio.wait({closing, reading}, timeout=BODY_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if reading.done():
            return reading.result()
        raise Unavailable("this web process stops; send the rest again") if closing.done() else HTTPRequestTimeout
    finally:
        closing.cancel()
        reading.cancel()


def _size(line: Line) -> int:
    return line.size


def _result(number: int, answer: Answer) -> bytes:
    return b'{"line":%d,%b\n' % (number, answer.body[1:])
