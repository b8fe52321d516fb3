import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from jabba.errors import NotReady, Unavailable
from jabba.jobs import ids
from jabba.kafka import admin
from jabba.producer import Producer, SyncProducer
from jabba.settings import Settings
from tests.support.kafka import KafkaServer
from tests.support.log import read_slices

TASK = ["local", "shop", "ship", [1]]


@pytest.fixture
async def settings(kafka: KafkaServer) -> Settings:
    made = Settings(kafka=kafka.bootstrap, prefix=f"p-{uuid4().hex}", partitions=4)
    await admin.create_topics(made.cluster)
    return made


@pytest.fixture
async def producer(settings: Settings) -> AsyncIterator[Producer]:
    async with Producer(settings.kafka, prefix=settings.prefix) as made:
        yield made


async def test_the_position_names_where_the_slices_stand(settings: Settings, producer: Producer) -> None:
    one = await producer.create_job([TASK] * 250, "shipping", meta={"request_id": "☃"})
    many = await producer.create_job([TASK] * 1000, "shipping", strategy="concurrent")
    found = await read_slices(settings)
    assert [(part.k, part.meta) for _, _, part in found if part.job == one.id] == [
        (0, {"request_id": "☃"}),
        (1, {}),
        (2, {}),
    ]
    for submitted in (one, many):
        highest: dict[int, int] = {}
        for partition, offset, part in found:
            if part.job == submitted.id:
                highest[partition] = max(offset, highest.get(partition, 0))
        assert submitted.position == highest
    assert len(one.position) == 1
    assert len(many.position) > 1


async def test_a_hundred_thousand_tasks_arrive_once_each(settings: Settings, producer: Producer) -> None:
    tasks = [["local", "shop", "ship", [number]] for number in range(100_000)]
    submitted = await producer.create_job(tasks, "shipping", strategy="concurrent")
    found = await read_slices(settings)
    assert {part.job for _, _, part in found} == {submitted.id}
    args = {task.callback.args[0] for _, _, part in found for task in part.tasks if part.job == submitted.id}
    assert args == set(range(100_000))
    assert sum(len(part.tasks) for _, _, part in found) == 100_000
    assert set(submitted.position) == {0, 1, 2, 3}


async def test_a_slice_ends_at_half_a_megabyte_and_a_large_task_travels_alone(
    settings: Settings, producer: Producer
) -> None:
    kilobytes = [100, 100, 100, 100, 100, 100, 1000, 1, 1]
    tasks = [["local", "shop", "ship", ["x" * (1024 * size)]] for size in kilobytes]
    await producer.create_job(tasks, "shipping")
    found = await read_slices(settings)
    assert [len(part.tasks) for _, _, part in found] == [5, 1, 1, 2]


async def test_submissions_of_one_moment_share_messages(settings: Settings, producer: Producer) -> None:
    jobs = [{"tasks": TASK, "type": f"t{number}"} for number in range(2000)]
    submitted = [one.result() async for one in producer.create_jobs(jobs)]
    found = await read_slices(settings)
    assert {part.job: part.type for _, _, part in found} == {one.id: one.job.type for one in submitted}
    assert len({(partition, offset) for partition, offset, _ in found}) < 200


async def test_a_repeat_with_the_same_id_says_the_same_again(settings: Settings, producer: Producer) -> None:
    job = ids.new_job_id(time.time())
    for _ in range(2):
        await producer.create_job([TASK], "shipping", id=job)
    first, second = await read_slices(settings)
    assert first[2] == second[2]
    assert first[2].digest


async def test_missing_topics_are_told_and_asking_makes_none(kafka: KafkaServer) -> None:
    with pytest.raises(NotReady, match="python -m jabba init"):
        async with Producer(kafka.bootstrap, prefix="never-made"):
            pass
    client = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await client.start()
    try:
        assert "never-made-tasks" not in await client.list_topics()
    finally:
        await client.close()


def test_code_without_an_event_loop_submits_from_many_threads(settings: Settings) -> None:
    with SyncProducer(settings.kafka, prefix=settings.prefix) as producer:

        async def both() -> list[object]:
            submitting = (asyncio.to_thread(producer.create_job, TASK, "shipping") for _ in range(8))
            return [one.id for one in await asyncio.gather(*submitting)]

        submitted = asyncio.run(both())
    assert {part.job for _, _, part in asyncio.run(read_slices(settings))} == set(submitted)


async def test_an_outage_is_told_in_time_and_survived(tmp_path: Path) -> None:
    with KafkaServer(tmp_path) as kafka:
        settings = Settings(kafka=kafka.bootstrap, partitions=2)
        await admin.create_topics(settings.cluster)
        async with Producer(settings.kafka, produce_seconds=1.5) as producer:
            before = await producer.create_job(TASK, "before")
            kafka.kill()
            job = ids.new_job_id(time.time())
            with pytest.raises(Unavailable, match=str(job)):
                await producer.create_job(TASK, "meanwhile", id=job)
            kafka.start()
            again = await submit_until_accepted(producer, job)
            found = {part.job for _, _, part in await read_slices(settings)}
    assert found == {before.id, again}


async def submit_until_accepted(producer: Producer, job: object) -> object:
    async with asyncio.timeout(60):
        while True:
            try:
                return (await producer.create_job(TASK, "meanwhile", id=str(job))).id
            except Unavailable:
                await asyncio.sleep(0.1)
