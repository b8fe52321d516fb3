"""A test of any callee, in any language, against the protocol: what ``jabba callee check`` runs.

Calls of ``jabba.check.…`` are made too; a callee that does not offer these functions is tested without them.
"""

import asyncio
import io
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple
from uuid import uuid4

import aiohttp

from jabba.callbacks import signature
from jabba.callbacks.http_answers import MARK, RETRY
from jabba.callee.checks import MODULE
from jabba.callee.wire import NDJSON
from jabba.clock import Clock, SystemClock
from jabba.errors import JabbaError, Unavailable
from jabba.jobs import json_codec

OVERSIZE_BYTES = 17 << 20
"""More than any call that Jabba sends by default."""

_OLD_SECONDS = 600
_BUSY_SECONDS = 3
_HEAD_STARTS = (0.1, 0.5, 2.0)
_LINES = 3
_REFUSALS = (400, 401, 403)
_UNPROCESSABLE = (400, 422)
_UNREADABLE_HEADERS: tuple[Mapping[str, str], ...] = (
    {signature.SIGNATURE: "v1"},
    {signature.SIGNATURE: ",,, ,"},
    {signature.SIGNATURE: "v1,=== v2 v1,\N{LATIN SMALL LETTER E WITH ACUTE}"},
    {signature.SIGNATURE: "v1,a " * 1000},
    {signature.TIMESTAMP: "soon"},
    {signature.TIMESTAMP: "1e400"},
    {signature.TIMESTAMP: "-1"},
    {signature.TIMESTAMP: "9" * 400},
    {signature.ID: "a.b"},
)
_UNREADABLE_BODIES = (b"", b"{", b"[]", b"null", b'"text"', b'{"type": "jabba.call"}', b'{"type": 5}', b"\xff\xfe")


class Violation(JabbaError):
    """A callee does what the protocol forbids; the message says what was expected, and what came."""


class NotOffered(JabbaError):
    """A check cannot be made of this callee; the message says why."""


class Result(NamedTuple):
    """How one check went; ``detail`` is why it failed or was skipped."""

    name: str
    outcome: Literal["passed", "failed", "skipped"]
    detail: str = ""


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def value(self) -> Any:
        """Return its JSON, the last line of a stream; None if it is none."""
        lines = self.body.strip().splitlines() if self.is_stream else [self.body]
        try:
            return json_codec.decode(lines[-1]) if lines else None
        except ValueError:
            return None

    @property
    def is_stream(self) -> bool:
        return self.headers.get("content-type", "").startswith(NDJSON)

    def result(self, shape: str) -> Any:
        """Return what stands under ``ok`` or ``error``."""
        value = self.value
        if isinstance(value, dict) and isinstance(value.get(shape), dict):
            return value[shape]
        raise Violation(f'expected {{"{shape}": {{…}}}}, got {self}')

    def __str__(self) -> str:
        shown = self.body[:200].decode(errors="replace")
        return f"HTTP {self.status} {shown}".strip()


Check = Callable[["Contract"], Awaitable[None]]


