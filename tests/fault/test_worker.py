"""One worker process at a time: how it stops, what callbacks may do to it, and what it keeps over a restart."""

import asyncio
import re
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from jabba import SyncClient
from jabba.jobs.models import Job
from jabba.kafka.writer import Log
from jabba.messages.commands import encode_commands
from tests.fault.house import READY_SECONDS, House, wait_until
from tests.fault.plans import MODULE
from tests.fault.single import Seen, call, step, wait_for_all
from tests.support.kafka import KafkaServer
from tests.support.keys import KEY
from tests.support.postgres import PostgresServer
from tests.support.processes import ChildProcess

pytestmark = pytest.mark.slow

ONLY = "only"
SESSION_SECONDS = 6.0
CRASH_LIMIT = 1
STALL_SECONDS = 5.0
HANDOVER_SECONDS = 2.0
FEW_SECONDS = 10.0
POISONED = 3
STUCK = 70
UNSUSPECTED_CRASHES = 2
"""One crash may have any cause, and a second makes suspicious; each that follows is counted."""


@pytest.fixture(scope="module")
def house(kafka: KafkaServer, postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    settings = {"session_seconds": SESSION_SECONDS, "crash_limit": CRASH_LIMIT}
    with House(tmp_path_factory.mktemp("worker"), kafka, postgres, workers=0, **settings) as house:
        yield house


@pytest.fixture
def client(house: House) -> Iterator[SyncClient]:
    with SyncClient(house.url, key=KEY) as made:
        yield made


@pytest.fixture(scope="module")
def worker(house: House) -> Iterator[ChildProcess]:
    """A worker that takes its own place again after a restart, whatever has ended it."""
    with house.new_worker(instance=ONLY) as made:
        made.start()
        house.await_workers([made])
        yield made
        if made.running:
            assert made.terminate(READY_SECONDS) == 0, made.account("failed")


@pytest.fixture
def seen(house: House) -> Seen:
    return Seen(house)


def test_on_sigterm_running_steps_end_no_other_starts_and_offsets_are_committed(
    house: House, client: SyncClient, seen: Seen, worker: ChildProcess, tmp_path: Path
) -> None:
    short, endless = tmp_path / "short", tmp_path / "endless"
    before = [client.create_job([step(0)], "before").job for _ in range(12)]
    assert wait_for_all(client, before) == {"PROCESSED"}
    ending = client.create_job([call("waiting", 0, str(short)), step(1), step(2)], "ending").job
    cut = client.create_job([call("waiting", 0, str(endless)), step(1)], "cut").job
    seen.wait_for_start(ending, 0)
    seen.wait_for_start(cut, 0)

    worker.send_signal(signal.SIGTERM)
    short.touch()
    assert worker.wait_for_exit(READY_SECONDS) == 0, worker.account("failed")

    assert [(one.index, one.ended is not None) for one in seen.of(ending)] == [(0, True)]
    assert [(one.index, one.ended is not None) for one in seen.of(cut)] == [(0, False)]
    assert sum(house.uncommitted().values()) == 2

    endless.touch()
    worker.start()
    assert wait_for_all(client, [ending, cut]) == {"PROCESSED"}
    assert Counter(one.index for one in seen.of(ending)) == {0: 1, 1: 1, 2: 1}
    assert Counter(one.index for one in seen.of(cut)) == {0: 2, 1: 1}


@pytest.mark.parametrize("sign", [signal.SIGSTOP, signal.SIGKILL])
def test_on_sigterm_a_worker_ends_though_kafka_is_away(
    house: House, client: SyncClient, worker: ChildProcess, tmp_path: Path, sign: signal.Signals
) -> None:
    assert worker.terminate(READY_SECONDS) == 0, worker.account("failed")
    with house.new_worker(instance=ONLY, handover_seconds=HANDOVER_SECONDS, commit_seconds=60.0) as successor:
        successor.start()
        house.await_workers([successor])
        jobs = [client.create_job([step(0)], "uncommitted").job for _ in range(12)]
        assert wait_for_all(client, jobs) == {"PROCESSED"}
        file = tmp_path / "file"
        cut = client.create_job([call("waiting", 0, str(file)), step(1)], "cut").job
        Seen(house).wait_for_start(cut, 0)
        with away(house.kafka, sign):
            file.touch()
            successor.send_signal(signal.SIGTERM)
            began = time.monotonic()
            assert successor.wait_for_exit(READY_SECONDS) == 0, successor.account("failed")
            took = time.monotonic() - began
        assert took < SESSION_SECONDS + HANDOVER_SECONDS + FEW_SECONDS
        assert "uncommitted messages will be read again" in successor.output()
        successor.start()
        assert wait_for_all(client, [cut]) == {"PROCESSED"}
        assert successor.terminate(READY_SECONDS) == 0, successor.account("failed")
    # Whoever ends without Kafka counts as crashed: what follows must find an owner that has left in peace.
    worker.start()
    house.await_workers([worker])


@contextmanager
def away(kafka: KafkaServer, sign: signal.Signals) -> Iterator[None]:
    """Freeze or kill Kafka."""
    kafka.process.send_signal(sign)
    try:
        yield
    finally:
        if sign is signal.SIGSTOP:
            kafka.process.send_signal(signal.SIGCONT)
        else:
            kafka.process.wait_for_exit()
            kafka.start()


def test_a_callback_that_blocks_its_thread_holds_up_nobody(
    client: SyncClient, seen: Seen, worker: ChildProcess, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    blocked = client.create_job([call("waiting_thread", 0, str(file))], "blocked").job
    seen.wait_for_start(blocked, 0)
    others = [client.create_job([step(0), call("threaded", 1, 0.0, "ok")], "other").job for _ in range(12)]
    assert wait_for_all(client, others) == {"PROCESSED"}
    assert [one.ended for one in seen.of(blocked)] == [None]
    file.touch()
    assert wait_for_all(client, [blocked]) == {"PROCESSED"}


def test_a_callback_whose_thread_never_ends_keeps_no_worker_from_ending(
    house: House, client: SyncClient, seen: Seen, worker: ChildProcess, tmp_path: Path
) -> None:
    assert worker.terminate(READY_SECONDS) == 0, worker.account("failed")
    file = tmp_path / "file"
    with house.new_worker(instance=ONLY, handover_seconds=1.0) as hurried:
        hurried.start()
        endless = client.create_job([call("waiting_thread", 0, str(file))], "endless").job
        seen.wait_for_start(endless, 0)
        assert hurried.terminate(READY_SECONDS) == 0, hurried.account("failed")
    worker.start()
    file.touch()
    assert wait_for_all(client, [endless]) == {"PROCESSED"}
    assert [one.ended is not None for one in seen.of(endless)] == [False, True]


def test_a_callback_that_blocks_the_loop_for_longer_than_a_session_costs_no_partition(
    client: SyncClient, seen: Seen, worker: ChildProcess
) -> None:
    # It may become ready just after it is seen in the group.
    worker.wait_for_line("worker ready", READY_SECONDS)
    before = times_ready(worker)
    blocking = client.create_job([call("blocking", 0, SESSION_SECONDS + 2, "ok")], "blocking").job
    assert wait_for_all(client, [blocking]) == {"PROCESSED"}
    assert wait_for_all(client, [client.create_job([step(0)], "after").job]) == {"PROCESSED"}
    assert len(seen.of(blocking)) == 1
    assert times_ready(worker) == before
    assert "the event loop has been held up" in worker.output()


def test_callbacks_that_end_or_block_their_worker_fail_and_their_neighbours_succeed(
    house: House, client: SyncClient, worker: ChildProcess
) -> None:
    assert worker.terminate(READY_SECONDS) == 0, worker.account("failed")
    tasks = [step(0), call("poison", 1), step(2), call("blocking", 3, 3600.0, "ok"), step(4)]
    poisoned = client.create_job(tasks, "poisoned", strategy="concurrent").job
    others = [client.create_job([step(n) for n in range(5)], "other").job for _ in range(6)]

    with house.new_worker(instance=ONLY, stall_seconds=STALL_SECONDS) as successor:
        codes = list(deaths(successor, client, poisoned))
        assert wait_for_all(client, others) == {"PROCESSED"}
        assert successor.terminate(READY_SECONDS) == 0, successor.account("failed")

    found = client.get_tasks(poisoned.id)
    assert [str(task.status) for task in found] == ["PROCESSED", "FAILED", "PROCESSED", "FAILED", "PROCESSED"]
    assert ["crash_loop" in str(task.result) for task in found] == [False, True, False, True, False]
    assert set(codes) == {POISONED, STUCK}
    assert len(codes) == UNSUSPECTED_CRASHES + 2 * CRASH_LIMIT


def test_a_worker_that_gets_nothing_done_exits_but_not_because_kafka_is_away(
    house: House, client: SyncClient, seen: Seen, worker: ChildProcess, tmp_path: Path
) -> None:
    assert worker.terminate(READY_SECONDS) == 0, worker.account("failed")
    with house.new_worker(instance=ONLY, stall_seconds=STALL_SECONDS, threads=1) as successor:
        successor.start()
        house.await_workers([successor])
        file = tmp_path / "file"
        cut = client.create_job([call("waiting", 0, str(file)), step(1)], "cut").job
        seen.wait_for_start(cut, 0)
        house.kafka.kill()
        file.touch()
        time.sleep(STALL_SECONDS + 3)
        house.kafka.start()
        assert wait_for_all(client, [cut]) == {"PROCESSED"}
        assert successor.running, successor.account("ended")

        # A long step is no excuse.
        unfinished = client.create_job([call("waiting", 0, str(tmp_path / "other"))], "unfinished").job
        seen.wait_for_start(unfinished, 0)
        deafening = client.create_job([call("deafen", 0)], "deafening").job
        assert wait_for_all(client, [deafening]) == {"PROCESSED"}
        unheard = client.create_job([step(0)], "unheard").job
        assert successor.wait_for_exit(READY_SECONDS) == STUCK, successor.account("goes on")
        assert "messages wait and none is taken in" in successor.output()
        (tmp_path / "other").touch()
        successor.start()
        assert wait_for_all(client, [unfinished, unheard]) == {"PROCESSED"}

        hanging = client.create_job([call("waiting_thread", 0, str(tmp_path / "third"))], "hanging").job
        seen.wait_for_start(hanging, 0)
        held_up = client.create_job([call("threaded", 0, 0.0, "ok")], "held up").job
        held_by = f"{MODULE}.waiting_thread of job {hanging.id}"
        successor.wait_for_line(f"all threads are held by long steps .* waiting=1 held_by=.*{held_by}", READY_SECONDS)
        (tmp_path / "third").touch()
        assert wait_for_all(client, [hanging, held_up]) == {"PROCESSED"}

        disobeying = client.create_job([call("disobey", 0)], "disobeying").job
        assert wait_for_all(client, [disobeying]) == {"PROCESSED"}
        asyncio.run(send_commands(house))
        assert successor.wait_for_exit(READY_SECONDS) == STUCK, successor.account("goes on")
        assert "commands wait and none is obeyed" in successor.output()


async def send_commands(house: House) -> None:
    async with Log(house.settings.kafka_access) as log:
        await log.append(house.settings.topics.control, 0, encode_commands([]))


def deaths(worker: ChildProcess, client: SyncClient, job: Job) -> Iterator[int]:
    """Start the worker again whenever it dies, until the job has ended; return what it exits with."""
    while True:
        worker.start()
        wait_until(lambda: has_ended(client, job) or not worker.running, READY_SECONDS, lambda: worker.account("hangs"))
        if worker.running:
            return
        yield worker.wait_for_exit()


def has_ended(client: SyncClient, job: Job) -> bool:
    return client.get_job(job.id).ended_at is not None


def test_a_worker_with_a_name_of_its_own_restarts_without_a_rebalance(house: House, client: SyncClient) -> None:
    # Longer than a busy machine takes to start a process.
    stays, restarts = (house.new_worker(instance=name, session_seconds=60.0) for name in ("stays", "restarts"))
    with stays, restarts:
        stays.start()
        restarts.start()
        for one in (stays, restarts):
            one.wait_for_line("worker ready partitions=3", READY_SECONDS)
        before = times_ready(stays)

        for end in (ChildProcess.terminate, ChildProcess.kill):
            end(restarts)
            restarts.start()
            restarts.wait_for_line("worker ready partitions=3", READY_SECONDS)
            jobs = [client.create_job([step(0)], "after").job for _ in range(24)]
            assert wait_for_all(client, jobs) == {"PROCESSED"}
        assert times_ready(stays) == before


def times_ready(worker: ChildProcess) -> int:
    return len(re.findall("worker ready", worker.output()))
