"""All of Jabba as processes of their own, which the faults end, freeze and start again."""

import asyncio
import itertools
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from pydantic import SecretStr

from jabba.local.ports import free_port
from jabba.settings import Settings
from tests.fault.executions import VARIABLE, ExecutionLog
from tests.fault.plans import MODULE
from tests.support.kafka import KafkaServer
from tests.support.keys import add_key
from tests.support.postgres import PostgresServer
from tests.support.processes import ChildProcess, jabba_process

READY_SECONDS = 90.0
"""How long a process may take to start, or to get its partitions: machines that run tests are busy."""

_POLL_SECONDS = 0.05


class House:
    """Kafka and PostgreSQL are given; workers, projectors and a web process are started on entry and ended on exit."""

    def __init__(
        self, directory: Path, kafka: KafkaServer, postgres: PostgresServer, *, workers: int = 2, **settings: Any
    ) -> None:
        self.kafka = kafka
        self.postgres = postgres
        self._directory = directory
        self._journals = directory / "executions"
        self._journals.mkdir(parents=True)
        self.executions = ExecutionLog(self._journals)
        name = f"fault_{uuid4().hex[:8]}"
        chosen: dict[str, Any] = {"partitions": 6, "session_seconds": 6.0, "commit_seconds": 0.5, "adopt_seconds": 2.0}
        self.settings = Settings(
            kafka=kafka.bootstrap,
            database=SecretStr(postgres.create_database(name)),
            prefix=name,
            callbacks=[MODULE],
            web_port=free_port(),
            **chosen | settings,
        )
        self._numbers = itertools.count()
        self._made: list[ChildProcess] = []
        self.workers = [self._process("worker") for _ in range(workers)]
        self.projector = self._process("projector")
        self.web = self._process("web")

    @property
    def url(self) -> str:
        """Where the web process is."""
        return f"http://127.0.0.1:{self.settings.web_port}"

    @property
    def processes(self) -> list[ChildProcess]:
        """All processes, running or not."""
        return [*self.workers, self.projector, self.web]

    def __enter__(self) -> Self:
        init = self._process("init").start()
        assert init.wait_for_exit(READY_SECONDS) == 0, init.account("failed")
        add_key(self.settings.database.get_secret_value())
        for process in self.processes:
            process.start()
        self.await_workers()
        self.web.wait_for_port(self.settings.web_port, READY_SECONDS)
        self.projector.wait_for_line("projector ready", READY_SECONDS)
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._made:
            if process.running:
                process.kill()

    def stop(self) -> list[int]:
        """Ask all processes to end, as at a shutdown; answer their exit codes."""
        return [process.terminate(READY_SECONDS) for process in self.processes]

    def new_worker(self, **settings: Any) -> ChildProcess:
        """Return one more worker, not yet started, with other settings than the rest if given."""
        worker = self._process("worker", **settings)
        self.workers.append(worker)
        return worker

    def new_projector(self) -> ChildProcess:
        """Return another projector, not yet started."""
        return self._process("projector")

    def await_workers(self, workers: Iterable[ChildProcess] = ()) -> None:
        """Wait until these workers, or all that run, have had their partitions at least once."""
        for worker in workers or [worker for worker in self.workers if worker.running]:
            worker.wait_for_line("worker ready", READY_SECONDS)

    def await_members(self, count: int) -> None:
        """Wait until so many workers have their partitions from the group."""
        wait_until(lambda: asyncio.run(_members(self.settings)) == count, READY_SECONDS, lambda: f"{count} members")

    def uncommitted(self) -> dict[TopicPartition, int]:
        """Return how many messages of each partition the workers still need."""
        return asyncio.run(_uncommitted(self.settings))

    def _process(self, role: str, **settings: Any) -> ChildProcess:
        chosen = self.settings.model_copy(update=settings)
        environment = chosen.as_environ() | {VARIABLE: str(self._journals)}
        process = jabba_process(
            role, environment=environment, log=self._directory / f"{role}-{next(self._numbers)}.log"
        )
        self._made.append(process)
        return process


async def _members(settings: Settings) -> int | None:
    """Return how many members the group has, or None while it deals partitions to them."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka)
    await admin.start()
    try:
        (answer,) = await admin.describe_consumer_groups([settings.topics.worker_group])
    finally:
        await admin.close()
    ((_, _, state, _, _, members, *_),) = answer.groups
    return len(members) if state in ("Stable", "Empty") else None


async def _uncommitted(settings: Settings) -> dict[TopicPartition, int]:
    topics = (settings.topics.tasks, settings.topics.control)
    places = [TopicPartition(topic, number) for topic in topics for number in range(settings.partitions)]
    async with AIOKafkaConsumer(
        bootstrap_servers=settings.kafka, group_id=settings.topics.worker_group, enable_auto_commit=False
    ) as consumer:
        ends = await consumer.end_offsets(places)
        left = {place: ends[place] - (await consumer.committed(place) or 0) for place in places}
    return {place: count for place, count in left.items() if count}


def wait_until(condition: Callable[[], bool], seconds: float, what: Callable[[], str]) -> None:
    """Wait until a condition holds; fail with what is told otherwise."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what()
        time.sleep(_POLL_SECONDS)