class Contract:
    """The checks of one callee at ``url``; ``key`` is its secret's, ``seconds`` bounds each check."""

    def __init__(self, url: str, key: bytes, service: str, *, clock: Clock | None = None, seconds: float = 30) -> None:
        self._url = url
        self._key = key
        self._service = service
        self._clock = clock or SystemClock()
        self._seconds = seconds
        self._session: aiohttp.ClientSession | None = None

    async def run(self) -> AsyncIterator[Result]:
        """Make every check, one after the other; yield how each went.

        Raises:
            Unavailable: nothing answers at the URL.
        """
        async with self._connected():
            for check in _CHECKS:
                yield await self._result(check)

    async def _result(self, check: Check) -> Result:
        name = (check.__doc__ or "").rstrip(".")
        try:
            async with asyncio.timeout(self._seconds):
                await check(self)
        except NotOffered as error:
            return Result(name, "skipped", str(error))
        except Violation as error:
            return Result(name, "failed", str(error))
        except TimeoutError:
            return Result(name, "failed", f"it took longer than {self._seconds:g} s")
        except (aiohttp.ClientError, OSError) as error:
            return Result(name, "failed", f"the connection broke: {error}")
        return Result(name, "passed")

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[None]:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(self._seconds)) as self._session:
            try:
                await self._send(b"{}", {})
            except (aiohttp.ClientConnectorError, aiohttp.InvalidURL) as error:
                raise Unavailable(f"nothing answers at {self._url}: {error}") from error
            except (aiohttp.ClientError, OSError, TimeoutError):
                pass  # something listens there: the checks say what is wrong with it
            yield

    async def _send(self, body: bytes, headers: Mapping[str, str]) -> _Answer:
        if self._session is None:
            raise JabbaError("the contract is not running")
        sent = io.BytesIO(body)
        whole = {"content-type": "application/json", "content-length": str(len(body)), **headers}
        async with self._session.post(self._url, data=sent, headers=whole, allow_redirects=False) as answer:
            return _Answer(answer.status, answer.headers, await answer.read())

    async def _call(self, function: str, *args: Any, call: str | None = None, **other: Any) -> _Answer:
        """Send a call of one of the functions for checks; ``call`` is its identity without the run."""
        answer = await self._signed(self._document(function, args, **other), call)
        if answer.status == 404:  # noqa: PLR2004 — no such function
            raise NotOffered(f"the callee does not offer {MODULE}.{function}")
        return answer

    async def _signed(
        self,
        document: dict[str, Any] | bytes,
        call: str | None = None,
        *,
        key: bytes | None = None,
        age: float = 0,
        headers: Mapping[str, str] | None = None,
    ) -> _Answer:
        body = document if isinstance(document, bytes) else json_codec.encode(document)
        return await self._send(body, {**self._headers(body, call, key=key, age=age), **(headers or {})})

    def _headers(self, body: bytes, call: str | None, *, key: bytes | None = None, age: float = 0) -> dict[str, str]:
        identity, timestamp = f"{call or uuid4()}-0", int(self._clock.now() - age)
        return {
            signature.ID: identity,
            signature.TIMESTAMP: str(timestamp),
            signature.SIGNATURE: signature.sign(key or self._key, identity, timestamp, body),
            "jabba-attempt": "1",
            "jabba-timeout": f"{self._seconds:.3f}",
        }

    def _document(self, function: str, args: tuple[Any, ...] = (), **other: Any) -> dict[str, Any]:
        now = datetime.fromtimestamp(self._clock.now(), UTC).isoformat(timespec="milliseconds")
        task = str(uuid4())
        return {
            "type": "jabba.call",
            "timestamp": now.replace("+00:00", "Z"),
            "service": self._service,
            "job_id": task,
            "task_id": task,
            "run": 0,
            "attempt": 1,
            "module": MODULE,
            "function": function,
            "args": list(args),
            "kwargs": {},
            "meta": {},
            "deadline": None,
            **other,
        }

    # What every callee is asked. Their docstrings are the lines of the report.

    async def no_signature(self) -> None:
        """A call without a signature is refused."""
        _expect(await self._send(json_codec.encode(self._document("echo", (1,))), {}), _REFUSALS)

    async def wrong_secret(self) -> None:
        """A call that is signed with another secret is refused."""
        _expect(await self._signed(self._document("echo", (1,)), key=b"x" * 32), (401, 403))

    async def changed_body(self) -> None:
        """A call whose body was changed is refused."""
        body = json_codec.encode(self._document("echo", (1,)))
        _expect(await self._send(body.replace(b"[1]", b"[2]"), self._headers(body, None)), (401, 403))

    async def old(self) -> None:
        """A call of ten minutes ago is refused, and one from the future."""
        for age in (_OLD_SECONDS, -_OLD_SECONDS):
            _expect(await self._signed(self._document("echo", (1,)), age=age), _REFUSALS)

    async def rotation(self) -> None:
        """One good signature among several is enough."""
        body = json_codec.encode(self._document("no_such_function"))
        headers = self._headers(body, None)
        bad = self._headers(body, None, key=b"x" * 32)[signature.SIGNATURE]
        for several in (f"{bad} {headers[signature.SIGNATURE]}", f"v1a,AAAA {headers[signature.SIGNATURE]} v1,="):
            answer = await self._send(body, {**headers, signature.SIGNATURE: several})
            if answer.status in (401, 403):
                raise Violation(f"expected it to be accepted, got {answer}")

    async def unreadable_headers(self) -> None:
        """Headers that cannot be read are refused, and break nothing."""
        for headers in _UNREADABLE_HEADERS:
            _expect(await self._signed(self._document("echo", (1,)), headers=headers), _REFUSALS, str(headers)[:80])

    async def unreadable_bodies(self) -> None:
        """Signed bodies that are not a call are refused, and break nothing."""
        for body in _UNREADABLE_BODIES:
            _expect(await self._signed(body), (*_UNPROCESSABLE, 403), repr(body))

    async def wrong_service(self) -> None:
        """A call that is meant for another service is refused."""
        answer = await self._signed(self._document("echo", (1,), service=f"not-{self._service}"))
        _expect(answer, (400, 401, 403, 421, 422))

    async def unknown_function(self) -> None:
        """A call of an unknown function is answered with 404 and jabba-answer: 1."""
        answer = await self._signed(self._document("no_such_function"))
        _expect(answer, (404,))
        _expect_mark(answer)

    async def oversize(self) -> None:
        """A call of 17 MiB is refused."""
        try:
            answer = await self._signed(self._document("echo", ("x" * OVERSIZE_BYTES,)))
        except (aiohttp.ClientError, ConnectionError):
            return  # the connection was closed before all of it had come
        _expect(answer, (400, 413))

    # What needs the functions for checks.

    async def echo(self) -> None:
        """A call is answered with its result and jabba-answer: 1."""
        value = {"text": '\N{SNOWMAN} "\\\n', "numbers": [0, -1.5, 2**53 - 1], "none": None}
        answer = await self._call("echo", value)
        _expect(answer, (200, 201))
        _expect_mark(answer)
        if (came := answer.result("ok").get("value")) != value:
            raise Violation(f"expected the argument back, {value}, got {came}")

    async def repeated(self) -> None:
        """A repeated call gets the same answer, and runs once."""
        call = str(uuid4())
        answers = [await self._call("echo", "once", call=call, attempt=attempt) for attempt in (1, 2)]
        _expect_runs([answer.result("ok") for answer in answers], [1, 1])

    async def replayed(self) -> None:
        """The same bytes sent twice run once."""
        body = json_codec.encode(self._document("echo", ("once",)))
        headers = self._headers(body, None)
        answers = [await self._send(body, headers) for _ in range(2)]
        if answers[0].status == 404:  # noqa: PLR2004 — no such function
            raise NotOffered(f"the callee does not offer {MODULE}.echo")
        if answers[1].status in _REFUSALS:
            return
        _expect_runs([answer.result("ok") for answer in answers], [1, 1])

    async def final_errors(self) -> None:
        """An error that says jabba-retry: no is kept."""
        call = str(uuid4())
        answers = [await self._call("fail", False, call=call) for _ in range(2)]  # noqa: FBT003 — an argument as sent
        for answer in answers:
            if answer.headers.get(RETRY) != "no":
                raise Violation(f"expected the header {RETRY}: no, got {answer.headers.get(RETRY)}")
        _expect_runs([answer.result("error") for answer in answers], [1, 1])

    async def other_errors(self) -> None:
        """An error that may be tried again is not kept."""
        call = str(uuid4())
        answers = [await self._call("fail", True, call=call) for _ in range(2)]  # noqa: FBT003
        if any(answer.headers.get(RETRY) == "no" for answer in answers):
            raise Violation(f"expected no header {RETRY}: no")
        _expect_runs([answer.result("error") for answer in answers], [1, 2])

    async def busy(self) -> None:
        """A delivery while another one is at work is answered with 409."""
        async with self._at_work() as (call, first):
            answers = await first, await self._call("busy", 0, call=call)
        _expect_runs([answer.result("ok") for answer in answers], [1, 1])

    async def cancel(self) -> None:
        """A cancel reaches a call that is at work."""
        async with self._at_work() as (call, first):
            document = self._document("busy", type="jabba.cancel")
            answer = await self._signed(document, call, headers={"jabba-type": "cancel"})
            if answer.status in (400, 404, 405, 422, 501):
                raise NotOffered("the callee does not take jabba.cancel")
            _expect(answer, (200, 202, 204))
            if (await first).result("ok").get("cancelled") is not True:
                raise Violation("expected the call to end with cancelled: true")

    async def stream(self) -> None:
        """Progress comes as lines, and the last one is the answer."""
        answer = await self._call("stream", _LINES)
        _expect(answer, (200,))
        if not answer.is_stream:
            raise Violation(f"expected content-type {NDJSON}, got {answer.headers.get('content-type')}")
        lines = [json_codec.decode(line) for line in answer.body.strip().splitlines()]
        if lines[:-1] != [{"progress": {"line": line}} for line in range(_LINES)]:
            raise Violation(f"expected {_LINES} lines of progress, got {lines[:-1]}")
        answer.result("ok")

    @asynccontextmanager
    async def _at_work(self) -> AsyncIterator[tuple[str, "asyncio.Task[_Answer]"]]:
        """Run a block while a call is at work, of which a second delivery has been refused as it is to be."""
        answer: _Answer | None = None
        for head_start in _HEAD_STARTS:
            call = str(uuid4())
            first = asyncio.create_task(self._call("busy", _BUSY_SECONDS, call=call))
            try:
                # On a slow machine the second one may come first: then again, with more time between them.
                await asyncio.wait([first], timeout=head_start)
                answer = await self._call("busy", 0, call=call)
                if answer.status == 409:  # noqa: PLR2004 — at work
                    yield call, first
                    return
            finally:
                first.cancel()
                await asyncio.gather(first, return_exceptions=True)
        raise Violation(f"expected HTTP 409 while another delivery is at work, got {answer}")


def _expect(answer: _Answer, statuses: tuple[int, ...], what: str = "") -> None:
    if answer.status not in statuses:
        wanted = " or ".join(map(str, statuses))
        raise Violation(f"{what + ': ' if what else ''}expected HTTP {wanted}, got {answer}")


def _expect_mark(answer: _Answer) -> None:
    if answer.headers.get(MARK) != "1":
        raise Violation(f"expected the header {MARK}: 1, without which it is taken for the answer of a proxy")


def _expect_runs(results: list[dict[str, Any]], wanted: list[int]) -> None:
    runs = [result.get("runs") for result in results]
    if runs != wanted:
        raise Violation(f"expected runs {wanted} in the two answers, got {runs}")


_CHECKS: tuple[Check, ...] = (
    Contract.no_signature,
    Contract.wrong_secret,
    Contract.changed_body,
    Contract.old,
    Contract.rotation,
    Contract.unreadable_headers,
    Contract.unreadable_bodies,
    Contract.wrong_service,
    Contract.unknown_function,
    Contract.oversize,
    Contract.echo,
    Contract.repeated,
    Contract.replayed,
    Contract.final_errors,
    Contract.other_errors,
    Contract.busy,
    Contract.cancel,
    Contract.stream,
)
