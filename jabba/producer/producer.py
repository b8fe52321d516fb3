"""Submitting jobs straight to Kafka: no web, no database."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, NamedTuple, Self
from uuid import UUID

from jabba.arguments import check_seconds
from jabba.clock import Clock, SystemClock
from jabba.concurrency.background_loop import BackgroundLoop
from jabba.concurrency.group_commit import GroupCommit
from jabba.concurrency.memory_budget import MemoryBudget
from jabba.concurrency.ordered import map_ordered
from jabba.errors import Closed, MessageTooLarge, Refused, RequestError, Unavailable
from jabba.jobs.models import Limits
from jabba.kafka.acls import check_acls, rights_of
from jabba.kafka.security import KafkaAccess, KafkaSecurity
from jabba.kafka.writer import Log
from jabba.messages import slices
from jabba.messages.topics import Topics, partition_of
from jabba.producer.submission import (
    Delivery,
    Prepared,
    StrategyName,
    Submitted,
    TaskForm,
    document_of,
    each,
    given_id,
    in_pieces,
    prepare,
)
from jabba.settings import Settings

MAX_WAITING_BYTES = 256 * 1024 * 1024
"""More than this is not queued for Kafka; a submission that would go beyond is refused, and may be sent again."""

IN_FLIGHT_JOBS = 1000
IN_FLIGHT_BYTES = 16 * 1024 * 1024
"""So many jobs, and bytes of them, of one ``create_jobs`` are unanswered at a time."""

_INLINE_TASKS = 200


class Producer:
    """Submits jobs; ``async with Producer("host:9092") as producer: await producer.create_job(…)``.

    A job is accepted when every in-sync replica has all its slices. Submissions of one moment share messages. Needs
    only Kafka, and only the topics that ``python -m jabba init`` makes.

    Args:
        bootstrap: Kafka's bootstrap servers, ``host:port,host:port``.
        prefix: the first part of the installation's topic names.
        security: how to connect to brokers that want TLS, a user or a certificate.
        limits: how large a submission may be.
        clock: where ids and times come from.
        produce_seconds: how long a submission waits for Kafka's acknowledgement, above 0.

    A producer belongs to the event loop that it is first used in, and cannot be used after ``close()``: ``Closed``.

    Raises:
        InvalidArgument: names the argument that is wrong.
    """

    def __init__(
        self,
        bootstrap: str = "127.0.0.1:9092",
        *,
        prefix: str = "jabba",
        security: KafkaSecurity | None = None,
        limits: Limits | None = None,
        clock: Clock | None = None,
        produce_seconds: float = 10.0,
    ) -> None:
        self.limits = limits or Limits()
        self._topics = Topics(prefix)
        self._topic = self._topics.tasks
        self._clock = clock or SystemClock()
        self._produce_seconds = check_seconds("produce_seconds", produce_seconds)
        self._access = KafkaAccess(bootstrap, security or KafkaSecurity())
        self._log = Log(self._access, client_id=f"{prefix}-producer")
        self._groups = GroupCommit(self._write)
        self._partitions: int | None = None
        self._waiting_bytes = 0
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None

    async def __aenter__(self) -> Self:
        """Connect, so that a missing topic, broker or right is known at once.

        Raises:
            NotReady: the topics are missing.
            Unavailable: Kafka does not answer.
            Refused: it does not let this client in, or not write.
        """
        try:
            await self.check()
            await check_acls(self._access, rights_of("producer", self._topics))
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
        strategy: StrategyName = "sequential",
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
        return await self.submit(document_of(tasks, type, strategy=strategy, meta=meta, name=name, id=id))

    def create_jobs(self, jobs: Iterable[Any] | AsyncIterable[Any]) -> AsyncGenerator[Delivery]:
        """Submit many jobs, each a mapping of ``create_job``'s arguments; return what became of each, in their order.

        ``async for delivery in producer.create_jobs(jobs): delivery.result()``. Jobs are read as fast as Kafka takes
        them, and at most a thousand, or 16 MiB, wait for it at a time. One that is wrong, or was not acknowledged, has
        its error, and the others go on.

        Raises:
            NotReady: the topics are missing.
        """
        self._check_open()
        return self._create_jobs(jobs)

    submit_many = create_jobs
    """To ``submit`` what ``create_jobs`` is to ``create_job``: here the two are the same."""

    async def submit(self, document: Any) -> Submitted:
        """Submit a job given as one document, as the HTTP interface takes it; as ``create_job`` otherwise."""
        self._check_usable()
        return await self.send(await self._prepared(document))

    async def send(self, prepared: Prepared) -> Submitted:
        """Send a prepared submission, and answer once Kafka has acknowledged all of it.

        Raises:
            Unavailable: it did not in time; some slices may be in the log, and repeating completes them.
            MessageTooLarge: Kafka takes no message as large as a slice of it.
            NotReady: the topics are missing.
        """
        self._check_usable()
        size = prepared.size
        if self._waiting_bytes and self._waiting_bytes + size > MAX_WAITING_BYTES:
            raise Unavailable(f"too much is waiting for Kafka; job {prepared.job.id} may be sent again with this id")
        self._waiting_bytes += size
        try:
            async with asyncio.timeout(self._produce_seconds):
                position = await self._acknowledged(prepared.slices)
        except Refused as error:
            raise Refused(f"job {prepared.job.id} was not sent: {error}") from error
        except (TimeoutError, Unavailable) as error:
            raise self._not_acknowledged(prepared.job.id) from error
        finally:
            self._waiting_bytes -= size
        return Submitted(prepared.job.id, position, prepared.job)

    async def check(self, *, within: float | None = None) -> int:
        """Ask Kafka whether it is there, and return how many partitions the tasks topic has.

        Raises:
            NotReady: the topic is missing; the message names the command to run.
            Unavailable: Kafka did not answer within ``within`` seconds.
        """
        self._check_usable()
        seconds = self._produce_seconds if within is None else check_seconds("within", within)
        self._partitions = await self._log.partitions(self._topic, within=seconds)
        return self._partitions

    async def close(self) -> None:
        """Give up what is still waiting, and close the connection."""
        self._closed = True
        if self._loop is None or self._loop is asyncio.get_running_loop():
            await self._groups.close()
            await self._log.stop()

    def _check_open(self) -> None:
        if self._closed:
            raise Closed("this producer is closed")

    def _check_usable(self) -> None:
        """Raise Closed after ``close()``, and in another event loop than the first, where the connection lives."""
        self._check_open()
        running = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = running
        elif self._loop is not running:
            raise Closed("this producer belongs to another event loop: make one in each `asyncio.run`")

    async def _create_jobs(self, jobs: Iterable[Any] | AsyncIterable[Any]) -> AsyncGenerator[Delivery]:
        self._check_usable()
        room = MemoryBudget(IN_FLIGHT_JOBS, IN_FLIGHT_BYTES)
        checked = self._checked_each(jobs)
        async with aclosing(map_ordered(checked, self._delivered, room=room, size=_size)) as batches:
            async for batch in batches:
                for delivery in batch:
                    yield delivery

    async def _prepared(self, document: Any) -> Prepared:
        tasks = document.get("tasks") if isinstance(document, Mapping) else None
        if isinstance(tasks, list | tuple) and len(tasks) > _INLINE_TASKS:
            return await asyncio.to_thread(prepare, document, self.limits, self._clock.now())
        return prepare(document, self.limits, self._clock.now())

    async def _checked_each(self, jobs: Iterable[Any] | AsyncIterable[Any]) -> AsyncGenerator["_Checked"]:
        number = 0
        async for document in each(jobs):
            yield await self._checked(number, document)
            number += 1

    async def _checked(self, number: int, document: Any) -> "_Checked":
        try:
            return _Checked(number, await self._prepared(document))
        except RequestError as error:
            return _Checked(number, Delivery(number, given_id(document), error=error))

    async def _delivered(self, checked: "_Checked") -> Delivery:
        number, prepared = checked
        if isinstance(prepared, Delivery):
            return prepared
        try:
            return Delivery(number, prepared.job.id, await self.send(prepared))
        except (Unavailable, MessageTooLarge) as error:
            return Delivery(number, prepared.job.id, error=error)

    async def _acknowledged(self, cut: list[slices.EncodedSlice]) -> dict[int, int]:
        partitions = self._partitions or await self.check()
        sent = [(partition, self._groups.add(partition, one.text)) for partition, one in _addressed(cut, partitions)]
        try:
            offsets = await _all([acknowledged for _, acknowledged in sent])
        except (Unavailable, MessageTooLarge):
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
        when = "before this producer was closed" if self._closed else f"within {self._produce_seconds:g} s"
        return Unavailable(f"Kafka did not acknowledge job {job} {when}; it may be sent again with this id")

    async def _write(self, partition: int, texts: list[bytes]) -> int:
        message = slices.encode_message(texts)
        return await self._log.append(self._topic, partition, message, within=self._produce_seconds)


def producer_of(settings: Settings, clock: Clock | None = None) -> Producer:
    """Make the producer of one of Jabba's own processes."""
    return Producer(
        settings.kafka,
        prefix=settings.prefix,
        security=settings.kafka_access.security,
        limits=settings.limits,
        clock=clock,
        produce_seconds=settings.produce_seconds,
    )


