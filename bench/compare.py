"""How long the same work takes Jabba and what others use for it, on the same machine.

    python3 -m venv .venv-others && .venv-others/bin/pip install --require-hashes -r requirements/others.txt
    apt-get install redis-server
    python -m bench.compare --others .venv-others/bin
    python -m bench.compare --only jabba

Each system has its services and one worker process (Celery: and a child for each core, its default) to itself, is
warmed up, and then given jobs of steps that do nothing. The work is done when all results can be asked for;
Procrastinate keeps none. Everywhere a task survives the death of its worker: Celery acknowledges late, and Redis writes
its log to a file.
"""

import argparse
import asyncio
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import psycopg
from pydantic import SecretStr

from bench.projection import processor_seconds
from jabba.database import migrations
from jabba.kafka import admin
from jabba.local.ports import free_port
from jabba.local.postgres import EmbeddedDatabase
from jabba.settings import Settings
from tests.support.kafka import BENCHMARK_JVM, KafkaServer
from tests.support.processes import CHECKOUT, ChildProcess, jabba_process, plain_environment

_SIDES = CHECKOUT / "bench" / "others"
_POLL_SECONDS = 0.05
_PATIENCE_SECONDS = 120.0


class Load(NamedTuple):
    """So many jobs of so many steps, one after the other."""

    name: str
    jobs: int
    steps: int


WARM_UP = Load("(warm-up)", 2000, 1)
LOADS = (Load("jobs of one step", 10_000, 1), Load("jobs of 20 steps", 200, 20), Load("one job of 500 steps", 1, 500))


@dataclass
class System:
    """One that runs: how to submit to it, how many steps it says have ended, and its processes.

    What ``worker`` logs is looked at where one cannot tell whether those have succeeded.
    """

    program: list[str]
    environment: dict[str, str]
    ended: Callable[[], int]
    processes: list[int]
    chains: bool = True
    worker: ChildProcess | None = None


class House:
    """Starts what a system needs, in a directory; all of it ends with the ``stack``."""

    def __init__(self, directory: Path, stack: ExitStack, others: Path) -> None:
        self.directory = directory
        self.others = others
        self._stack = stack

    def kafka(self) -> KafkaServer:
        """Start Apache Kafka."""
        return self._stack.enter_context(KafkaServer(self.directory / "kafka", jvm=BENCHMARK_JVM))

    def postgres(self) -> tuple[str, int]:
        """Start PostgreSQL; return the URL of an empty database and its process."""
        server = EmbeddedDatabase(self.directory / "postgres")
        server.start()
        self._stack.callback(server.stop)
        return server.dsn(), server.pid

    def redis(self) -> tuple[str, int, int]:
        """Start Redis; return its address, port and process."""
        program = shutil.which("redis-server")
        assert program is not None, "redis-server is not installed"
        port = free_port()
        options = f"--port {port} --bind 127.0.0.1 --dir {self.directory} --appendonly yes --appendfsync everysec"
        server = self.child("redis", [program, *options.split(), "--save", ""], {})
        server.wait_for_port(port)
        return f"redis://127.0.0.1:{port}", port, server.pid

    def child(self, name: str, program: list[str], environment: dict[str, str]) -> ChildProcess:
        """Start a process."""
        whole = {**plain_environment(), "PYTHONPATH": str(_SIDES), **environment}
        child = ChildProcess(name, program, environment=whole, log=self.directory / f"{name}.log")
        return self._stack.enter_context(child.start())

    def jabba(self, role: str, environment: dict[str, str]) -> ChildProcess:
        """Start a process of Jabba's, and wait until it is ready."""
        child = jabba_process(role, environment=environment, log=self.directory / f"{role}.log").start()
        self._stack.enter_context(child).wait_for_line(f"{role} ready", 60)
        return child


def jabba(house: House) -> System:
    """Run a worker and a projector, on Kafka and PostgreSQL."""
    kafka, (database, postgres) = house.kafka(), house.postgres()
    module = "bench.others.jabba_side"
    settings = Settings(kafka=kafka.bootstrap, database=SecretStr(database), callbacks=[module])
    migrations.upgrade(database)
    asyncio.run(admin.create_topics(settings.cluster))
    environment = {"JABBA_KAFKA": kafka.bootstrap, "JABBA_DATABASE": database, "JABBA_CALLBACKS": module}
    roles = [house.jabba(role, environment).pid for role in ("worker", "projector")]
    return System(
        [sys.executable, str(_SIDES / "jabba_side.py")],
        {"BROKER": kafka.bootstrap, "PYTHONPATH": str(CHECKOUT)},
        counting(database, "SELECT count(*) FROM tasks WHERE status = 'PROCESSED'"),
        [*roles, kafka.process.pid, postgres],
    )


def celery(house: House) -> System:
    """Run Celery on Redis, results in Redis."""
    url, port, redis = house.redis()
    return _celery(house, f"{url}/0", f"{url}/1", partial(asked, port, "SELECT 1", "DBSIZE"), [redis])


