"""Submitting jobs straight to Kafka: no web, no database."""

import asyncio
import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self
from uuid import UUID

from jabba import ids, slices
from jabba.background import BackgroundLoop
from jabba.clock import Clock, SystemClock
from jabba.errors import FieldError, InvalidRequest, Unavailable
from jabba.grouping import GroupCommit
from jabba.lifecycle import JobStatus
from jabba.log import Log
from jabba.models import Callback, Job, JobSpec, Limits, TaskSpec
from jabba.positions import write_position
from jabba.topics import Topics, partition_of

TaskForm = TaskSpec | Callback | Mapping[str, Any] | Sequence[Any]
"""A task as a caller may write it: ``{"callback": …, "name", "meta"}``, a callback alone, or the callback as
``[service, module, function, args]``."""

MAX_WAITING_BYTES = 256 * 1024 * 1024
"""More than this is not queued for Kafka; a submission that would go beyond is refused, and may be sent again."""

_INLINE_TASKS = 200
_CLOSE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Submitted:
    """A job that Kafka has acknowledged in full.

    ``position`` maps each partition of the tasks topic to the highest offset that carries a slice of the job: with
    its text form a reader waits until PostgreSQL shows the job. ``job`` is the job as accepted, its times the
    submitter's.
    """

    id: UUID
    position: dict[int, int]
    job: Job

    @property
    def position_text(self) -> str:
        """Answer the position as ``partition:offset,partition:offset``."""
        return write_position(self.position)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A checked submission, cut into slices; nothing of it has been sent.

    ``named`` says that the submitter chose the id: it may be a repeat, and the ``digest`` tells whether it is.
    """

    job: Job
    slices: list[slices.EncodedSlice]
    named: bool = False

    @property
    def digest(self) -> str:
        """Answer the digest of the submission."""
        return self.slices[0].digest


def prepare(document: Any, limits: Limits, now: float) -> Prepared:
    """Check a submission and cut it into slices; without an ``id`` it gets a new one.

    ``now`` is in seconds since the epoch.

    Raises:
        InvalidRequest: names every wrong field.
        LimitExceeded: names what is larger than a limit.
    """
    spec = JobSpec.parse(document, limits)
    if spec.id is not None:
        ids.check_job_id(spec.id, now)
    job = spec.id or ids.new_job_id(now)
    return Prepared(_accepted(spec, job, now), slices.cut(spec, job, limits), named=spec.id is not None)


class Producer:
    """Submits jobs; ``async with Producer("host:9092") as producer: await producer.create_job(…)``.

    A job is accepted when every in-sync replica has all its slices. Submissions of one moment share messages. Needs
    only Kafka, and only the topics that ``python -m jabba init`` makes.

    Args:
        bootstrap: Kafka's bootstrap servers, ``host:port,host:port``.
        prefix: the first part of the installation's topic names.
        limits: how large a submission may be.
        clock: where ids and times come from.
        produce_seconds: how long a submission waits for Kafka's acknowledgement.
    """

    def __init__(
        self,
        bootstrap: str = "127.0.0.1:9092",
        *,
        prefix: str = "jabba",
        limits: Limits | None = None,
        clock: Clock | None = None,
        produce_seconds: float = 10.0,
    ) -> None:
        self.limits = limits or Limits()
        self._topic = Topics(prefix).tasks
        self._clock = clock or SystemClock()
        self._produce_seconds = produce_seconds
        self._log = Log(bootstrap, client_id=f"{prefix}-producer")
        self._groups = GroupCommit(self._write)
        self._partitions: int | None = None
        self._waiting_bytes = 0
        self._closed = False

    async def __aenter__(self) -> Self:
        """Connect, so that a missing topic or broker is known at once.

        Raises:
            NotReady: the topics are missing.
            Unavailable: Kafka does not answer.
        """
        try:
            await self.check()
        except BaseException:
            await self.close()
            raise
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
        """Submit a job, and answer once Kafka has acknowledged it.

        Args:
            tasks: one task or several.
            type: what kind of job it is; searches filter by it.
            strategy: ``sequential``, step by step until a task fails, or ``concurrent``.
            meta: free data, stored with the job and searchable.
            name: what people call the job.
            id: a UUIDv7 of this moment, so that a repeat of the call is recognised as one.

        Raises:
            InvalidRequest: names every wrong field.
            LimitExceeded: names what is larger than a limit.
            Unavailable: Kafka did not acknowledge in time; the message has the id to repeat the call with.
            NotReady: the topics are missing.
        """
        given = {"meta": meta, "name": name, "id": id}
        document = {"tasks": tasks, "type": type, "strategy": strategy}
        return await self.submit(document | {key: value for key, value in given.items() if value is not None})

    async def create_jobs(self, jobs: Iterable[Mapping[str, Any]]) -> list[Submitted]:
        """Submit several jobs, each a mapping of ``create_job``'s arguments; the answers have the same order.

        All of them are checked before the first one is sent.

        Raises:
            InvalidRequest: the fields' paths begin with the job's number, such as ``jobs[3].type``.
            Unavailable: as for ``create_job``, for at least one of them; the others may have been accepted.
        """
        prepared = [await self._prepared_member(number, job) for number, job in enumerate(jobs)]
        answers = await asyncio.gather(*map(self.send, prepared), return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return [answer for answer in answers if isinstance(answer, Submitted)]

    async def submit(self, document: Any) -> Submitted:
        """Submit a job given as one document, as the HTTP interface takes it; as ``create_job`` otherwise."""
        return await self.send(await self._prepared(document))

    async def send(self, prepared: Prepared) -> Submitted:
        """Send a prepared submission, and answer once Kafka has acknowledged all of it.

        Raises:
            Unavailable: it did not in time; some slices may be in the log, and repeating completes them.
            NotReady: the topics are missing.
        """
        size = sum(len(one.text) for one in prepared.slices)
        if self._waiting_bytes and self._waiting_bytes + size > MAX_WAITING_BYTES:
            raise Unavailable(f"too much is waiting for Kafka; job {prepared.job.id} may be sent again with this id")
        self._waiting_bytes += size
        try:
            async with asyncio.timeout(self._produce_seconds):
                position = await self._acknowledged(prepared.slices)
        except (TimeoutError, Unavailable) as error:
            raise self._not_acknowledged(prepared.job.id) from error
        finally:
            self._waiting_bytes -= size
        return Submitted(prepared.job.id, position, prepared.job)

    async def check(self, *, within: float | None = None) -> int:
        """Ask Kafka whether it is there, and answer how many partitions the tasks topic has.

        Raises:
            NotReady: the topic is missing; the message names the command to run.
            Unavailable: Kafka did not answer within ``within`` seconds.
        """
        self._partitions = await self._log.partitions(self._topic, within=within or self._produce_seconds)
        return self._partitions

    async def close(self) -> None:
        """Give up what is still waiting, and close the connection."""
        self._closed = True
        await self._groups.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._log.stop(), _CLOSE_SECONDS)

    async def _prepared(self, document: Any) -> Prepared:
        tasks = document.get("tasks") if isinstance(document, Mapping) else None
        if isinstance(tasks, list | tuple) and len(tasks) > _INLINE_TASKS:
            return await asyncio.to_thread(prepare, document, self.limits, self._clock.now())
        return prepare(document, self.limits, self._clock.now())

    async def _prepared_member(self, number: int, document: Any) -> Prepared:
        try:
            return await self._prepared(document)
        except InvalidRequest as error:
            path = f"jobs[{number}]"
            fields = [FieldError(f"{path}.{one.field}" if one.field else path, one.message) for one in error.fields]
            raise type(error)(f"{path}: {error.message}", fields) from error

    async def _acknowledged(self, cut: list[slices.EncodedSlice]) -> dict[int, int]:
        partitions = self._partitions or await self.check()
        sent = [(partition, self._groups.add(partition, one.text)) for partition, one in _addressed(cut, partitions)]
        try:
            offsets = await asyncio.gather(*(acknowledged for _, acknowledged in sent))
        except Unavailable:
            for _, acknowledged in sent:
                acknowledged.cancel()
            raise
        except asyncio.CancelledError:
            if self._closed and not _cancelled_by_caller():
                raise Unavailable("this producer is closed") from None
            raise
        position: dict[int, int] = {}
        for (partition, _), offset in zip(sent, offsets, strict=True):
            position[partition] = max(offset, position.get(partition, offset))
        return position

    def _not_acknowledged(self, job: UUID) -> Unavailable:
        return Unavailable(
            f"Kafka did not acknowledge job {job} within {self._produce_seconds:g} s; it may be sent again with this id"
        )

    async def _write(self, partition: int, texts: list[bytes]) -> int:
        message = slices.encode_message(texts)
        return await self._log.append(self._topic, partition, message, within=self._produce_seconds)


class SyncProducer:
    """The twin of ``Producer`` for code without an event loop; the arguments and errors are the same.

    ``with SyncProducer("host:9092") as producer: producer.create_job(…)``. Threads may share one.
    """

    def __init__(
        self,
        bootstrap: str = "127.0.0.1:9092",
        *,
        prefix: str = "jabba",
        limits: Limits | None = None,
        clock: Clock | None = None,
        produce_seconds: float = 10.0,
    ) -> None:
        self._producer = Producer(bootstrap, prefix=prefix, limits=limits, clock=clock, produce_seconds=produce_seconds)
        self._background = BackgroundLoop("jabba-producer")

    def __enter__(self) -> Self:
        """Connect; see ``Producer``."""
        try:
            self._background.run(self._producer.check())
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def create_job(
        self,
        tasks: TaskForm | Sequence[TaskForm],
        type: str,  # noqa: A002 — as in Producer
        *,
        strategy: str = "sequential",
        meta: Mapping[str, Any] | None = None,
        name: str | None = None,
        id: UUID | str | None = None,  # noqa: A002 — as in Producer
    ) -> Submitted:
        """Submit a job; see ``Producer.create_job``."""
        work = self._producer.create_job(tasks, type, strategy=strategy, meta=meta, name=name, id=id)
        return self._background.run(work)

    def create_jobs(self, jobs: Iterable[Mapping[str, Any]]) -> list[Submitted]:
        """Submit several jobs; see ``Producer.create_jobs``."""
        return self._background.run(self._producer.create_jobs(jobs))

    def close(self) -> None:
        """Give up what is still waiting, close the connection and end the thread."""
        if self._background.closed:
            return
        try:
            self._background.run(self._producer.close())
        finally:
            self._background.close()


def _accepted(spec: JobSpec, job: UUID, now: float) -> Job:
    moment = datetime.fromtimestamp(now, UTC)
    return Job(
        id=job,
        name=spec.name,
        type=spec.type,
        status=JobStatus.PENDING,
        strategy=spec.strategy,
        meta=spec.meta,
        ended_at=None,
        inserted_at=moment,
        updated_at=moment,
    )


def _addressed(cut: list[slices.EncodedSlice], partitions: int) -> Iterator[tuple[int, slices.EncodedSlice]]:
    return ((partition_of(one.key, partitions), one) for one in cut)


def _cancelled_by_caller() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
