"""What closes jobs whose submission died half way, as the projector's ``Closing`` does."""

import asyncio
from uuid import UUID

from jabba.kafka.security import KafkaAccess
from jabba.kafka.writer import Log
from jabba.messages.commands import CloseJob, encode_commands
from jabba.messages.topics import partition_of
from jabba.projection.reference import Row
from tests.simulation.kafka import Kafka
from tests.simulation.loop import Process
from tests.simulation.projector import Projector
from tests.simulation.rules import TOPICS
from tests.simulation.world import EPOCH_SECONDS, World

INCOMPLETE_SECONDS = 30.0
REASON = "incomplete_submission"


class Closer:
    """Looks now and then for jobs of which slices are missing and none has come for a while."""

    def __init__(self, world: World, kafka: Kafka, projector: Projector) -> None:
        self._world = world
        self._kafka = kafka
        self._projector = projector
        Process(world.loop, "closer").start(self._run())

    async def _run(self) -> None:
        log = Log(KafkaAccess("simulated"))
        while True:
            await asyncio.sleep(self._world.rng.uniform(1, 15))
            if not self._projector.caught_up(TOPICS.tasks):
                continue
            for job in self._incomplete():
                known = {"n_slices": job["n_slices"], "strategy": job["strategy"], "type": job["type"]}
                command = CloseJob(job=job["id"], run=0, reason=REASON, **known)
                partition = partition_of(str(job["id"]), self._kafka.partitions)
                await log.append(TOPICS.control, partition, encode_commands([command]))

    def _incomplete(self) -> list[Row]:
        before = int((EPOCH_SECONDS + self._world.now - INCOMPLETE_SECONDS) * 1000)
        found = []
        for job in self._projector.database.jobs.values():
            if job["ended_at"] is None and job["total"] is not None:
                times = self._arrivals(job["id"])
                if len(times) < job["total"] and max(times) < before:
                    found.append(job)
        return found

    def _arrivals(self, job: UUID) -> list[int]:
        tasks = self._projector.database.tasks.values()
        return [task["inserted_at"] for task in tasks if task["job_id"] == job and task["callback"] is not None]
