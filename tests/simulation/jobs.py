"""Simulated callers: jobs of all shapes, submitted once, twice or not quite."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from uuid import UUID

from jabba.errors import Unavailable
from jabba.jobs import ids
from jabba.jobs.lifecycle import JobStatus, Strategy
from jabba.jobs.models import Callback, Job, TaskSpec
from jabba.messages.slices import EncodedSlice, Slice
from jabba.producer import Producer
from jabba.producer.submission import Prepared
from tests.simulation.loop import Process
from tests.simulation.rules import IMPOSTOR, TOPICS
from tests.simulation.world import EPOCH_SECONDS, World

_AGAIN_SECONDS = 40.0


@dataclass(slots=True)
class SubmittedJob:
    """A job that callers know, in small slices."""

    id: UUID
    strategy: Strategy
    slices: list[Slice]
    starts_at: float
    accepted: bool = False
    prepared: Prepared = field(init=False)

    def __post_init__(self) -> None:
        cut = [EncodedSlice(one.key, one.model_dump_json().encode(), one.digest) for one in self.slices]
        self.prepared = Prepared(_job(self), cut)

    @property
    def total(self) -> int:
        """Return how many tasks there are."""
        return self.slices[0].total


class Callers:
    """Submit all jobs of a run, each caller in a process of its own."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._calls: list[tuple[Process, asyncio.Task[None]]] = []
        self.jobs = [_drawn(world, number) for number in range(world.profile.jobs)]
        for job in self.jobs:
            self._submit(job, job.starts_at, patient=not world.chance(world.profile.abandoned))
            while world.chance(world.profile.repeated):
                self._submit(job, job.starts_at + world.rng.uniform(0, _AGAIN_SECONDS), patient=False)
            if world.chance(world.profile.abandoned):
                self._submit(job, job.starts_at, patient=False, dies=True)
            if world.chance(world.profile.repeated):
                process = Process(world.loop, f"impostor of {job.id}")
                self._calls.append((process, process.start(self._intrude(job))))

    def ended(self) -> bool:
        """Return whether nobody submits any more."""
        return all(call.done() or not process.alive for process, call in self._calls)

    def _submit(self, job: SubmittedJob, at: float, *, patient: bool, dies: bool = False) -> None:
        process = Process(self._world.loop, f"caller of {job.id}")
        self._calls.append((process, process.start(self._call(job, at, patient=patient))))
        if dies:
            self._world.loop.later(at + self._world.rng.uniform(0, 0.02), process.kill)

    async def _intrude(self, job: SubmittedJob) -> None:
        """Submit another job under the id of one that was accepted."""
        await asyncio.sleep(job.starts_at + self._world.rng.uniform(0, _AGAIN_SECONDS))
        if job.accepted:
            other = [one.model_copy(update={"digest": IMPOSTOR}) for one in job.slices]
            producer = Producer(prefix=TOPICS.prefix)
            with suppress(Unavailable):
                await producer.send(SubmittedJob(job.id, job.strategy, other, 0.0).prepared)
            await producer.close()

    async def _call(self, job: SubmittedJob, at: float, *, patient: bool) -> None:
        await asyncio.sleep(at)
        producer = Producer(prefix=TOPICS.prefix, produce_seconds=self._world.rng.choice((2.0, 10.0)))
        while True:
            try:
                await producer.send(job.prepared)
            except Unavailable:
                if not patient:
                    break
                await asyncio.sleep(0.5)
            else:
                job.accepted = True
                break
        await producer.close()


def _drawn(world: World, number: int) -> SubmittedJob:
    rng = world.rng
    starts_at = rng.uniform(0, world.profile.trouble_seconds * 0.8)
    milliseconds = int((EPOCH_SECONDS + starts_at) * 1000)
    job = ids._timed_uuid(milliseconds, 7, rng.getrandbits(74))
    strategy = rng.choice((Strategy.SEQUENTIAL, Strategy.CONCURRENT))
    runs = list(_runs(rng))
    slices = [_slice(job, strategy, number, runs, k) for k in range(len(runs))]
    return SubmittedJob(job, strategy, slices, starts_at)


def _runs(rng: Random) -> Iterator[range]:
    """Cut a random number of tasks into slices of a few."""
    total = rng.choice((1, 1, 2, 5, rng.randint(3, 14)))
    first = 0
    while first < total:
        after = min(total, first + rng.choice((1, 2, 3, 8)))
        yield range(first, after)
        first = after


def _slice(job: UUID, strategy: Strategy, number: int, runs: list[range], k: int) -> Slice:
    return Slice(
        job=job,
        k=k,
        n_slices=len(runs),
        first=runs[k].start,
        total=runs[-1].stop,
        digest=f"digest-{number}",
        strategy=strategy,
        type="simulated",
        meta={"number": number} if k == 0 else {},
        tasks=[_task(index) for index in runs[k]],
    )


def _task(index: int) -> TaskSpec:
    return TaskSpec(callback=Callback(service="local", module="simulation", function="step", args=[index]))


def _job(job: SubmittedJob) -> Job:
    moment = datetime.fromtimestamp(EPOCH_SECONDS, UTC)
    return Job(
        id=job.id,
        name=None,
        type="simulated",
        status=JobStatus.PENDING,
        strategy=job.strategy,
        meta={},
        ended_at=None,
        inserted_at=moment,
        updated_at=moment,
    )
