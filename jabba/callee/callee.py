"""A service that Jabba calls: its functions, and what becomes of a request to it, whatever server it came through."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, overload

from jabba.callbacks import results, signature
from jabba.callbacks.results import Answer, Bounds
from jabba.callee.context import Accepted, Answered, Context, FinalError, enter_context
from jabba.callee.functions import Function, InvalidCallback, WrongArguments, function_of
from jabba.callee.memory import MemoryStore
from jabba.callee.store import Busy, ClaimLost, Kept, Store
from jabba.callee.wire import Call, Final, Request, Response, WireError, refusal, response_of, timeout_of
from jabba.clock import Clock, SystemClock
from jabba.errors import RetryTask, TaskError
from jabba.jobs import json_codec

if TYPE_CHECKING:
    from aiohttp import web

    from jabba.callee.asgi import AsgiApp

logger = logging.getLogger(__name__)

Target = TypeVar("Target", bound=Callable[..., Any])

REPLAY_SECONDS = 300.0
"""How far a request's timestamp may be from now, either way."""

MOST_REQUEST_BYTES = 2 << 20
"""Enough for the largest args and meta that Jabba takes by default, and what else a call carries."""

_TYPES = ("call", "cancel", "ping")
_MOST_PENDING_LINES = 100
_BUSY_SECONDS = 1.0
_RENEWALS_PER_LEASE = 3


@dataclass(slots=True)
class _Running:
    """A call that is at work: its context, and what is to be sent to whoever waits for it."""

    context: Context
    outbox: "asyncio.Queue[bytes | Response]"


