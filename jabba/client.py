"""Asking a Jabba over HTTP: submit, get, search, wait."""

import asyncio
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any, Self
from urllib.parse import quote
from uuid import UUID

import aiohttp
from pydantic import TypeAdapter

from jabba import strictjson
from jabba.background import BackgroundLoop
from jabba.errors import FieldError, InternalError, RequestError, Unavailable
from jabba.models import Job, Progress, Task
from jabba.positions import Position, read_position, write_position
from jabba.producer import Submitted, TaskForm

Condition = Sequence[Any]
"""``[field, rule, value]``, such as ``["status", "equal", "FAILED"]``."""

Order = Sequence[Sequence[str]]
"""``[["desc", "inserted_at"], …]``."""

Cursor = tuple[int, int]
"""Offset and limit."""

_JOBS = TypeAdapter(list[Job])
_TASKS = TypeAdapter(list[Task])

_FIRST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 2.0
_PAUSE_GROWTH = 1.5


class Client:
    """Talks to a web process; ``async with Client("http://127.0.0.1:8600") as client: …``.

    Every error is one of ``jabba.errors``, made from the server's answer. A server that cannot be reached is
    ``Unavailable``.

    Args:
        url: where the web process is.
        timeout: seconds that one request may take.
    """

    def __init__(self, url: str = "http://127.0.0.1:8600", *, timeout: float = 60.0) -> None:
        self._url = url.rstrip("/")
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def create_job(
        self,
        tasks: TaskForm | Sequence[TaskForm],
        type: str,  # noqa: A002 — the name that every other face of a job has
        *,
        strategy: str = "sequential",
        meta: Mapping[str, Any] | None = None,
        name: str | None = None,
        id: UUID | str | None = None,  # noqa: A002 — as above
    ) -> Submitted:
        """Submit a job; the arguments are those of ``Producer.create_job``.

        Raises:
            InvalidRequest: names every wrong field.
            Unavailable: not acknowledged; with an ``id``, the same call may be repeated without a second job.
        """
        given = {"meta": meta, "name": name, "id": id}
        document: dict[str, Any] = {"tasks": tasks, "type": type, "strategy": strategy}
        return await self.submit(document | {key: value for key, value in given.items() if value is not None})

    async def submit(self, document: Any) -> Submitted:
        """Submit a job given as one document, as the HTTP interface takes it; errors as for ``create_job``."""
        data = (await self._post("/v1/jobs", document))["data"]
        job = Job.model_validate(data)
        return Submitted(job.id, read_position(data["position"], "position"), job)

    async def get_job(self, job: UUID | str, *, after: Position | None = None) -> Job:
        """Answer a job; with the position of its submission, wait until the database has all of it.

        Raises:
            NotFound: there is none.
        """
        query = {} if after is None else {"after": write_position(after)}
        return Job.model_validate((await self._get(_path(job), query))["data"])

    async def get_progress(self, job: UUID | str) -> Progress:
        """Answer how far a job has come.

        Raises:
            NotFound: there is none.
        """
        return Progress.model_validate((await self._get(f"{_path(job)}/progress", {}))["data"])

    async def get_tasks(self, job: UUID | str, *, cursor: Cursor = (0, 50)) -> list[Task]:
        """Answer a page of a job's tasks, in their order.

        Raises:
            NotFound: there is no such job.
        """
        offset, limit = cursor
        return _TASKS.validate_python((await self._get(f"{_path(job)}/tasks", {"cursor": f"{offset},{limit}"}))["data"])

    async def search_jobs(
        self,
        filter: Sequence[Condition] = (),  # noqa: A002 — its name in the interface
        order_by: Order = (),
        cursor: Cursor = (0, 50),
    ) -> list[Job]:
        """Answer the jobs that meet every condition.

        Raises:
            InvalidRequest: names the condition that is wrong, such as ``filter[2][1]``.
        """
        return _JOBS.validate_python(await self._search("/v1/jobs/search", filter, order_by, cursor))

    async def search_tasks(
        self,
        filter: Sequence[Condition] = (),  # noqa: A002 — its name in the interface
        order_by: Order = (),
        cursor: Cursor = (0, 50),
    ) -> list[Task]:
        """Answer the tasks that meet every condition; errors as for ``search_jobs``."""
        return _TASKS.validate_python(await self._search("/v1/tasks/search", filter, order_by, cursor))

    async def wait(self, job: Submitted | UUID | str, *, timeout: float | None = None) -> Job:  # noqa: ASYNC109 — part of the interface
        """Answer a job once all of its tasks have ended.

        A server that is unavailable meanwhile is asked again.

        Raises:
            NotFound: there is no such job.
            TimeoutError: it has not ended within ``timeout`` seconds.
        """
        after = job.position if isinstance(job, Submitted) else None
        pause = _FIRST_PAUSE_SECONDS
        async with asyncio.timeout(timeout):
            while True:
                found = await self._get_job_if_available(job.id if isinstance(job, Submitted) else job, after)
                if found is not None and found.ended_at is not None:
                    return found
                await asyncio.sleep(pause)
                pause = min(pause * _PAUSE_GROWTH, _LONGEST_PAUSE_SECONDS)

    async def close(self) -> None:
        """Close the connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _get_job_if_available(self, job: UUID | str, after: Position | None) -> Job | None:
        try:
            return await self.get_job(job, after=after)
        except Unavailable:
            return None

    async def _search(self, path: str, conditions: Sequence[Condition], order_by: Order, cursor: Cursor) -> Any:
        document = {"filter": list(conditions), "order_by": list(order_by), "cursor": list(cursor)}
        return (await self._post(path, document))["data"]

    async def _get(self, path: str, query: Mapping[str, str]) -> Any:
        return await self._request("GET", path, params=query)

    async def _post(self, path: str, document: Any) -> Any:
        headers = {"Content-Type": "application/json"}
        # As a stream, since aiohttp warns of large bodies that are bytes.
        body = io.BytesIO(strictjson.encode(document))
        return await self._request("POST", path, data=body, headers=headers)

    async def _request(self, method: str, path: str, **options: Any) -> Any:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=self._timeout)
        try:
            async with self._session.request(method, self._url + path, **options) as response:
                status, body = response.status, await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(f"{self._url} does not answer: {str(error) or repr(error)}") from error
        if status >= 400:  # noqa: PLR2004 — where HTTP's errors begin
            raise error_of(status, body)
        return json.loads(body)


class SyncClient:
    """The twin of ``Client`` for code without an event loop; the arguments and errors are the same.

    ``with SyncClient("http://127.0.0.1:8600") as client: …``. Threads may share one.
    """

    def __init__(self, url: str = "http://127.0.0.1:8600", *, timeout: float = 60.0) -> None:
        self._client = Client(url, timeout=timeout)
        self._background = BackgroundLoop("jabba-client")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def create_job(
        self,
        tasks: TaskForm | Sequence[TaskForm],
        type: str,  # noqa: A002 — as in Client
        *,
        strategy: str = "sequential",
        meta: Mapping[str, Any] | None = None,
        name: str | None = None,
        id: UUID | str | None = None,  # noqa: A002 — as in Client
    ) -> Submitted:
        """Submit a job; see ``Client.create_job``."""
        work = self._client.create_job(tasks, type, strategy=strategy, meta=meta, name=name, id=id)
        return self._background.run(work)

    def get_job(self, job: UUID | str, *, after: Position | None = None) -> Job:
        """Answer a job; see ``Client.get_job``."""
        return self._background.run(self._client.get_job(job, after=after))

    def get_progress(self, job: UUID | str) -> Progress:
        """Answer how far a job has come; see ``Client.get_progress``."""
        return self._background.run(self._client.get_progress(job))

    def get_tasks(self, job: UUID | str, *, cursor: Cursor = (0, 50)) -> list[Task]:
        """Answer a page of a job's tasks; see ``Client.get_tasks``."""
        return self._background.run(self._client.get_tasks(job, cursor=cursor))

    def search_jobs(
        self,
        filter: Sequence[Condition] = (),  # noqa: A002 — as in Client
        order_by: Order = (),
        cursor: Cursor = (0, 50),
    ) -> list[Job]:
        """Answer the jobs that meet every condition; see ``Client.search_jobs``."""
        return self._background.run(self._client.search_jobs(filter, order_by, cursor))

    def search_tasks(
        self,
        filter: Sequence[Condition] = (),  # noqa: A002 — as in Client
        order_by: Order = (),
        cursor: Cursor = (0, 50),
    ) -> list[Task]:
        """Answer the tasks that meet every condition; see ``Client.search_tasks``."""
        return self._background.run(self._client.search_tasks(filter, order_by, cursor))

    def wait(self, job: Submitted | UUID | str, *, timeout: float | None = None) -> Job:
        """Answer a job once all of its tasks have ended; see ``Client.wait``."""
        return self._background.run(self._client.wait(job, timeout=timeout))

    def close(self) -> None:
        """Close the connections and end the thread."""
        if self._background.closed:
            return
        try:
            self._background.run(self._client.close())
        finally:
            self._background.close()


def error_of(status: int, body: bytes) -> RequestError:
    """Make the error that a server's answer describes; an answer of something in between goes by its status."""
    try:
        described = json.loads(body)["error"]
        fields = [FieldError(one["field"], one["message"]) for one in described["fields"]]
        return _CLASSES.get(described["type"], RequestError)(described["message"], fields)
    except (ValueError, KeyError, TypeError):
        cls = _GATEWAY_CLASSES.get(status, RequestError)
        return cls(f"the server answered {status}: {body[:200].decode(errors='replace')}")


def _path(job: UUID | str) -> str:
    return f"/v1/jobs/{quote(str(job), safe='')}"


def _tree(root: type[RequestError]) -> dict[str, type[RequestError]]:
    found = {root.type: root}
    for cls in root.__subclasses__():
        found |= _tree(cls)
    return found


_CLASSES = _tree(RequestError)
_GATEWAY_CLASSES = {500: InternalError, 502: Unavailable, 503: Unavailable, 504: Unavailable}