def celery_postgres(house: House) -> System:
    """Run Celery on Redis, results in PostgreSQL."""
    (url, _, redis), (database, postgres) = house.redis(), house.postgres()
    ended = counting(database, "SELECT count(*) FROM celery_taskmeta WHERE status = 'SUCCESS'")
    backend = database.replace("postgresql://", "db+postgresql+psycopg://")
    return _celery(house, f"{url}/0", backend, ended, [redis, postgres])


def _celery(house: House, broker: str, backend: str, ended: Callable[[], int], services: list[int]) -> System:
    environment = {"BROKER": broker, "BACKEND": backend}
    program = [str(house.others / "celery"), "--app", "celery_side", "worker", "--loglevel", "WARNING"]
    worker = house.child("celery", program, environment)
    side = [str(house.others / "python"), str(_SIDES / "celery_side.py")]
    return System(side, environment, ended, [*services, worker.pid], worker=worker)


def procrastinate(house: House) -> System:
    """Run Procrastinate on PostgreSQL."""
    database, postgres = house.postgres()
    environment = {"BROKER": database}
    program = [str(house.others / "procrastinate"), "--app", "procrastinate_side.app"]
    assert house.child("schema", [*program, "schema", "--apply"], environment).wait_for_exit() == 0
    worker = house.child("procrastinate", [*program, "worker", "--concurrency", "100"], environment)
    ended = counting(database, "SELECT count(*) FROM procrastinate_jobs WHERE status = 'succeeded'")
    side = [str(house.others / "python"), str(_SIDES / "procrastinate_side.py")]
    return System(side, environment, ended, [postgres, worker.pid], chains=False)


def arq(house: House) -> System:
    """Run arq on Redis."""
    url, port, redis = house.redis()
    environment = {"BROKER": url}
    worker = house.child("arq", [str(house.others / "arq"), "arq_side.WorkerSettings"], environment)
    side = [str(house.others / "python"), str(_SIDES / "arq_side.py")]
    ended = partial(asked, port, "KEYS arq:result:*")
    return System(side, environment, ended, [redis, worker.pid], chains=False, worker=worker)


SYSTEMS: dict[str, Callable[[House], System]] = {
    "jabba": jabba,
    "celery": celery,
    "celery-postgres": celery_postgres,
    "procrastinate": procrastinate,
    "arq": arq,
}


def counting(database: str, query: str) -> Callable[[], int]:
    """Return what counts rows; none while there is no such table."""

    def count() -> int:
        with psycopg.connect(database) as connection, suppress(psycopg.errors.UndefinedTable):
            found = connection.execute(query.encode()).fetchone()
            return int(found[0]) if found else 0
        return 0

    return count


def asked(port: int, *commands: str) -> int:
    """Send commands to Redis; return the number that the last answer begins with, its length if it is a list."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection, connection.makefile("rb") as answers:
        connection.sendall("".join(f"{command}\r\n" for command in commands).encode())
        lines = [answers.readline() for _ in commands]
    return int(lines[-1][1:])


def used(processes: list[int]) -> float:
    """Return how many seconds of a core processes and their children have used."""
    return sum(map(processor_seconds, processes))


def measure(system: System, load: Load) -> tuple[float, float, float]:
    """Return the seconds until all was submitted and done, and those of a core that it took beside the submitter."""
    before, spent = system.ended(), used(system.processes)
    command = [*system.program, str(load.jobs), str(load.steps)]
    environment = {**os.environ, **system.environment}
    done = subprocess.run(command, env=environment, cwd=_SIDES, check=True, capture_output=True, text=True)
    began, submitted = map(float, done.stdout.split())
    last, progressed = before, time.time()
    while (now := system.ended()) - before < load.jobs * load.steps:
        if now > last:
            last, progressed = now, time.time()
        assert time.time() - progressed < _PATIENCE_SECONDS, f"{now - before} steps have ended, and no more do"
        time.sleep(_POLL_SECONDS)
    seconds = time.time() - began
    assert system.worker is None or "ERROR" not in system.worker.output(), system.worker.account("has failed")
    return submitted - began, seconds, used(system.processes) - spent


@contextmanager
def running(name: str, others: Path) -> Iterator[System]:
    """Start a system."""
    with tempfile.TemporaryDirectory(prefix="jabba-compare-") as directory, ExitStack() as stack:
        yield SYSTEMS[name](House(Path(directory), stack, others.absolute()))


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--others", type=Path, default=Path(".venv-others/bin"), help="where the others' programs are")
    parser.add_argument("--only", nargs="*", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    print(
        f"{'system':16} {'load':22} {'steps':>7} {'submitted s':>12} {'done s':>8} {'steps/s':>8} {'core ms/step':>13}"
    )
    for name in list(options.only) * options.rounds:
        with running(name, options.others) as system:
            for load in (WARM_UP, *LOADS) if system.chains else (WARM_UP, LOADS[0]):
                submitted, seconds, core = measure(system, load)
                steps = load.jobs * load.steps
                figures = f"{submitted:12.2f} {seconds:8.2f} {steps / seconds:8.0f} {1000 * core / steps:13.3f}"
                print(f"{name:16} {load.name:22} {steps:7} {figures}", flush=True)


if __name__ == "__main__":
    main()