class Callee:
    """Receives calls of one service, checks them, runs its callbacks and answers.

    Args:
        service: its name in the callers' settings; calls that were meant for another one are refused.
        secrets: ``whsec_…``, one or, while they are being changed, two; a signature by any of them is good.
        store: keeps final answers, so that a repeated call has no second effect; in memory by default.
        replay_seconds: how old or early a request's timestamp may be.
        most_request_bytes: of a request's body; larger ones are refused with 413.
        bounds: how much of a result and of a traceback is sent.
        clock: where time comes from.

    Raises:
        SignatureError: a secret has another form.
        ValueError: there is no secret.
    """

    def __init__(
        self,
        service: str,
        secrets: Iterable[str],
        *,
        store: Store | None = None,
        replay_seconds: float = REPLAY_SECONDS,
        most_request_bytes: int = MOST_REQUEST_BYTES,
        bounds: Bounds = results.BOUNDS,
        clock: Clock | None = None,
    ) -> None:
        self.service = service
        self.most_request_bytes = most_request_bytes
        self._secrets = [signature.secret_bytes(one) for one in secrets]
        if not self._secrets:
            raise ValueError("a callee needs a secret: without one anybody could call it")
        self._store: Store = MemoryStore() if store is None else store
        self._replay_seconds = replay_seconds
        self._bounds = bounds
        self._clock = clock or SystemClock()
        self._functions: dict[tuple[str, str], Function] = {}
        self._running: dict[str, _Running] = {}
        self._works: set[asyncio.Task[None]] = set()

    @overload
    def callback(self, target: Target, /) -> Target: ...
    @overload
    def callback(
        self, target: str | None = None, /, *, module: str | None = None, name: str | None = None
    ) -> Callable[[Target], Target]: ...
    def callback(
        self, target: Target | str | None = None, /, *, module: str | None = None, name: str | None = None
    ) -> Any:
        """Register a function, async or not, under ``module.function``.

        ``@callee.callback("core.rpc.deactivate")`` or ``@callee.callback(module="core.rpc", name="deactivate")``; a
        bare ``@callee.callback`` takes the function's own names. Arguments are checked by the function's annotations as
        pydantic does it. A parameter annotated with ``Context`` gets the call's context. Functions that are not async
        run in threads.

        Raises:
            InvalidCallback: it cannot be called, or its name is taken.
        """
        if callable(target):
            self._register(target, module, name)
            return target
        if isinstance(target, str):
            module, _, name = target.rpartition(".")
            if not module or not name:
                raise InvalidCallback(f"{target!r} is not a name: write module.function")

        def register(function: Target) -> Target:
            self._register(function, module, name)
            return function

        return register

    def offer_checks(self) -> None:
        """Offer the functions that ``jabba callee check`` calls for its full check, as ``jabba.check.…``."""
        from jabba.callee.checks import offer  # noqa: PLC0415 — it needs the callee's decorator

        offer(self)

    def aiohttp_app(self) -> "web.Application":
        """Return an application of aiohttp: run it, or mount it with ``add_subapp("/jabba", …)``."""
        from jabba.callee.aiohttp_app import application  # noqa: PLC0415 — who serves ASGI needs no aiohttp server

        return application(self)

    def asgi_app(self) -> "AsgiApp":
        """Return an ASGI application: run it, or mount it in Starlette or FastAPI."""
        from jabba.callee.asgi import AsgiApp  # noqa: PLC0415 — as above

        return AsgiApp(self)

    async def drain(self) -> None:
        """Return when no callback is at work any more; servers do so when they stop."""
        while self._works:
            await asyncio.wait(self._works)

    async def answer(self, request: Request) -> Response:
        """Return the response to a request, whatever it is; only a cancellation is raised."""
        try:
            return await self._answer(request)
        except WireError as error:
            return refusal(error)
        except Exception:
            logger.exception("a request was not answered")
            return refusal(WireError(500, "the callee met a defect; its log has it"))

    def leave(self, request: Request) -> None:
        """Note that whoever sent a request has closed the connection: its callback hears of it in ``cancelled``."""
        running = self._running.get(request.headers.get(signature.ID, ""))
        if running is not None and running.context.request is request:
            running.context.cancelled.set()

    async def _answer(self, request: Request) -> Response:
        kind, call = self._checked(request)
        if kind == "ping":
            return response_of(Final(200, json_codec.encode({"ok": {"service": self.service}})))
        id_ = request.headers[signature.ID]
        if kind == "cancel":
            running = self._running.get(id_)
            if running is not None:
                running.context.cancelled.set()
            return response_of(Final(200, json_codec.encode({"ok": {"cancelled": running is not None}})))
        return await self._call(id_, call, request)

    def _checked(self, request: Request) -> tuple[str, Call]:
        """Return what a request is, if it may be answered."""
        if request.method != "POST":
            raise WireError(405, "calls are made with POST")
        if request.headers.get("content-encoding", "identity") != "identity":
            raise WireError(415, "content-encoding must be identity: the signature covers the bytes of the body")
        if len(request.body) > self.most_request_bytes:
            raise WireError(413, f"the body has more than {self.most_request_bytes:,} bytes")
        try:
            signature.verify(self._secrets, request.headers, request.body, self._clock.now(), self._replay_seconds)
        except signature.SignatureError as error:
            raise WireError(401, str(error)) from error
        call = Call.parse(request.body)
        kind = call.type.removeprefix("jabba.")
        if kind not in _TYPES or request.headers.get("jabba-type", kind) != kind:
            raise WireError(400, "type must be jabba.call, jabba.cancel or jabba.ping, and jabba-type its second word")
        if call.service != self.service:
            raise WireError(403, "the call is meant for another service: check its address in the caller's settings")
        return kind, call

    async def _call(self, id_: str, call: Call, request: Request) -> Response:
        timeout = timeout_of(request.headers)
        function = self._functions.get((call.module, call.function))
        if function is None:
            error = {"error": f"unknown callback {json_codec.storable(f'{call.module}.{call.function}'[:200])}"}
            return response_of(Final.of(replace(results.failed(error), retry=False), 404))
        try:
            arguments = function.arguments(call.args, call.named)
        except WrongArguments as error:
            return response_of(Final.of(_wrong_arguments(error), 422))
        claim = await self._claim(id_)
        if isinstance(claim, Kept):
            return response_of(Final.decode(claim.answer))
        running = _Running(
            Context(call, id=id_, claim=claim, store=self._store, timeout=timeout, request=request),
            asyncio.Queue(),
        )
        running.context.send = partial(_send, running.outbox)
        self._running[id_] = running
        bound = function.bind(arguments, running.context)
        work = asyncio.create_task(self._work(running, bound, function.is_async))
        self._works.add(work)
        work.add_done_callback(self._works.discard)
        first = await running.outbox.get()
        return first if isinstance(first, Response) else Response(200, lines=_lines(first, running.outbox))

    async def _claim(self, id_: str) -> Kept | str:
        try:
            claim = await self._store.claim(id_)
        except Exception as error:
            logger.exception("the store of answers cannot be used")
            raise WireError(503, "the store of answers cannot be used", retry_after=_BUSY_SECONDS) from error
        if isinstance(claim, Busy):
            raise WireError(409, "another delivery of this call is at work", retry_after=claim.seconds)
        return claim if isinstance(claim, Kept) else claim.claim

    async def _work(self, running: _Running, call: Callable[[], Any], is_async: bool) -> None:  # noqa: FBT001
        """Run a callback to its end, whoever still waits for it, and keep its answer if that is final."""
        context = running.context
        renewing = asyncio.create_task(self._renew(context)) if self._store.lease else None
        response = refusal(WireError(503, "the callee is stopping", retry_after=_BUSY_SECONDS))
        try:
            final = await self._run(context, call, is_async)
            response = Response(202, b"{}") if final is None else response_of(final)
            await self._settle(context, final)
        except ClaimLost as error:
            response = refusal(WireError(409, str(error), retry_after=_BUSY_SECONDS))
        except asyncio.CancelledError:
            with contextlib.suppress(Exception):
                await self._store.release(context.id, context.claim)
            raise
        finally:
            if renewing is not None:
                renewing.cancel()
            # A delivery that was overtaken leaves the place of its successor alone.
            if self._running.get(context.id) is running:
                del self._running[context.id]
            running.outbox.put_nowait(response)

    async def _run(self, context: Context, call: Callable[[], Any], is_async: bool) -> Final | None:  # noqa: FBT001
        """Return a callback's answer, or None if it has accepted the call."""
        enter_context(context)
        try:
            value = await call() if is_async else await asyncio.to_thread(call)
            answer = results.returned(value, self._bounds) if not isinstance(value, Accepted) else None
        except Answered as error:
            return error.final
        except ClaimLost:
            raise
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError) and _is_cancelled():
                raise
            answer = self._raised(context, error)
        if context.committed is not None:
            return context.committed
        return None if answer is None else Final.of(answer)

    def _raised(self, context: Context, error: BaseException) -> Answer:
        if not isinstance(error, TaskError | RetryTask):
            logger.warning("a callback raised (id=%s attempt=%d)", context.id, context.attempt, exc_info=error)
        answer = results.raised(error, self._bounds)
        return replace(answer, retry=False) if isinstance(error, FinalError) else answer

    async def _settle(self, context: Context, final: Final | None) -> None:
        """Keep an answer that must be given again, and give up the claim of any other; ``once`` has kept its own."""
        if context.committed is not None:
            return
        try:
            if final is not None and final.is_kept:
                await self._store.keep(context.id, context.claim, final.encode())
            else:
                await self._store.release(context.id, context.claim)
        except Exception:
            logger.exception("the answer of call %s was not kept: a repetition would run again", context.id)

    async def _renew(self, context: Context) -> None:
        while self._store.lease:
            await asyncio.sleep(self._store.lease / _RENEWALS_PER_LEASE)
            try:
                holds = await self._store.renew(context.id, context.claim)
            except Exception:
                logger.exception("the claim of call %s was not renewed", context.id)
                continue
            if not holds:
                context.cancelled.set()
                return

    def _register(self, target: Callable[..., Any], module: str | None, name: str | None) -> None:
        name = name or getattr(target, "__name__", None)
        if name is None:
            raise InvalidCallback(f"{target!r} has no name of its own: register it with callee.callback(name=…)")
        key = (module or target.__module__, name)
        if key in self._functions and self._functions[key].call is not target:
            raise InvalidCallback(f"{'.'.join(key)} is registered twice")
        self._functions[key] = function_of(target, ".".join(key))


def _send(outbox: "asyncio.Queue[bytes | Response]", line: bytes) -> None:
    # A reader that is slow, or gone, misses lines: each of them is only the newest of its kind.
    if outbox.qsize() < _MOST_PENDING_LINES:
        outbox.put_nowait(line)


async def _lines(first: bytes, outbox: "asyncio.Queue[bytes | Response]") -> AsyncIterator[bytes]:
    """Return the lines of a response that has begun before its answer is known; the last one is the answer."""
    item: bytes | Response = first
    while isinstance(item, bytes):
        yield item
        item = await outbox.get()
    yield _last_line(item)


def _last_line(response: Response) -> bytes:
    retry = response.headers.get("jabba-retry")
    return Final(response.status, response.body, retry).as_line()


def _is_cancelled() -> bool:
    """Tell the cancellation of the callee's task from one that the callback raised by itself."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _wrong_arguments(error: WrongArguments) -> Answer:
    fields = [{"field": one.field, "message": one.message} for one in error.fields]
    result = {"error": f"wrong arguments: {error}"[:10_000], "type": "wrong_arguments", "fields": fields}
    return replace(results.failed(result), retry=False)
