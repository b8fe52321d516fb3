"""Whatever a server sends, a call ends with a reply, and soon."""

import asyncio
import random

import pytest

from jabba.callbacks.http import HttpRunner
from jabba.callbacks.registry import TaskContext
from jabba.callbacks.results import Bounds
from jabba.callbacks.services import KeyedService, Service
from jabba.callbacks.transport import Unanswered
from jabba.clock import SystemClock
from tests.unit.callbacks.test_http import CALL, JOB, KEYS, TASK

OK = b"HTTP/1.1 200 OK\r\n"
BODY = b'{"ok":{}}'

HOSTILE = {
    "nothing": b"",
    "garbage": b"\x00\xff\xfe SSH-2.0-OpenSSH\r\n\r\n",
    "no status": b"HTTP/1.1 \r\n\r\n",
    "an unknown version": b"HTTP/9.9 200 OK\r\n\r\n",
    "an impossible status": b"HTTP/1.1 99999 OK\r\ncontent-length: 0\r\n\r\n",
    "a short status": b"HTTP/1.1 7 OK\r\ncontent-length: 0\r\n\r\n",
    "a huge header": OK + b"x: " + b"a" * 100_000 + b"\r\n\r\n",
    "many headers": OK + b"".join(b"x-%d: 1\r\n" % n for n in range(50_000)) + b"\r\n",
    "a header without a name": OK + b": 1\r\n\r\n",
    "a header of other bytes": OK + b"location: \xff\xfe\r\nretry-after: \xe9\r\ncontent-length: 0\r\n\r\n",
    "a wrong length": OK + b"content-length: nine\r\n\r\n" + BODY,
    "a negative length": OK + b"content-length: -9\r\n\r\n" + BODY,
    "two lengths": OK + b"content-length: 9\r\ncontent-length: 10\r\n\r\n" + BODY,
    "less than the length": OK + b"content-length: 90\r\n\r\n" + BODY,
    "a wrong chunk": OK + b"transfer-encoding: chunked\r\n\r\nzz\r\n" + BODY,
    "a huge chunk": OK + b"transfer-encoding: chunked\r\n\r\nffffffffffffffff\r\n" + BODY,
    "an unfinished chunk": OK + b"transfer-encoding: chunked\r\n\r\n9\r\n" + BODY,
    "what is not packed": OK + b"content-encoding: gzip\r\ncontent-length: 9\r\n\r\n" + BODY,
    "an unknown encoding": OK + b"content-encoding: rot13\r\ncontent-length: 9\r\n\r\n" + BODY,
    "a strange type": OK + b"content-type: ;;;/=\r\ncontent-length: 1\r\n\r\n[",
    "an unknown charset": OK + b"content-type: text/html; charset=klingon\r\ncontent-length: 1\r\n\r\n[",
    "an endless continue": b"HTTP/1.1 100 Continue\r\n\r\n" * 1000,
    "switched protocols": b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
    "a page at HTTP/1.0": b"HTTP/1.0 200 OK\r\n\r\n<html>",
    "deep JSON": OK + b"content-length: 200000\r\n\r\n" + b"[" * 200_000,
    "a cookie": OK + b"set-cookie: a=b\r\ncontent-length: 0\r\n\r\n",
}


async def reply_to(answer: bytes) -> object:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1")
    port = server.sockets[0].getsockname()[1]
    service = Service(transport="http", url=[f"http://127.0.0.1:{port}/"], secrets=["whsec_"], timeout=20)
    runner = HttpRunner(SystemClock(), Bounds(result_bytes=1000))
    try:
        return await runner.run(CALL, KeyedService(service, KEYS), TaskContext(JOB, TASK, 1))
    finally:
        await runner.close()
        server.close()


@pytest.mark.parametrize("answer", HOSTILE.values(), ids=HOSTILE.keys())
async def test_what_is_no_answer_is_infrastructure(answer: bytes) -> None:
    reply = await reply_to(answer)
    assert isinstance(reply, Unanswered)
    assert reply.outcome == "infrastructure"
    assert reply.error.isprintable()
    assert len(reply.error) < 1000


async def test_answers_with_wrong_bytes_here_and_there() -> None:
    good = (
        OK + b"content-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n9\r\n" + BODY + b"\r\n0\r\n\r\n"
    )
    luck = random.Random(17)
    for _ in range(150):
        broken = bytearray(good)
        for _ in range(luck.randint(1, 3)):
            broken[luck.randrange(len(broken))] = luck.randrange(256)
        await reply_to(bytes(broken))
