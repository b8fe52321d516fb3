"""The load: jobs of every kind at a steady pace, over Kafka and over HTTP, sent again until they are accepted."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Self
from uuid import UUID

from jabba.client import Client
from jabba.concurrency.background_loop import BackgroundLoop
from jabba.errors import Unavailable
from jabba.producer import Producer
from tests.fault.plans import Plan, Planner
from tests.support.keys import KEY

_RETRY_SECONDS = 0.2
_REPEATED = 0.1
"""The share of jobs that are submitted twice at a time, though the first is accepted."""

_SETTLE_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Pace:
    """Submissions a second, by kind, and how many seconds the longest step takes."""

    single: float = 16.0
    steps: float = 1.5
    slices: float = 0.25
    fan: float = 0.25
    longest_step: float = 2.0


@dataclass(frozen=True, slots=True)
class Accepted:
    """A job that was accepted, and when: seconds of the monotonic clock."""

    plan: Plan
    at: float


@dataclass
class Submissions:
    """What the load has got accepted so far, by id, and how often it was refused before."""

    accepted: dict[UUID, Accepted] = field(default_factory=dict)
    refused: Counter[str] = field(default_factory=Counter)


class Load:
    """Submits from a thread of its own from entry to exit; on exit it waits until every submission is accepted.

    ``submissions`` may be read once it has ended.
    """

    def __init__(self, kafka: str, prefix: str, url: str, seed: int, pace: Pace | None = None) -> None:
        self.submissions = Submissions()
        self._rng = random.Random(seed)
        self._kafka, self._prefix, self._url = kafka, prefix, url
        self._pace = pace or Pace()
        self._planner = Planner(self._rng, self._pace.longest_step)
        self._loop = BackgroundLoop("load")
        self._running: asyncio.Task[None] | None = None
        self._ending = asyncio.Event()
        self._bursts: asyncio.Queue[int] = asyncio.Queue()

    def __enter__(self) -> Self:
        self._loop.run(self._start())
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            self._loop.run(self._stop(wait=kind is None))
        finally:
            self._loop.close()

    def burst(self, count: int) -> None:
        """Submit so many jobs over HTTP at once, beside all others, without waiting for them."""
        self._loop.run(self._burst(count))

    async def _start(self) -> None:
        self._running = asyncio.create_task(self._run())

    async def _stop(self, *, wait: bool) -> None:
        assert self._running is not None
        self._ending.set()
        self._bursts.put_nowait(0)
        if not wait:
            self._running.cancel()
        await asyncio.wait({self._running}, timeout=_SETTLE_SECONDS)
        assert self._running.done(), "submissions are still not accepted"
        if not self._running.cancelled():
            self._running.result()

    async def _run(self) -> None:
        planner, pace = self._planner, self._pace
        producer = Producer(self._kafka, prefix=self._prefix, produce_seconds=4.0)
        async with Client(self._url, key=KEY, timeout=6.0) as client, asyncio.TaskGroup() as submissions:
            faces = _Faces(producer, client, self.submissions)
            submissions.create_task(self._keep_bursting(submissions, faces))
            for make, rate in (
                (planner.single, pace.single),
                (planner.steps, pace.steps),
                (planner.slices, pace.slices),
                (planner.fan, pace.fan),
            ):
                submissions.create_task(self._keep_submitting(submissions, faces, make, rate))
        await producer.close()

    async def _burst(self, count: int) -> None:
        self._bursts.put_nowait(count)
        await asyncio.sleep(0)

    async def _keep_bursting(self, submissions: asyncio.TaskGroup, faces: "_Faces") -> None:
        while count := await self._bursts.get():
            for _ in range(count):
                submissions.create_task(faces.until_accepted(self._planner.single(), faces.to_web))

    async def _keep_submitting(
        self, submissions: asyncio.TaskGroup, faces: "_Faces", make: Callable[[], Plan], rate: float
    ) -> None:
        while rate and not self._ending.is_set():
            plan = make()
            for _ in range(2 if self._rng.random() < _REPEATED else 1):
                face = self._rng.choice((faces.to_kafka, faces.to_web))
                submissions.create_task(faces.until_accepted(plan, face))
            await asyncio.sleep(self._rng.uniform(0.5, 1.5) / rate)


class _Faces:
    """The two ways to submit."""

    def __init__(self, producer: Producer, client: Client, submissions: Submissions) -> None:
        self._producer = producer
        self._client = client
        self._submissions = submissions

    async def to_kafka(self, plan: Plan) -> None:
        """Submit over Kafka."""
        await self._producer.submit(plan.document)

    async def to_web(self, plan: Plan) -> None:
        """Submit over HTTP."""
        await self._client.submit(plan.document)

    async def until_accepted(self, plan: Plan, face: Callable[[Plan], Awaitable[None]]) -> None:
        """Submit with the same id again and again, as callers are told to."""
        while True:
            try:
                await face(plan)
            except Unavailable as refusal:
                self._submissions.refused[type(refusal).__name__] += 1
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                self._submissions.accepted.setdefault(plan.id, Accepted(plan, time.monotonic()))
                return
