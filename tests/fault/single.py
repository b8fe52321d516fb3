"""Single jobs whose every step is looked at."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from jabba import SyncClient
from jabba.jobs.models import Job
from tests.fault.executions import Execution
from tests.fault.house import READY_SECONDS, House, wait_until
from tests.fault.plans import MODULE


def call(function: str, index: int, *arguments: Any) -> list[Any]:
    return ["local", MODULE, function, [index, *arguments]]


def step(index: int) -> list[Any]:
    return call("step", index, 0.0, "ok")


class Seen:
    """The executions of a house, by job and task."""

    def __init__(self, house: House) -> None:
        self._log = house.executions
        self._all: list[Execution] = []

    def of(self, job: Job) -> list[Execution]:
        self._all += self._log.new()
        return [one for one in self._all if UUID(one.job) == job.id]

    def wait_for_start(self, job: Job, index: int) -> None:
        wait_until(
            lambda: index in [one.index for one in self.of(job)], READY_SECONDS, lambda: f"{index} of {job.id} starts"
        )


def wait_for_all(client: SyncClient, jobs: Iterable[Job]) -> set[str]:
    return {str(client.wait(job.id, timeout=READY_SECONDS).status) for job in jobs}
