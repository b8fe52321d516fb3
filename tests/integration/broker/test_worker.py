"""Jabba's workers on the embedded broker, which is killed while they work."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from jabba import Producer
from jabba.kafka import admin
from jabba.local.broker import EmbeddedBroker
from jabba.settings import Settings
from tests.support.callbacks import EXECUTIONS
from tests.support.processes import eventually, jabba_process

MODULE = "tests.support.callbacks"
JOBS, STEPS, SINGLES = 40, 10, 200

Step = tuple[str, int]
"""The name of a job and the number of a step in it."""

WORK: dict[str, int] = {f"job-{number}": STEPS for number in range(JOBS)} | dict.fromkeys(
    (f"single-{number}" for number in range(SINGLES)), 1
)
"""How many steps each job has."""


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[EmbeddedBroker]:
    server = EmbeddedBroker(tmp_path / "broker")
    server.start()
    yield server
    server.stop()


class Executions:
    """What the workers have done."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[Step]:
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        return [(name, int(step)) for name, step in map(str.split, lines)]

    async def reach(self, count: int) -> None:
        async def enough() -> bool:
            return len(set(self.read())) >= count

        await eventually(enough, 60, f"{count} executed steps")


async def submit(settings: Settings) -> None:
    async with Producer(settings.kafka) as producer:
        for name, steps in WORK.items():
            await producer.create_job([["local", MODULE, "note", [name, step]] for step in range(steps)], "test")


@pytest.fixture
async def settings(broker: EmbeddedBroker) -> Settings:
    made = Settings(kafka=broker.bootstrap, partitions=4, callbacks=[MODULE], session_seconds=30)
    await admin.create_topics(made.cluster)
    return made


@pytest.fixture
def executions(settings: Settings, tmp_path: Path) -> Iterator[Executions]:
    """Run two workers, and see what they do."""
    done = Executions(tmp_path / "executions")
    environment = {**settings.as_environ(), EXECUTIONS: str(done.path)}
    with ExitStack() as running:
        for number in range(2):
            worker = jabba_process("worker", environment=environment, log=tmp_path / f"worker-{number}.log")
            running.enter_context(worker.start()).wait_for_line("worker ready", 60)
        yield done


async def test_a_killed_broker_costs_no_step_and_repeats_none(
    broker: EmbeddedBroker, settings: Settings, executions: Executions
) -> None:
    expected = {(name, step) for name, steps in WORK.items() for step in range(steps)}
    submitting = asyncio.create_task(submit(settings))
    for share in (0.2, 0.5, 0.8):
        await executions.reach(int(share * len(expected)))
        broker.kill()
        await asyncio.to_thread(broker.start)
    await submitting
    await executions.reach(len(expected))

    done = executions.read()
    assert Counter(done) == Counter(expected)
    for name, steps in WORK.items():
        assert [step for job, step in done if job == name] == list(range(steps))
