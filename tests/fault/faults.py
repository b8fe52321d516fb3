"""The faults. Each one leaves everything running again, and answers what it did to whom."""

import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.fault.house import READY_SECONDS, House
from tests.fault.load import Load
from tests.fault.verdict import Disruption
from tests.support.processes import ChildProcess

_CLEAR_SECONDS = 1.0
"""How much longer than a session something lasts that is to outlive it."""

_RACE_SECONDS = 0.01
"""A step may have passed its last check just before the moment of the fault, and write its line just after it."""


@dataclass(frozen=True, slots=True)
class Scene:
    """Where a fault happens."""

    house: House
    load: Load
    rng: random.Random

    def worker(self) -> ChildProcess:
        """Choose a worker that runs."""
        return self.rng.choice([worker for worker in self.house.workers if worker.running])

    def a_moment(self, longest: float) -> None:
        """Let up to so many seconds pass."""
        time.sleep(self.rng.uniform(0, longest))


Fault = Callable[[Scene], list[Disruption]]


def kill_worker(scene: Scene) -> list[Disruption]:
    """End a worker by kill -9; a supervisor starts it again, sooner or later."""
    worker = scene.worker()
    disruption = _killed(worker)
    scene.a_moment(3.0)
    worker.start()
    scene.house.await_workers([worker])
    return [disruption]


def kill_all_workers(scene: Scene) -> list[Disruption]:
    """End all workers at once: nobody is left to take over."""
    disruptions = [_killed(worker) for worker in scene.house.workers]
    scene.a_moment(1.0)
    for worker in scene.house.workers:
        worker.start()
    scene.house.await_workers()
    return disruptions


def kill_worker_while_one_joins(scene: Scene) -> list[Disruption]:
    """End a worker while the group rebalances for another one."""
    killed = scene.worker()
    joining = scene.house.new_worker().start()
    scene.a_moment(3.0)
    disruption = _killed(killed)
    scene.house.workers.remove(killed)
    scene.house.await_workers([joining])
    return [disruption]


def freeze_worker(scene: Scene) -> list[Disruption]:
    """Stop a worker until its session has expired and others have its partitions; then let it go on as a zombie."""
    worker = scene.worker()
    begin = time.monotonic()
    worker.send_signal(signal.SIGSTOP)
    time.sleep(scene.house.settings.session_seconds + _CLEAR_SECONDS)
    scene.a_moment(3.0)
    worker.send_signal(signal.SIGCONT)
    return [Disruption(begin, begin + _RACE_SECONDS, worker.pid)]


def blink_worker(scene: Scene) -> list[Disruption]:
    """Stop a worker for less than its session."""
    worker = scene.worker()
    worker.send_signal(signal.SIGSTOP)
    scene.a_moment(scene.house.settings.session_seconds / 3)
    worker.send_signal(signal.SIGCONT)
    return []


def restart_workers(scene: Scene) -> list[Disruption]:
    """Restart all workers in order, one after the other."""
    for worker in scene.house.workers:
        _end_in_order(worker)
        worker.start()
        scene.house.await_workers([worker])
    return []


def scale_workers(scene: Scene) -> list[Disruption]:
    """Add a worker, and let an older one go."""
    house = scene.house
    leaving = scene.worker()
    house.await_workers([house.new_worker().start()])
    scene.a_moment(2.0)
    _end_in_order(leaving)
    house.workers.remove(leaving)
    return []


def storm(scene: Scene) -> list[Disruption]:
    """Let workers join and leave in quick succession, in the middle of each other's rebalances."""
    house = scene.house
    guests = [house.new_worker() for _ in range(2)]
    for _ in range(2):
        for guest in guests:
            guest.start()
            scene.a_moment(1.5)
        house.await_workers([scene.rng.choice(guests)])
        for guest in guests:
            _end_in_order(guest)
            scene.a_moment(0.5)
    for guest in guests:
        house.workers.remove(guest)
    return []


def kill_projector(scene: Scene) -> list[Disruption]:
    """End the projector by kill -9."""
    projector = scene.house.projector
    projector.kill()
    scene.a_moment(1.0)
    projector.start().wait_for_line("projector ready", READY_SECONDS)
    return []


def freeze_projector(scene: Scene) -> list[Disruption]:
    """Stop the projector until another one has its partitions; then let it go on as a zombie."""
    house = scene.house
    frozen = house.projector
    frozen.send_signal(signal.SIGSTOP)
    house.projector = house.new_projector().start()
    house.projector.wait_for_line("projector ready", READY_SECONDS)
    scene.a_moment(1.0)
    frozen.send_signal(signal.SIGCONT)
    scene.a_moment(3.0)
    _end_in_order(frozen)
    return []


def kill_web(scene: Scene) -> list[Disruption]:
    """End the web process by kill -9 in the middle of submissions."""
    web = scene.house.web
    for _ in range(2):
        scene.load.burst(30)
        scene.a_moment(0.05)
        web.kill()
        scene.a_moment(1.0)
        web.start().wait_for_port(scene.house.settings.web_port, READY_SECONDS)
    return []


def kill_database(scene: Scene) -> list[Disruption]:
    """End PostgreSQL by kill -9, and start it again a little later."""
    scene.house.postgres.kill()
    scene.a_moment(3.0)
    scene.house.postgres.start()
    return []


def kill_broker(scene: Scene) -> list[Disruption]:
    """End Kafka by kill -9, and start it again a little later."""
    begin = time.monotonic()
    scene.house.kafka.kill()
    scene.a_moment(4.0)
    scene.house.kafka.start()
    return [_met_all_workers(scene, begin)]


def freeze_broker(scene: Scene) -> list[Disruption]:
    """Stop Kafka for a while, perhaps until all sessions have expired."""
    begin = time.monotonic()
    scene.house.kafka.process.send_signal(signal.SIGSTOP)
    scene.a_moment(2 * scene.house.settings.session_seconds)
    scene.house.kafka.process.send_signal(signal.SIGCONT)
    return [_met_all_workers(scene, begin)]


def kill_broker_and_worker(scene: Scene) -> list[Disruption]:
    """End Kafka, then a worker whose records it has not acknowledged."""
    worker = scene.worker()
    begin = time.monotonic()
    scene.house.kafka.kill()
    scene.a_moment(1.0)
    worker.kill()
    scene.house.kafka.start()
    worker.start()
    scene.house.await_workers([worker])
    return [_met_all_workers(scene, begin)]


FAULTS: tuple[Fault, ...] = (
    kill_worker,
    kill_all_workers,
    kill_worker_while_one_joins,
    freeze_worker,
    blink_worker,
    restart_workers,
    scale_workers,
    storm,
    kill_projector,
    freeze_projector,
    kill_web,
    kill_database,
    kill_broker,
    freeze_broker,
    kill_broker_and_worker,
)


def _killed(worker: ChildProcess) -> Disruption:
    begin, pid = time.monotonic(), worker.pid
    worker.kill()
    return Disruption(begin, time.monotonic(), pid)


def _end_in_order(process: ChildProcess) -> None:
    code = process.terminate(READY_SECONDS)
    # One that has not got as far as to say anything has nothing to hand over either.
    unborn = code == -signal.SIGTERM and not process.output()
    assert code == 0 or unborn, process.account(f"ended with {code} on SIGTERM")


def _met_all_workers(scene: Scene, begin: float) -> Disruption:
    """Without Kafka all sessions may expire; it is over when the workers have had the time to join again."""
    return Disruption(begin, time.monotonic() + 2 * scene.house.settings.session_seconds)
