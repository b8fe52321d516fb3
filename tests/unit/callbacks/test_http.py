"""The HTTP transport against a real server on loopback."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer

from jabba.callbacks import results
from jabba.callbacks.http import HttpRunner
from jabba.callbacks.registry import TaskContext
from jabba.callbacks.results import Answer, Bounds
from jabba.callbacks.services import KeyedService, Service
from jabba.callbacks.signature import verify
from jabba.callbacks.transport import Accepted, Postponed, Reply, Unanswered
from jabba.clock import SystemClock
from jabba.jobs.lifecycle import TaskFailed, TaskRescued, TaskSucceeded
from jabba.jobs.models import Callback
from jabba.local.ports import free_port

JOB, TASK = UUID(int=1), UUID(int=2)
KEYS = (bytes(range(32)), bytes(32))
CALL = Callback(service="billing", module="Invoices", function="charge", args=[17, {"größe": 1.5}])

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Callee:
    """A server whose handler a test sets; ``bodies`` and ``headers`` are those of the calls that came."""

    url: str = ""
    handler: Handler | None = None
    headers: list[dict[str, str]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        self.bodies.append(await request.read())
        assert self.handler is not None
        return await self.handler(request)

    def answers(self, status: int = 200, body: bytes = b"", **headers: str) -> None:
        async def handler(_: web.Request) -> web.Response:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            return web.Response(status=status, body=body, headers=named)

        self.handler = handler


@pytest_asyncio.fixture
async def callee() -> AsyncIterator[Callee]:
    found = Callee()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", found.handle)
    server = TestServer(app, host="127.0.0.1")
    await server.start_server()
    found.url = str(server.make_url("/jabba"))
    yield found
    await server.close()


@dataclass
class Caller:
    runner: HttpRunner
    billing: KeyedService

    async def call(self, context: TaskContext | None = None) -> Reply:
        return await self.runner.run(CALL, self.billing, context or TaskContext(JOB, TASK, 1))


@pytest_asyncio.fixture
async def caller(callee: Callee) -> AsyncIterator[Callable[..., Caller]]:
    made = []

    def make(*, bounds: Bounds = results.BOUNDS, **of_service: Any) -> Caller:
        of_service = {"url": callee.url, "secrets": ["whsec_1", "whsec_2"]} | of_service
        keyed = KeyedService(Service.model_validate({"transport": "http", **of_service}), KEYS)
        caller = Caller(HttpRunner(SystemClock(), bounds), keyed)
        made.append(caller)
        return caller

    yield make
    for one in made:
        await one.runner.close()


async def test_sends_a_signed_call(callee: Callee, caller: Callable[..., Caller]) -> None:
    callee.answers(body=b'{"ok": {"paid": true}}')
    context = TaskContext(JOB, TASK, 3, run=2, type="invoice", meta={"tenant": 1}, timeout=12.5, deadline=4e9)
    reply = await caller().call(context)
    assert isinstance(reply, Answer)
    assert reply == Answer(TaskSucceeded, {"paid": True}, status_code=200, address=callee.url)
    headers, body = callee.headers[0], json.loads(callee.bodies[0])
    for key in KEYS:
        verify([key], headers, callee.bodies[0], SystemClock().now())
    assert len(headers["webhook-signature"].split(" ")) == 2
    assert headers["webhook-id"] == f"{TASK}-2"
    assert headers["idempotency-key"] == f'"{TASK}-2"'
    assert headers["traceparent"].count("-") == 3
    assert (headers["jabba-attempt"], headers["jabba-type"]) == ("3", "call")
    assert 12 < float(headers["jabba-timeout"]) < 12.5
    assert body.pop("timestamp").endswith("Z")
    assert body == {
        "type": "jabba.call",
        "service": "billing",
        "job_id": str(JOB),
        "task_id": str(TASK),
        "run": 2,
        "attempt": 3,
        "module": "Invoices",
        "function": "charge",
        "args": [17, {"größe": 1.5}],
        "kwargs": {},
        "meta": {"tenant": 1},
        "deadline": "2096-10-02T07:06:40.000Z",
    }


async def test_the_urls_of_a_service_take_turns(callee: Callee, caller: Callable[..., Caller]) -> None:
    paths = []

    async def handler(request: web.Request) -> web.Response:
        paths.append(request.path)
        return web.json_response({"ok": {}})

    callee.handler = handler
    one = caller(url=[f"{callee.url}/a", f"{callee.url}/b"])
    for _ in range(4):
        await one.call()
    assert paths == ["/jabba/a", "/jabba/b", "/jabba/a", "/jabba/b"]


async def test_never_follows_a_redirect(callee: Callee, caller: Callable[..., Caller]) -> None:
    callee.answers(307, location="http://elsewhere/")
    reply = await caller().call()
    assert isinstance(reply, Unanswered)
    assert reply.final
    assert "a redirect to http://elsewhere/" in reply.error
    assert len(callee.bodies) == 1


async def test_a_dropped_connection_that_was_used_before_is_tried_once_more(caller: Callable[..., Caller]) -> None:
    calls = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Answers the first request of each connection, and drops the connection at the next one.
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
        calls.append("answered")
        writer.write(b'HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{"ok":{}}')
        await writer.drain()
        if await reader.read(1):
            calls.append("dropped")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1")
    port = server.sockets[0].getsockname()[1]
    one = caller(url=f"http://127.0.0.1:{port}/")
    assert [isinstance(await one.call(), Answer) for _ in range(2)] == [True, True]
    assert calls == ["answered", "dropped", "answered"]
    server.close()


async def test_a_new_connection_that_is_dropped_counts(caller: Callable[..., Caller]) -> None:
    calls = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        calls.append(await reader.read(1))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1")
    port = server.sockets[0].getsockname()[1]
    reply = await caller(url=f"http://127.0.0.1:{port}/").call()
    assert isinstance(reply, Unanswered)
    assert (reply.outcome, reply.final, reply.address) == ("infrastructure", False, f"http://127.0.0.1:{port}/")
    assert len(calls) == 1
    server.close()


async def test_nobody_there(caller: Callable[..., Caller]) -> None:
    reply = await caller(url=f"http://127.0.0.1:{free_port()}/?token=x").call()
    assert isinstance(reply, Unanswered)
    assert "no answer of http://127.0.0.1" in reply.error
    assert "token" not in reply.error


@pytest.mark.parametrize(
    "host", ["169.254.169.254", "0xa9fea9fe", "[fd00:ec2::254]", "[::ffff:169.254.169.254]", "[fe80::1]"]
)
async def test_never_connects_to_a_metadata_address(host: str, caller: Callable[..., Caller]) -> None:
    reply = await caller(url=f"http://{host}/latest/meta-data/").call()
    assert isinstance(reply, Unanswered)
    assert "is link-local or of a metadata service, and never called" in reply.error


@pytest.mark.parametrize(
    "limits, expected",
    [
        ({"first_byte_timeout": 0.05}, "the first byte did not come within 0.05 s"),
        ({"timeout": 0.05}, "timeout: no answer within 0.05 s"),
    ],
)
async def test_an_answer_that_does_not_come(
    limits: dict[str, float], expected: str, callee: Callee, caller: Callable[..., Caller]
) -> None:
    async def handler(_: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    callee.handler = handler
    reply = await caller(**limits).call()
    assert isinstance(reply, Unanswered)
    assert (reply.error, reply.outcome, reply.address) == (expected, "timeout", callee.url)


async def test_a_body_that_stands_still(callee: Callee, caller: Callable[..., Caller]) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b'{"ok"')
        await asyncio.Event().wait()
        return response

    callee.handler = handler
    reply = await caller(idle_timeout=0.05).call()
    assert isinstance(reply, Unanswered)
    assert (reply.error, reply.outcome, reply.status_code) == ("the answer stood still for 0.05 s", "timeout", 200)


@pytest.mark.parametrize("packed", ["", "gzip"])
async def test_an_answer_that_is_too_long_is_not_read_to_its_end(
    packed: str, callee: Callee, caller: Callable[..., Caller]
) -> None:
    body = b'{"ok": {"a": "%s"}}' % (b" " * 20_000_000)
    if packed == "gzip":
        callee.answers(body=gzip.compress(body), content_encoding="gzip", jabba_answer="1")
    else:
        callee.answers(body=body, jabba_answer="1")
    reply = await caller(bounds=Bounds(result_bytes=1000)).call()
    assert isinstance(reply, Answer)
    assert reply.event is TaskFailed
    assert reply.result == {"error": "the answer is longer than 1,000 bytes, the limit of a result"}
    callee.answers(body=body)
    assert isinstance(await caller(bounds=Bounds(result_bytes=1000)).call(), Unanswered)


async def test_reads_a_packed_answer_though_it_asks_for_none(callee: Callee, caller: Callable[..., Caller]) -> None:
    callee.answers(body=gzip.compress(b'{"ok": {"a": 1}}'), content_encoding="gzip")
    reply = await caller().call()
    assert isinstance(reply, Answer)
    assert reply.result == {"a": 1}
    callee.answers(body=b'{"ok": {}}', content_encoding="gzip")
    broken = await caller().call()
    assert isinstance(broken, Unanswered)
    assert "cannot be unpacked" in broken.error
    callee.answers(body=b'{"ok": {}}', content_encoding="br")
    assert isinstance(await caller().call(), Unanswered)


async def test_the_last_line_of_a_stream_is_the_answer(callee: Callee, caller: Callable[..., Caller]) -> None:
    lines = [
        b'{"progress": {"done": 1}}\n',
        b'\n{"progress": {"do',
        b'ne": 2}}\n{"error": {"code": "no"},',
        b'"retry":',
    ]

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "application/x-ndjson"})
        await response.prepare(request)
        for line in lines:
            await response.write(line)
        return response

    callee.handler = handler
    broken = await caller().call()
    assert isinstance(broken, Unanswered)
    assert broken.error == "a stream that ends without a line that is an answer"
    lines.append(b'"no"}\n\n')
    reply = await caller().call()
    assert isinstance(reply, Answer)
    assert (reply.result, reply.retry) == ({"code": "no"}, False)


async def test_a_stream_that_is_cut_off_is_no_answer(callee: Callee, caller: Callable[..., Caller]) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "application/x-ndjson", "jabba-answer": "1"})
        await response.prepare(request)
        await response.write(b'{"ok": {}}\n')
        assert request.transport is not None
        request.transport.abort()
        return response

    callee.handler = handler
    assert isinstance(await caller().call(), Unanswered)


async def test_classes_are_counted_by_service(callee: Callee, caller: Callable[..., Caller]) -> None:
    one = caller()
    for status, body in ((200, b'{"ok": {}}'), (200, b'{"raised": "why"}'), (502, b""), (503, b""), (202, b"")):
        callee.answers(status, body)
        await one.call()
    assert one.runner.calls == {
        ("billing", word): 1 for word in ("ok", "raised", "infrastructure", "postponed", "accepted")
    }


async def test_no_more_calls_at_a_time_than_the_service_takes(callee: Callee, caller: Callable[..., Caller]) -> None:
    running, most = 0, 0
    proceed = asyncio.Event()

    async def handler(_: web.Request) -> web.Response:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await proceed.wait()
        running -= 1
        return web.json_response({"ok": {}})

    callee.handler = handler
    one = caller(concurrency=2)
    calls = [asyncio.create_task(one.call()) for _ in range(4)]
    done, _ = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
    proceed.set()
    replies = await asyncio.gather(*calls)
    assert most == 2
    assert all(isinstance(task.result(), Postponed) for task in done)
    assert sorted(type(reply).__name__ for reply in replies) == ["Answer", "Answer", "Postponed", "Postponed"]


async def test_many_failures_open_the_breaker_which_postpones(callee: Callee, caller: Callable[..., Caller]) -> None:
    callee.answers(500)
    one = caller()
    replies = [await one.call() for _ in range(12)]
    assert [type(reply) for reply in replies] == [Unanswered] * 10 + [Postponed] * 2
    assert len(callee.bodies) == 10
    assert one.runner.breakers == {"billing": "open"}


async def test_timeouts_end_before_the_lane_gives_up_and_open_the_breaker(
    callee: Callee, caller: Callable[..., Caller]
) -> None:
    async def handler(_: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    callee.handler = handler
    one, context = caller(), TaskContext(JOB, TASK, 1, timeout=0.3)
    replies = await asyncio.gather(*(one.call(context) for _ in range(10)))
    assert all(float(headers["jabba-timeout"]) <= 0.27 for headers in callee.headers)
    assert {reply.outcome for reply in replies if isinstance(reply, Unanswered)} == {"timeout"}
    assert one.runner.breakers == {"billing": "open"}


async def test_a_service_that_is_gone_is_left_alone_and_reported(
    callee: Callee, caller: Callable[..., Caller], caplog: pytest.LogCaptureFixture
) -> None:
    callee.answers(410)
    one = caller()
    assert [type(await one.call()) for _ in range(3)] == [Postponed] * 3
    assert len(callee.bodies) == 1
    assert [one.getMessage() for one in caplog.records] == [
        "service billing answers with HTTP 410: it is gone, and its tasks wait"
    ]


async def test_accepted_and_raised(callee: Callee, caller: Callable[..., Caller]) -> None:
    callee.answers(202)
    assert await caller(completion_timeout=7).call() == Accepted(7, 202, callee.url)
    callee.answers(500, b'{"raised": {"error": "KeyError: 1", "stacktrace": []}}')
    reply = await caller().call()
    assert isinstance(reply, Answer)
    assert (reply.event, reply.result["error"]) == (TaskRescued, "KeyError: 1")
