"""Writing to the log what producers and workers write, without any of them."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

from aiokafka import AIOKafkaProducer

from jabba.clock import SystemClock
from jabba.jobs import ids
from jabba.jobs.lifecycle import Event, JobClosed, Strategy, TaskSucceeded
from jabba.jobs.models import Limits
from jabba.messages import slices
from jabba.messages.events import encode_event, encode_events
from jabba.messages.slices import EncodedSlice
from jabba.messages.topics import partition_of
from jabba.projection.projector import Projector
from jabba.settings import Settings
from tests.support.projecting import job_spec, version


class Sender:
    """Writes slices and events as producers and workers do."""

    def __init__(self, settings: Settings, producer: AIOKafkaProducer) -> None:
        self._topics = settings.topics
        self._partitions = settings.partitions
        self._producer = producer

    async def job(
        self, count: int, strategy: Strategy = Strategy.SEQUENTIAL, *, without: int | None = None, **given: Any
    ) -> UUID:
        """Submit a job; ``without`` is the number of a slice that never comes."""
        job = ids.new_job_id(SystemClock().now())
        for k, encoded in enumerate(slices.cut(job_spec(count, strategy=strategy, **given), job, Limits())):
            if k != without:
                await self._slice(encoded)
        return job

    async def missing(self, job: UUID, count: int, k: int) -> None:
        """Submit the slice that a sequential job of so many tasks was submitted without."""
        await self._slice(list(slices.cut(job_spec(count, strategy=Strategy.SEQUENTIAL), job, Limits()))[k])

    async def events(self, events: Sequence[Event | JobClosed], *, replacing: tuple[bytes, bytes] = (b"", b"")) -> None:
        """Tell events of one job in one message; ``replacing`` puts bytes in it that could not be encoded."""
        partition = partition_of(str(events[0].job), self._partitions)
        message = encode_events([encode_event(event) for event in events])
        await self.raw(self._topics.events, partition, message.replace(*replacing) if replacing[0] else message)

    async def _slice(self, encoded: EncodedSlice) -> None:
        message = slices.encode_message([encoded.text])
        await self.raw(self._topics.tasks, partition_of(encoded.key, self._partitions), message)

    async def raw(self, topic: str, partition: int, value: bytes | None) -> int:
        sent = await self._producer.send_and_wait(topic, value, partition=partition, key=b"k")
        return int(sent.offset)


@asynccontextmanager
async def sending(settings: Settings) -> AsyncIterator[Sender]:
    """Open a sender."""
    producer = AIOKafkaProducer(bootstrap_servers=settings.kafka, acks="all", enable_idempotence=True)
    async with producer:
        yield Sender(settings, producer)


def succeeded(job: UUID, indices: Iterable[int]) -> list[Event]:
    return [TaskSucceeded(job, index, version(index + 1), 1, {"n": index}) for index in indices]


@asynccontextmanager
async def running(*projectors: Projector) -> AsyncIterator[None]:
    """Run projectors in the test's own process."""
    for projector in projectors:
        await projector.start()
    try:
        yield
    finally:
        for projector in projectors:
            await projector.stop()


@asynccontextmanager
async def working(sender: Sender) -> AsyncIterator[list[UUID]]:
    """Submit jobs of twelve tasks and run them, on and on; return them."""
    jobs: list[UUID] = []
    enough = asyncio.Event()

    async def work() -> None:
        while not enough.is_set():
            strategy = Strategy.CONCURRENT if len(jobs) % 2 else Strategy.SEQUENTIAL
            jobs.append(await sender.job(12, strategy))
            for start in range(0, 12, 4):
                await sender.events(succeeded(jobs[-1], range(start, start + 4)))

    task = asyncio.create_task(work())
    try:
        yield jobs
    finally:
        enough.set()
        await task