class _Checked(NamedTuple):
    """A job of many, and what was made of it: what can be sent, or what it was refused with."""

    number: int
    prepared: Prepared | Delivery


class SyncProducer:
    """The twin of ``Producer`` for code without an event loop; the arguments and errors are the same.

    ``with SyncProducer("host:9092") as producer: producer.create_job(…)``. Threads may share one.
    """

    def __init__(
        self,
        bootstrap: str = "127.0.0.1:9092",
        *,
        prefix: str = "jabba",
        security: KafkaSecurity | None = None,
        limits: Limits | None = None,
        clock: Clock | None = None,
        produce_seconds: float = 10.0,
    ) -> None:
        self._producer = Producer(
            bootstrap, prefix=prefix, security=security, limits=limits, clock=clock, produce_seconds=produce_seconds
        )
        self._background = BackgroundLoop("jabba-producer", self._producer.close)

    def __enter__(self) -> Self:
        """Connect; see ``Producer``."""
        try:
            self._background.run(self._producer.__aenter__())
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
        strategy: StrategyName = "sequential",
        meta: Mapping[str, Any] | None = None,
        name: str | None = None,
        id: UUID | str | None = None,  # noqa: A002 — as in Producer
    ) -> Submitted:
        """Submit a job; see ``Producer.create_job``."""
        work = self._producer.create_job(tasks, type, strategy=strategy, meta=meta, name=name, id=id)
        return self._background.run(work)

    def submit(self, document: Any) -> Submitted:
        """Submit a job given as one document; see ``Producer.submit``."""
        return self._background.run(self._producer.submit(document))

    def create_jobs(self, jobs: Iterable[Any]) -> Iterator[Delivery]:
        """Submit many jobs; see ``Producer.create_jobs``. The caller's thread reads a thousand of them at a time."""
        self._background.check()
        return in_pieces(jobs, lambda piece: self._background.iterate(self._producer.create_jobs(piece)))

    submit_many = create_jobs

    def close(self) -> None:
        """Give up what is still waiting, close the connection and end the thread."""
        self._background.close()


def _size(checked: _Checked) -> int:
    return checked.prepared.size if isinstance(checked.prepared, Prepared) else 0


def _addressed(cut: list[slices.EncodedSlice], partitions: int) -> Iterator[tuple[int, slices.EncodedSlice]]:
    return ((partition_of(one.key, partitions), one) for one in cut)


async def _all(acknowledged: list[asyncio.Future[int]]) -> list[int]:
    if len(acknowledged) == 1:
        # Most jobs have one slice, and gathering costs as much as preparing it.
        return [await acknowledged[0]]
    return await asyncio.gather(*acknowledged)


def _cancelled_by_caller() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
