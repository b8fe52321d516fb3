"""The client for code without an event loop."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Self
from uuid import UUID

from jabba.client.asynchronous import Client
from jabba.client.forms import Cursor, Filter, Order
from jabba.concurrency.background_loop import BackgroundLoop
from jabba.jobs.models import Job, JobEvent, Progress, Task, TaskDetails
from jabba.jobs.pages import Page
from jabba.messages.positions import Position
from jabba.producer.submission import Delivery, StrategyName, Submitted, TaskForm, in_pieces


class SyncClient:
    """The twin of ``Client`` for code without an event loop; the arguments and errors are the same.

    ``with SyncClient("http://127.0.0.1:8600", key=…) as client: …``. Threads may share one.
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
        self._client = Client(url, key=key, timeout=timeout, retries=retries, connections=connections)
        self._background = BackgroundLoop("jabba-client", self._client.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def create_job(
        self,
        tasks: TaskForm | Sequence[TaskForm],
        type: str,  # noqa: A002 — as in Client
        *,
        strategy: StrategyName = "sequential",
        meta: Mapping[str, Any] | None = None,
        name: str | None = None,
        id: UUID | str | None = None,  # noqa: A002 — as in Client
    ) -> Submitted:
        """Submit a job; see ``Client.create_job``."""
        work = self._client.create_job(tasks, type, strategy=strategy, meta=meta, name=name, id=id)
        return self._background.run(work)

    def submit(self, document: Any) -> Submitted:
        """Submit a job given as one document; see ``Client.submit``."""
        return self._background.run(self._client.submit(document))

    def create_jobs(self, jobs: Iterable[Any]) -> Iterator[Delivery]:
        """Submit many jobs; see ``Client.create_jobs``. The caller's thread reads a thousand of them at a time."""
        self._background.check()
        return in_pieces(jobs, lambda piece: self._background.iterate(self._client.create_jobs(piece)))

    submit_many = create_jobs

    def get_job(self, job: UUID | str, *, after: Position | None = None) -> Job:
        """Return a job; see ``Client.get_job``."""
        return self._background.run(self._client.get_job(job, after=after))

    def get_progress(self, job: UUID | str) -> Progress:
        """Return how far a job has come; see ``Client.get_progress``."""
        return self._background.run(self._client.get_progress(job))

    def get_task(self, task: UUID | str) -> TaskDetails:
        """Return a task with the history of its attempts; see ``Client.get_task``."""
        return self._background.run(self._client.get_task(task))

    def get_tasks(
        self,
        job: UUID | str,
        filter: Filter = (),  # noqa: A002 — as in Client
        *,
        cursor: Cursor = (0, 50),
        count: bool = False,
    ) -> Page[Task]:
        """Return a page of a job's tasks; see ``Client.get_tasks``."""
        return self._background.run(self._client.get_tasks(job, filter, cursor=cursor, count=count))

    def search_jobs(
        self,
        filter: Filter = (),  # noqa: A002 — as in Client
        order_by: Order = (),
        cursor: Cursor = (0, 50),
        *,
        count: bool = False,
    ) -> Page[Job]:
        """Return a page of the jobs that meet every condition; see ``Client.search_jobs``."""
        return self._background.run(self._client.search_jobs(filter, order_by, cursor, count=count))

    def search_tasks(
        self,
        filter: Filter = (),  # noqa: A002 — as in Client
        order_by: Order = (),
        cursor: Cursor = (0, 50),
        *,
        count: bool = False,
    ) -> Page[Task]:
        """Return a page of the tasks that meet every condition; see ``Client.search_tasks``."""
        return self._background.run(self._client.search_tasks(filter, order_by, cursor, count=count))

    def iter_jobs(
        self,
        filter: Filter = (),  # noqa: A002 — as in Client
        order_by: Order = (),
        *,
        page_size: int = 200,
    ) -> Iterator[Job]:
        """Return all jobs that meet every condition; see ``Client.iter_jobs``."""
        return self._background.iterate(self._client.iter_jobs(filter, order_by, page_size=page_size))

    def iter_tasks(
        self,
        filter: Filter = (),  # noqa: A002 — as in Client
        order_by: Order = (),
        *,
        page_size: int = 200,
    ) -> Iterator[Task]:
        """Return all tasks that meet every condition; see ``Client.iter_tasks``."""
        return self._background.iterate(self._client.iter_tasks(filter, order_by, page_size=page_size))

    def get_stats(self) -> dict[str, Any]:
        """Return how it goes; see ``Client.get_stats``."""
        return self._background.run(self._client.get_stats())

    def get_services(self) -> list[dict[str, Any]]:
        """Return the services that the web process knows; see ``Client.get_services``."""
        return self._background.run(self._client.get_services())

    def wait(self, job: Submitted | UUID | str, *, timeout: float | None = None) -> Job:
        """Return a job once all of its tasks have ended; see ``Client.wait``."""
        return self._background.run(self._client.wait(job, timeout=timeout))

    def watch(
        self,
        job: Submitted | UUID | str | None = None,
        *,
        filter: Filter = (),  # noqa: A002 — its name in the interface
        timeout: float | None = None,
    ) -> Iterator[JobEvent]:
        """Return the events of a job, or of all jobs, as they happen; see ``Client.watch``."""
        return self._background.iterate(self._client.watch(job, filter=filter, timeout=timeout))

    def close(self) -> None:
        """Close the connections and end the thread."""
        self._background.close()
