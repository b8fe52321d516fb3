"""What a client does when a server cannot be asked, or is not Jabba, and when the client itself has ended."""

import asyncio
import gc
import json
import logging
import re
import ssl
import threading
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port

from jabba.client import Client, SyncClient
from jabba.client.connection import Connection, _Session
from jabba.concurrency.background_loop import BackgroundLoop
from jabba.errors import Closed, Refused, RequestError, Unavailable
from jabba.jobs import ids
from tests.support.certificates import Authority

ID = str(ids.new_job_id(1_800_000_000))
JOB: dict[str, Any] = {
    "id": ID,
    "name": None,
    "type": "shipping",
    "status": "PROCESSED",
    "strategy": "SEQUENTIALLY",
    "meta": {},
    "ended_at": "2027-01-15T00:00:00Z",
    "inserted_at": "2027-01-15T00:00:00Z",
    "updated_at": "2027-01-15T00:00:00Z",
}
TASK = ["local", "shop", "ship"]
Call = Callable[[Client], Awaitable[Any]]


async def first_result(client: Client) -> object:
    return (await anext(client.create_jobs([{"tasks": TASK, "type": "shipping"}]))).result()


CALLS: dict[str, Call] = {
    "get_job": lambda client: client.get_job(ID),
    "get_task": lambda client: client.get_task(ID),
    "get_progress": lambda client: client.get_progress(ID),
    "get_tasks": lambda client: client.get_tasks(ID),
    "search_jobs": lambda client: client.search_jobs(),
    "search_tasks": lambda client: client.search_tasks(),
    "iter_jobs": lambda client: anext(client.iter_jobs()),
    "iter_tasks": lambda client: anext(client.iter_tasks()),
    "get_stats": lambda client: client.get_stats(),
    "create_job": lambda client: client.create_job(TASK, "shipping"),
    "submit": lambda client: client.submit({"tasks": TASK, "type": "shipping"}),
    "create_jobs": first_result,
    "wait": lambda client: client.wait(ID),
    "watch": lambda client: anext(client.watch(ID)),
}
every_call = pytest.mark.parametrize("call", CALLS.values(), ids=list(CALLS))


