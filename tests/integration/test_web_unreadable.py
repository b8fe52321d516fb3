"""What is no request that anyone could answer, sent as it is: the answer has the one form, and the log stays empty."""

import asyncio
import json
import logging

import pytest
from aiohttp import ClientSession

from jabba.settings import Settings
from tests.support.http import get
from tests.support.keys import KEY

KEYED = b"Host: x\r\nAuthorization: Bearer %b\r\n" % KEY.encode()
POST = b"POST /v1/jobs HTTP/1.1\r\n" + KEYED

UNREADABLE = {
    b"GET /v1/jobs?type=" + b"a" * 70_000 + b" HTTP/1.1\r\n" + KEYED + b"\r\n": 400,
    b"GET /v1/jobs HTTP/1.1\r\n" + KEYED + b"X: " + b"a" * 70_000 + b"\r\n\r\n": 400,
    b"GET /v1/jobs HTTP/1.1\r\n" + KEYED + b"X: 1\r\n" * 3000 + b"\r\n": 400,
    b"GET /v1/jobs?type=\xff HTTP/1.1\r\n" + KEYED + b"\r\n": 400,
    b"GET http://x:99999/v1/jobs HTTP/1.1\r\n" + KEYED + b"\r\n": 400,
    b"GET /v1/jobs HTTP/1.1\r\n\r\n": 400,
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n": 400,
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc": 400,
    b"F(O /v1/jobs HTTP/1.1\r\n" + KEYED + b"\r\n": 400,
    POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello": 400,
    POST + b"Content-Length: -5\r\n\r\nhello": 400,
    POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n": 400,
    POST + b"Transfer-Encoding: gzip\r\n\r\n0\r\n\r\n": 400,
    POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n": 400,
    POST + b"Content-Encoding: br\r\nContent-Length: 5\r\n\r\nhello": 400,
    POST + b"X: a\0b\r\nContent-Length: 2\r\n\r\n{}": 400,
    POST + b"Expect: nonsense\r\nContent-Length: 2\r\n\r\n{}": 417,
}


async def test_what_is_no_request_is_refused_in_the_form_of_every_error(
    settings: Settings, http: ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    for sent, status in UNREADABLE.items():
        head, body = await answered(settings, sent)
        assert int(head[0].split()[1]) == status, (sent[-100:], head)
        assert [one for one in head if one.startswith("Server:")] == ["Server: jabba"]
        error = json.loads(body)["error"]
        assert (error["type"], error["fields"]) == ("bad_request", [])
        assert 5 < len(error["message"]) < 300
    assert (await get(http, "/health/live"))[0] == 200
    assert [one for one in caplog.records if one.levelno > logging.INFO] == []


async def answered(settings: Settings, sent: bytes) -> tuple[list[str], bytes]:
    """Return the lines of the head, and the body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", settings.web_port)
    writer.write(sent)
    async with asyncio.timeout(10):
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    return head.decode().split("\r\n"), body


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/jobs/search", "/v1/jobs/bulk"])
async def test_an_upload_that_breaks_off_is_no_defect(
    settings: Settings, http: ClientSession, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    for sent in (b"", b'{"half'):
        _, writer = await asyncio.open_connection("127.0.0.1", settings.web_port)
        writer.write(b"POST %b HTTP/1.1\r\nContent-Length: 5000\r\n%b\r\n%b" % (path.encode(), KEYED, sent))
        await writer.drain()
        await asyncio.sleep(0.1)
        writer.transport.abort()
        await asyncio.sleep(0.1)
    assert (await get(http, "/health/live"))[0] == 200
    assert [one for one in caplog.records if one.levelno > logging.INFO] == []
