"""What a callback knows of the call that it runs for, and what it can say before it returns."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextvars import ContextVar
from datetime import datetime
from typing import Any, NamedTuple, Self
from uuid import UUID

import aiohttp

from jabba.callbacks import results
from jabba.callbacks.bounded import to_stored_json
from jabba.callee import sql
from jabba.callee.postgres import PostgresStore
from jabba.callee.store import Store
from jabba.callee.wire import Call, CompletionPlace, Final, Request
from jabba.errors import JabbaError, TaskError
from jabba.jobs import json_codec
from jabba.jobs.lifecycle import TaskSucceeded

_PROGRESS_BYTES = 65_536


class FinalError(TaskError):
    """Raised by a callback to fail its task for good: no policy asks for another attempt, and the answer is kept."""


class Accepted(NamedTuple):
    """Returned by a callback whose work goes on: the call is answered with 202, and completed by its token."""


class Completion:
    """Completes an accepted call later, from anywhere: ``url`` and ``token`` may be stored.

    The token is good for one completion. Keep it secret: whoever has it can end the task.
    """

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self.token = token

    async def complete(self, result: Mapping[str, Any]) -> None:
        """End the task with success; ClientResponseError says that the token is wrong or late."""
        await self._post("complete", {"ok": dict(result)})

    async def fail(self, error: Mapping[str, Any]) -> None:
        """End the task with an error."""
        await self._post("fail", {"error": dict(error)})

    async def heartbeat(self, progress: Mapping[str, Any] | None = None) -> bool:
        """Say that the work goes on; return whether the job was cancelled meanwhile."""
        answer = await self._post("heartbeat", {} if progress is None else {"progress": dict(progress)})
        return bool(answer.get("data", {}).get("cancelled"))

    async def _post(self, verb: str, document: dict[str, Any]) -> dict[str, Any]:
        body = json_codec.encode({"token": self.token, **document})
        headers = {"content-type": "application/json"}
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(30)) as session,
            session.post(f"{self.url.rstrip('/')}/{verb}", data=body, headers=headers, allow_redirects=False) as answer,
        ):
            answer.raise_for_status()
            found: dict[str, Any] = json_codec.decode(await answer.read() or b"{}")
            return found


class Context:
    """The call that a callback runs for.

    Attributes:
        id: the ``webhook-id``: the same for every attempt of one run of a task.
        job_id, task_id: of the task.
        run: counts the reruns of the job, from 0.
        attempt: counts the calls of this run, from 1.
        meta: the job's.
        timeout: seconds that this attempt may take, as the caller has said; None without a limit.
        deadline: when the job must have ended; None without one.
        cancelled: an event that is set when the job is cancelled or the caller has gone. Nothing else stops the
            callback: it looks at ``cancelled.is_set()``, also from a thread, or awaits ``cancelled.wait()``.
        completion: where to complete the task after ``accept()``; None if the caller does not offer it.
    """

    def __init__(
        self,
        call: Call,
        *,
        id: str,  # noqa: A002 — the header's name
        claim: str,
        store: Store,
        timeout: float | None,
        request: Request,
    ) -> None:
        self.id = id
        self.job_id: UUID | None = call.job_id
        self.task_id: UUID | None = call.task_id
        self.run = call.run
        self.attempt = call.attempt
        self.meta: Mapping[str, Any] = call.meta
        self.timeout = timeout
        self.deadline: datetime | None = call.deadline
        self.cancelled = asyncio.Event()
        self.completion = None if call.completion is None else _completion(call.completion)
        self.claim = claim
        self.request = request
        self.send: Callable[[bytes], None] = _nowhere
        self._store = store
        self._committed: Final | None = None

    async def progress(self, value: Mapping[str, Any]) -> None:
        """Send the caller a line about how far the callback has come; it also proves that the callback is alive.

        The first one begins the response, with status 200. ``value`` is a map of at most 64 KiB of JSON.
        """
        self.send(b'{"progress":%s}\n' % to_stored_json(dict(value), _PROGRESS_BYTES).text)

    def accept(self) -> Accepted:
        """Return what a callback returns whose work goes on elsewhere; keep ``completion`` first.

        Raises:
            JabbaError: the caller does not say where to complete it.
        """
        if self.completion is None:
            raise JabbaError("the caller offers no completion: return the answer instead")
        return Accepted()

    def once(self, connection: Any) -> "Once":
        """Return a block whose effects happen exactly once: they, the claim and the answer are one transaction.

        It is used with ``async with`` or ``with``, as the connection wants it, which is one to the database of the
        store. The block sets ``result`` of what it is given. That is the answer of this call and of every repetition,
        whatever happens after the block. An exception in the block rolls back all of it.

        Raises:
            JabbaError: the callee's store is not a PostgresStore.
            ClaimLost: inside, at the beginning of the block: another delivery has taken the call over.
        """
        if not isinstance(self._store, PostgresStore):
            raise JabbaError("once() needs Callee(store=PostgresStore(…)), so that the answer is kept with the effect")
        return Once(self, self._store, connection)

    @property
    def committed(self) -> Final | None:
        """What a block of ``once`` has committed as the answer."""
        return self._committed


class Answered(JabbaError):
    """The call has been answered by another delivery, with ``final``."""

    def __init__(self, final: Final) -> None:
        super().__init__("another delivery has answered this call")
        self.final = final


class Once:
    """The block of ``Context.once``; ``result`` is a map, the answer."""

    def __init__(self, context: Context, store: PostgresStore, connection: Any) -> None:
        self.result: Mapping[str, Any] = {}
        self._context = context
        self._store = store
        self._connection = connection
        self._async: Any = None
        self._sync: Any = None

    async def __aenter__(self) -> Self:
        self._async = self._block_async()
        await self._async.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> bool | None:
        end: bool | None = await self._async.__aexit__(*error)
        return end

    def __enter__(self) -> Self:
        self._sync = self._block()
        self._sync.__enter__()
        return self

    def __exit__(self, *error: object) -> bool | None:
        end: bool | None = self._sync.__exit__(*error)
        return end

    @contextlib.asynccontextmanager
    async def _block_async(self) -> AsyncIterator[None]:
        identity = (self._connection, self._context.id, self._context.claim)
        async with sql.transaction_async(self._connection):
            _refuse_answered(await self._store.lock_async(*identity))
            yield
            final = self._final()
            await self._store.write_async(*identity, final.encode())
        self._context._committed = final  # noqa: SLF001

    @contextlib.contextmanager
    def _block(self) -> Iterator[None]:
        identity = (self._connection, self._context.id, self._context.claim)
        with sql.transaction(self._connection):
            _refuse_answered(self._store.lock(*identity))
            yield
            final = self._final()
            self._store.write(*identity, final.encode())
        self._context._committed = final  # noqa: SLF001

    def _final(self) -> Final:
        answer = results.succeeded(dict(self.result))
        if answer.event is not TaskSucceeded:
            raise JabbaError(answer.result["error"])
        return Final.of(answer)


def _refuse_answered(answer: str | None) -> None:
    if answer is not None:
        raise Answered(Final.decode(answer))


def _nowhere(_: bytes) -> None:
    """Lose a line: nobody reads them yet."""


def _completion(place: CompletionPlace) -> Completion:
    return Completion(place.url, place.token)


_context: ContextVar[Context] = ContextVar("jabba_call")


def current_context() -> Context:
    """Return the context of the call that the calling callback runs for; LookupError outside of one."""
    return _context.get()


def enter_context(context: Context) -> None:
    """Make ``current_context`` return ``context`` in this asyncio task and the threads it starts."""
    _context.set(context)
