"""The client for code with an event loop."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Mapping, Sequence
from typing import Any, Self
from urllib.parse import quote
from uuid import UUID

from jabba.arguments import check_optional_seconds
from jabba.client import many, searching, watching
from jabba.client.answers import JOB, PROGRESS, SERVICES, STATS, SUBMITTED, TASK
from jabba.client.connection import Connection, log_retry
from jabba.client.forms import Cursor, Filter, Order
from jabba.clock import SystemClock
from jabba.concurrency.backoff import Backoff
from jabba.errors import InvalidRequest, Refused, Unavailable
from jabba.jobs import ids
from jabba.jobs.models import Job, JobEvent, Progress, Task, TaskDetails, encode_document
from jabba.jobs.pages import Page
from jabba.messages.positions import Position, write_position
from jabba.producer.submission import Delivery, StrategyName, Submitted, TaskForm, document_of

_FIRST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 2.0
_PAUSE_GROWTH = 1.5

_WAIT_SECONDS = 30
"""How long one request waits for a job to end."""


class Client:
    """Talks to a web process; ``async with Client("http://127.0.0.1:8600", key=…) as client: …``.

    Every error is one of ``jabba.errors``, made from the server's answer. A server that cannot be reached is
    ``Unavailable``; ``Refused``, which is one, if it never will be with this URL. What answers, but is not Jabba, is a
    ``RequestError``. A client belongs to the event loop that it is first used in, as long as that lasts, and cannot be
    used after ``close()`` (``Closed``).

    Args:
        url: where the web process is.
        key: the API key; what it may not do is ``Forbidden``, one that is not valid is ``Unauthorized``.
        timeout: seconds that a call may take, above 0.
        retries: how often a call is repeated that the server could not answer. That is without harm: a submission has
            its id before it is sent, and is recognised.
        connections: how many connections the calls may share; ``watch`` and ``create_jobs`` have their own.

    Raises:
        InvalidArgument: names the argument that is wrong.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8600",
        *,
        key: str | None = None,
        timeout: float = 60.0,
        retries: int = 2,
        connections: int = 100,
    ) -> None:
        self._connection = Connection(url, key, timeout, retries, connections)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def create_job(
        self,
        tasks: TaskForm | Sequence[TaskForm],
        type: str,  # noqa: A002 — the name that every other face of a job has
        *,
        strategy: StrategyName = "sequential",
        meta: Mapping[str, Any] | None = None,
        name: str | None = None,
        id: UUID | str | None = None,  # noqa: A002 — as above
    ) -> Submitted:
        """Submit a job; the arguments are those of ``Producer.create_job``.

        Raises:
            InvalidRequest: names every wrong field.
            Unavailable: not acknowledged, and the job may run all the same; with an ``id`` of your own, the same call
                may be repeated without a second job.
        """
        return await self.submit(document_of(tasks, type, strategy=strategy, meta=meta, name=name, id=id))

    async def submit(self, document: Any) -> Submitted:
        """Submit a job given as one document, as the HTTP interface takes it; errors as for ``create_job``."""
        if not isinstance(document, Mapping) or document.get("id") is not None:
            return await self._submit(document)
        try:
            return await self._submit({**document, "id": ids.new_job_id(SystemClock().now())})
        except InvalidRequest as error:
            if [one.field for one in error.fields] != ["id"]:
                raise
        # The clock here is far from the server's, which then chooses the id; such a submission must not be repeated.
        return await self._submit(document, retries=0)

    def create_jobs(self, jobs: Iterable[Any] | AsyncIterable[Any]) -> AsyncGenerator[Delivery]:
        """Submit many jobs, each a mapping of ``create_job``'s arguments; return what became of each, in their order.

        ``async for delivery in client.create_jobs(jobs): delivery.result()``. Up to a thousand of them, or 4 MiB, share
        a request, and two requests are under way at a time; ``timeout`` is how long the server may say nothing. Those
        that were not acknowledged are sent again, under the ids they had. One that is wrong, or was not acknowledged
        for all of that, has its error, and the others go on.

        Raises:
            RequestError: the server takes no jobs from here at all.
        """
        self._connection.check_open()
        return many.create_jobs(self._connection, jobs)

    submit_many = create_jobs
    """To ``submit`` what ``create_jobs`` is to ``create_job``: here the two are the same."""

    async def get_job(self, job: UUID | str, *, after: Position | None = None) -> Job:
        """Return a job; with the position of its submission, wait until the database has all of it.

        Raises:
            NotFound: there is none.
        """
        query = {} if after is None else {"after": write_position(after)}
        return await self._connection.get(_path(job), query, JOB)

    async def get_progress(self, job: UUID | str) -> Progress:
        """Return how far a job has come.

        Raises:
            NotFound: there is none.
        """
        return await self._connection.get(f"{_path(job)}/progress", {}, PROGRESS)

    async def get_task(self, task: UUID | str) -> TaskDetails:
        """Return a task with the history of its attempts.

        Raises:
            NotFound: there is none.
        """
        return await self._connection.get(f"/v1/tasks/{quote(str(task), safe='')}", {}, TASK)

    async def get_tasks(
        self,
        job: UUID | str,
        filter: Filter = (),  # noqa: A002 — as in search_tasks
        *,
        cursor: Cursor = (0, 50),
        count: bool = False,
    ) -> Page[Task]:
        """Return a page of a job's tasks in the order in which they were submitted, or of those that meet conditions.

        Raises:
            NotFound: there is no such job.
            InvalidRequest: as for ``search_tasks``; the places in a text are called ``q[17]`` here.
        """
        query = searching.parameters(filter, cursor, count=count)
        return await self._connection.get(f"{_path(job)}/tasks", query, searching.TASKS.form)

    async def search_jobs(
        self,
        filter: Filter = (),  # noqa: A002 — its name in the interface
        order_by: Order = (),
        cursor: Cursor = (0, 50),
        *,
        count: bool = False,
    ) -> Page[Job]:
        """Return a page of the jobs that meet every condition, the newest first unless told otherwise.

        The page is a list; its ``next`` is the cursor of the page behind it, and with ``count`` its ``total`` tells how
        many there are on all pages.

        Raises:
            InvalidRequest: names the condition that is wrong, such as ``filter[2][1]``, or its place in a text, such as
                ``query[17]``.
        """
        return await searching.JOBS.page(self._connection, filter, order_by, cursor, count=count)

    async def search_tasks(
        self,
        filter: Filter = (),  # noqa: A002 — its name in the interface
        order_by: Order = (),
        cursor: Cursor = (0, 50),
        *,
        count: bool = False,
    ) -> Page[Task]:
        """Return a page of the tasks that meet every condition; as ``search_jobs``."""
        return await searching.TASKS.page(self._connection, filter, order_by, cursor, count=count)

    def iter_jobs(
        self,
        filter: Filter = (),  # noqa: A002 — its name in the interface
        order_by: Order = (),
        *,
        page_size: int = 200,
    ) -> AsyncGenerator[Job]:
        """Return all jobs that meet every condition, one by one; errors as for ``search_jobs``.

        ``async for job in client.iter_jobs("status:FAILED"): …``. They are asked for page by page; none comes twice,
        and none that is there all the time is missed.
        """
        self._connection.check_open()
        return searching.JOBS.items(self._connection, filter, order_by, page_size)

    def iter_tasks(
        self,
        filter: Filter = (),  # noqa: A002 — its name in the interface
        order_by: Order = (),
        *,
        page_size: int = 200,
    ) -> AsyncGenerator[Task]:
        """Return all tasks that meet every condition, one by one; as ``iter_jobs``."""
        self._connection.check_open()
        return searching.TASKS.items(self._connection, filter, order_by, page_size)

    async def get_stats(self) -> dict[str, Any]:
        """Return how it goes, as ``GET /v1/stats`` tells it.

        Raises:
            Forbidden: the key may not search, or is limited to some types.
        """
        return await self._connection.get("/v1/stats", {}, STATS)

    async def get_services(self) -> list[dict[str, Any]]:
        """Return the services that the web process knows, as ``GET /v1/services`` tells them.

        Raises:
            Forbidden: the key may not search, or is limited to some types.
        """
        return await self._connection.get("/v1/services", {}, SERVICES)

    async def wait(self, job: Submitted | UUID | str, *, timeout: float | None = None) -> Job:  # noqa: ASYNC109 — part of the interface
        """Return a job once all of its tasks have ended.

        A server that is unavailable meanwhile is asked again, and each time that is logged (``jabba.client``).

        Raises:
            NotFound: there is no such job.
            Refused: the server will never answer at this URL.
            TimeoutError: it has not ended within ``timeout`` seconds; with 0 it is looked at once, without waiting.
            InvalidArgument: ``timeout`` is neither None nor a number of seconds.
        """
        limit = check_optional_seconds("timeout", timeout, zero=True)
        after = job.position if isinstance(job, Submitted) else None
        of_job = job.id if isinstance(job, Submitted) else job
        backoff = Backoff(_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS, _PAUSE_GROWTH)
        trouble: Unavailable | None = None
        try:
            async with asyncio.timeout(limit or None):
                while True:
                    found, trouble = await self._look(of_job, after, limit)
                    if found is not None and found.ended_at is not None:
                        return found
                    if limit == 0:
                        break
                    pause = backoff.next()
                    if trouble is not None:
                        log_retry(trouble, pause)
                    await asyncio.sleep(pause)
        except TimeoutError as error:
            raise _not_ended(of_job, timeout, trouble) from error
        raise _not_ended(of_job, timeout, trouble)

    def watch(
        self,
        job: Submitted | UUID | str | None = None,
        *,
        filter: Filter = (),  # noqa: A002 — its name in the interface
        timeout: float | None = None,
    ) -> AsyncGenerator[JobEvent]:
        """Return the events of a job as they happen, from its beginning on; the last one is ``job_ended``.

        ``async for event in client.watch(job): print(event.event, event.index, event.status)``. Of each task the
        events are in order, and none is missing or repeated: when the connection breaks, or the server is unavailable,
        the next connection goes on behind the last event.

        Without a job, the events of all jobs from now on, without an end. With a ``filter``, those events that meet its
        conditions: ``client.watch(filter="job.meta.tenant:x status:FAILED")``.

        Raises:
            NotFound: there is no such job.
            Refused: the server will never answer at this URL.
            InvalidRequest: names the condition that is wrong, ``filter[2][1]``, or its place in a text, ``q[17]``.
            TimeoutError: it has not ended within ``timeout`` seconds.
            InvalidArgument: ``timeout`` is neither None nor a number of seconds above 0.
        """
        self._connection.check_open()
        limit = check_optional_seconds("timeout", timeout)
        of_job = job.id if isinstance(job, Submitted) else job
        return watching.within(limit, watching.watch(self._connection, of_job, filter), of_job)

    async def close(self) -> None:
        """Close the connections."""
        await self._connection.close()

    async def _submit(self, document: Any, *, retries: int | None = None) -> Submitted:
        return await self._connection.post("/v1/jobs", encode_document(document), SUBMITTED, retries=retries)

    async def _look(
        self, job: UUID | str, after: Position | None, limit: float | None
    ) -> tuple[Job | None, Unavailable | None]:
        """Return a job when it has ended, or what there is of it after a while; or why the server does not say."""
        query = {} if limit == 0 else {"wait": str(max(1, min(_WAIT_SECONDS, int(self._connection.timeout / 2))))}
        if after is not None:
            query["after"] = write_position(after)
        try:
            return await self._connection.get(_path(job), query, JOB), None
        except Refused:
            raise
        except Unavailable as error:
            return None, error


def _not_ended(job: UUID | str, timeout: float | None, trouble: Unavailable | None) -> TimeoutError:
    reason = "" if trouble is None else f"; {trouble}"
    return TimeoutError(f"job {job} has not ended within {timeout} s{reason}")


def _path(job: UUID | str) -> str:
    return f"/v1/jobs/{quote(str(job), safe='')}"
