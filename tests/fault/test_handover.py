"""Partitions change hands while steps run that take longer than all the rest."""

import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jabba import SyncClient
from jabba.clock import SystemClock
from jabba.jobs import ids
from jabba.jobs.lifecycle import Strategy
from jabba.jobs.models import Job
from jabba.messages.slices import partition_key
from jabba.messages.topics import partition_of
from tests.fault.house import READY_SECONDS, House, wait_until
from tests.fault.single import Seen, call, step, wait_for_all
from tests.support.kafka import KafkaServer
from tests.support.keys import KEY
from tests.support.postgres import PostgresServer

pytestmark = pytest.mark.slow

HANDOVER_SECONDS = 60.0
"""Longer than anything here takes: whatever goes on meanwhile does not wait for it to pass."""


@pytest.fixture(scope="module")
def house(kafka: KafkaServer, postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    directory = tmp_path_factory.mktemp("handover")
    with House(directory, kafka, postgres, workers=0, handover_seconds=HANDOVER_SECONDS) as house:
        yield house


@pytest.fixture
def client(house: House) -> Iterator[SyncClient]:
    with SyncClient(house.url, key=KEY) as made:
        yield made


@pytest.fixture
def seen(house: House) -> Seen:
    return Seen(house)


def test_what_ends_after_a_lone_worker_has_left_is_committed(
    house: House, client: SyncClient, seen: Seen, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    with house.new_worker() as lone:
        lone.start()
        house.await_workers([lone])
        last = client.create_job([call("waiting", 0, str(file))], "last").job
        seen.wait_for_start(last, 0)
        lone.send_signal(signal.SIGTERM)
        house.await_members(0)
        file.touch()
        assert lone.wait_for_exit(READY_SECONDS) == 0, lone.account("failed")
    assert house.uncommitted() == {}
    assert wait_for_all(client, [last]) == {"PROCESSED"}


def test_others_work_on_while_a_step_ends_and_whoever_gets_its_partition_waits_for_it(
    house: House, client: SyncClient, seen: Seen, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    stays, goes, joins = (house.new_worker() for _ in range(3))
    with stays, goes, joins:
        stays.start()
        goes.start()
        house.await_members(2)
        long = jobs_everywhere(house, client, [call("waiting", 0, str(file)), step(1)])
        for job in long:
            seen.wait_for_start(job, 0)

        joins.start()
        house.await_members(3)
        between = jobs_everywhere(house, client, [step(0)])
        wait_until(lambda: ended(client, between) > 0, READY_SECONDS, lambda: "all partitions wait")
        goes.send_signal(signal.SIGTERM)
        house.await_members(2)
        after = jobs_everywhere(house, client, [step(0)])
        wait_until(lambda: ended(client, after) > 0, READY_SECONDS, lambda: "all partitions wait")
        assert ended(client, long) == 0
        assert goes.running

        file.touch()
        assert goes.wait_for_exit(READY_SECONDS) == 0, goes.account("failed")
        assert wait_for_all(client, [*long, *between, *after]) == {"PROCESSED"}
        for job in long:
            assert Counter(one.index for one in seen.of(job)) == {0: 1, 1: 1}
        assert [worker.terminate(READY_SECONDS) for worker in (stays, joins)] == [0, 0]


def jobs_everywhere(house: House, client: SyncClient, tasks: list[Any]) -> list[Job]:
    """Submit one sequential job of these tasks to each partition."""
    partitions = house.settings.partitions
    found: dict[int, Job] = {}
    while len(found) < partitions:
        job = ids.new_job_id(SystemClock().now())
        partition = partition_of(partition_key(Strategy.SEQUENTIAL, job, 0, 0), partitions)
        if partition not in found:
            found[partition] = client.create_job(tasks, "everywhere", id=job).job
    return list(found.values())


def ended(client: SyncClient, jobs: list[Job]) -> int:
    return sum(client.get_job(job.id).ended_at is not None for job in jobs)