@asynccontextmanager
async def serving(answer: bytes | None, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Run a server that sends the same bytes to all who come, None being silence; return its port."""
    serves: set[asyncio.Task[Any]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serves.add(task)
        with suppress(OSError):
            await reader.read(-1 if answer is None else 1)
            writer.write(answer or b"")
            await writer.drain()
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await asyncio.gather(*serves)


@asynccontextmanager
async def answering(body: str, **options: Any) -> AsyncIterator[str]:
    """Run a web server that answers everything with 200 and this body; return its URL."""

    async def serve(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(text=body, **options)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", serve)
    async with TestServer(app) as server:
        yield str(server.make_url(""))


@pytest.fixture(scope="module")
def distrusted(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(Path(Authority(tmp_path_factory.mktemp("authority")).issue("web")))
    return context


@every_call
async def test_https_where_http_is_spoken_is_hopeless_at_once(call: Call) -> None:
    async with serving(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port, Client(f"https://127.0.0.1:{port}") as client:
        async with asyncio.timeout(10):
            with pytest.raises(Refused, match=f"https://127.0.0.1:{port} cannot be asked"):
                await call(client)


@every_call
async def test_so_is_a_certificate_that_is_not_valid(call: Call, distrusted: ssl.SSLContext) -> None:
    async with serving(b"", distrusted) as port, asyncio.timeout(10), Client(f"https://127.0.0.1:{port}") as client:
        with pytest.raises(Refused, match="certificate"):
            await call(client)


@every_call
async def test_so_is_what_speaks_no_http(call: Call) -> None:
    async with serving(b"220 mail.example ESMTP\r\n") as port, Client(f"http://127.0.0.1:{port}") as client:
        async with asyncio.timeout(10):
            with pytest.raises(Refused, match="cannot be asked"):
                await call(client)


@every_call
@pytest.mark.parametrize("body", ["{}", "[]", "null", '{"data": 7}', '{"data": [{"id": 1}]}', "<html>", "", '"x"'])
async def test_a_server_that_answers_something_else_is_not_jabba(call: Call, body: str) -> None:
    async with answering(body, content_type="application/json") as url, Client(url, retries=0) as client:
        async with asyncio.timeout(10):
            with pytest.raises(RequestError, match=re.escape(url)) as raised:
                await call(client)
    # An answer to many jobs that ends early may be from a server that ended.
    assert "is not Jabba" in str(raised.value) or isinstance(raised.value, Unavailable)


@pytest.mark.parametrize(
    "data",
    ["{}", "7", "no json", '{"event": "task_failed"}', "\x1b[31m"],
    ids=["map", "int", "text", "event", "escape"],
)
async def test_neither_is_a_stream_of_other_events(data: str) -> None:
    async with (
        answering(f"event: task_failed\ndata: {data}\n\n", content_type="text/event-stream") as url,
        Client(url) as client,
    ):
        with pytest.raises(RequestError, match=f"{re.escape(url)}/v1/events is not Jabba") as raised:
            await anext(client.watch(ID))
    assert str(raised.value).isprintable()


@pytest.mark.parametrize("call", [CALLS["wait"], CALLS["watch"]], ids=["wait", "watch"])
async def test_each_retry_says_what_is_wrong_and_when_the_next_one_comes(
    call: Call, caplog: pytest.LogCaptureFixture
) -> None:
    port, thrice = unused_port(), asyncio.Event()

    def count(_: logging.LogRecord) -> bool:
        if len(caplog.records) == 2:
            thrice.set()
        return True

    logger = logging.getLogger("jabba.client")
    logger.addFilter(count)
    async with Client(f"http://127.0.0.1:{port}", retries=0) as client:
        waiting = asyncio.ensure_future(call(client))
        await asyncio.wait_for(thrice.wait(), 10)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    logger.removeFilter(count)
    assert len(caplog.records) == 3
    for record in caplog.records:
        assert (record.name, record.levelno) == ("jabba.client", logging.WARNING)
        assert re.search(rf"127\.0\.0\.1:{port} does not answer: .*; trying again in [\d.]+ s$", record.getMessage())


async def test_repeats_of_a_call_are_logged_too(caplog: pytest.LogCaptureFixture) -> None:
    async with Client(f"http://127.0.0.1:{unused_port()}", retries=1) as client:
        with pytest.raises(Unavailable):
            await client.get_job(ID)
        with pytest.raises(Unavailable):
            await first_result(client)
    assert [record.getMessage().rpartition("; ")[2] for record in caplog.records] == ["trying again in 0.1 s"] * 2


async def test_a_stream_that_ends_again_and_again_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async with answering("", content_type="text/event-stream") as url, Client(url) as client:
        with pytest.raises(TimeoutError, match=f"the events of job {ID} have not ended within 0.2 s"):
            await anext(client.watch(ID, timeout=0.2))
    assert "ended the stream; trying again in" in caplog.records[0].getMessage()


async def test_a_job_that_has_ended_is_there_without_waiting() -> None:
    async with answering(f'{{"data": {JOB}}}'.replace("'", '"').replace("None", "null")) as url, Client(url) as client:
        for timeout in (0, 0.0, 5):
            assert str((await client.wait(ID, timeout=timeout)).id) == ID


async def test_one_that_has_not_is_a_timeout_that_says_so() -> None:
    body = f'{{"data": {JOB | {"ended_at": None}}}}'.replace("'", '"').replace("None", "null")
    async with answering(body) as url, Client(url) as client:
        for timeout in (0, 0.1):
            with pytest.raises(TimeoutError, match=f"job {ID} has not ended within {timeout} s"):
                await client.wait(ID, timeout=timeout)


async def test_the_timeout_names_what_kept_it_waiting() -> None:
    async with Client(f"http://127.0.0.1:{unused_port()}", retries=0) as client:
        for timeout in (0, 0.1):
            with pytest.raises(TimeoutError, match=f"has not ended within {timeout} s; http://127.* does not answer"):
                await client.wait(ID, timeout=timeout)


async def test_a_silent_server_is_unavailable_within_the_time_of_a_call() -> None:
    async with serving(None) as port, Client(f"http://127.0.0.1:{port}", timeout=0.2, retries=0) as client:
        with pytest.raises(Unavailable, match=r"does not answer within 0\.2 s"):
            await client.get_job(ID)


@every_call
async def test_a_closed_client_says_so(call: Call) -> None:
    client = Client("http://127.0.0.1:1")
    await client.close()
    await client.close()
    with pytest.raises(Closed, match="this client is closed"):
        await call(client)


@pytest.mark.parametrize(
    "use",
    [
        lambda client: client.get_job(ID),
        lambda client: client.search_jobs(),
        lambda client: client.get_stats(),
        lambda client: client.create_job(TASK, "shipping"),
        lambda client: client.wait(ID),
        # Without asking for the first of what they return:
        lambda client: client.create_jobs([]),
        lambda client: client.iter_jobs(),
        lambda client: client.iter_tasks(),
        lambda client: client.watch(),
    ],
)
def test_so_does_one_without_an_event_loop(use: Callable[[SyncClient], object]) -> None:
    client = SyncClient("http://127.0.0.1:1")
    client.close()
    client.close()
    with pytest.raises(Closed, match="this client is closed"):
        use(client)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return the sessions that are opened."""
    sessions: list[Any] = []
    original = _Session.opened

    async def spy(self: _Session) -> Any:
        session = await original(self)
        sessions.append(session)
        return session

    monkeypatch.setattr(_Session, "opened", spy)
    return sessions


def test_a_client_works_in_one_event_loop_after_the_other_and_leaves_nothing_open(opened: list[Any]) -> None:
    client = Client()

    async def use() -> None:
        async with answering('{"data": {"jobs": 1}}') as url:
            # Each loop has a server of its own: they end with it.
            client._connection._url = url
            assert await client.get_stats() == {"jobs": 1}
            with pytest.raises(RequestError):
                await anext(client.watch(ID))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(3):
            asyncio.run(use())
            assert all(session.closed for session in opened)
        asyncio.run(client.close())
        gc.collect()
    assert len(opened) == 6


async def test_a_client_of_a_loop_that_still_runs_is_refused_in_another() -> None:
    async with answering('{"data": {}}') as url, Client(url) as client:
        assert await client.get_stats() == {}
        with pytest.raises(Closed, match="in use in another event loop"):
            await asyncio.to_thread(asyncio.run, client.get_stats())
        assert await client.get_stats() == {}


ITERATORS: dict[str, Callable[[SyncClient], Iterator[Any]]] = {
    "iter_jobs": lambda client: client.iter_jobs(page_size=1),
    "iter_tasks": lambda client: client.iter_tasks(page_size=1),
    "watch": lambda client: client.watch(),
    "create_jobs": lambda client: client.create_jobs([{"tasks": TASK, "type": "shipping"}] * 2),
}
STREAM = {"event": "task_failed", "job": ID, "index": 0, "run": 0, "epoch": 1, "seq": 1, "result": {}}


async def _answer_all(request: web.Request) -> web.StreamResponse:
    """Serve searches with one item and a next page, and open streams that never end with one event or delivery."""
    await request.read()
    if request.path.endswith("/search"):
        one = JOB if "jobs" in request.path else {"id": ID, "job_id": ID, **TASK_ROW}
        return web.json_response({"data": [one], "next": "more"})
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    delivery = {"line": 1, "data": JOB | {"position": "0:1"}}
    text = f"event: task_failed\ndata: {json.dumps(STREAM)}\n\n" if "events" in request.path else json.dumps(delivery)
    await response.write(text.encode() + b"\n")
    return response


TASK_ROW = {
    "name": None,
    "callback": {"service": "local", "module": "shop", "function": "ship", "args": []},
    "priority": 1,
    "status": "PROCESSED",
    "result": {},
    "meta": {},
    "attempt": 1,
    "ended_at": None,
    "inserted_at": "2027-01-15T00:00:00Z",
    "updated_at": "2027-01-15T00:00:00Z",
}


@pytest.fixture
def answering_all() -> Iterator[str]:
    """Run such a server in a thread of its own; return its URL."""
    background = BackgroundLoop("server")
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", _answer_all)
    server = TestServer(app)
    background.run(server.start_server())
    yield str(server.make_url("")).rstrip("/")
    background.run(server.close())
    background.close()


@pytest.mark.parametrize("open_iterator", ITERATORS.values(), ids=list(ITERATORS))
def test_an_iterator_that_is_collected_in_the_thread_of_its_client_blocks_nobody(
    open_iterator: Callable[[SyncClient], Iterator[Any]], answering_all: str
) -> None:
    def use() -> None:
        with SyncClient(answering_all, timeout=5) as client:
            gc.disable()
            try:
                node: dict[str, Any] = {"it": open_iterator(client)}
                node["self"] = node
                next(node["it"])
                del node
                client._background.run(_collect())
            finally:
                gc.enable()
            assert client.search_jobs()

    thread = threading.Thread(target=use, daemon=True)
    thread.start()
    thread.join(20)
    assert not thread.is_alive()


async def _collect() -> None:
    gc.collect()


@pytest.mark.parametrize("status", [502, 503, 504])
async def test_what_stands_between_may_pass(status: int, caplog: pytest.LogCaptureFixture) -> None:
    async with answering("<html>away", status=status) as url, Client(url, retries=1) as client:
        with pytest.raises(Unavailable, match=f"answered {status}"):
            await client.get_job(ID)
    assert len(caplog.records) == 1


@pytest.mark.parametrize("key", ["é", "a\nb", 7, b"jabba"])
def test_a_key_that_no_header_carries_is_refused_by_name(key: Any) -> None:
    with pytest.raises(ValueError, match=r"^key: is not an API key"):
        Connection("http://localhost", key, 1, 0, 1)
