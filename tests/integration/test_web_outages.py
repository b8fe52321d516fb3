import asyncio
import re
import time
from functools import partial
from pathlib import Path

import pytest
from aiohttp import ClientSession
from pydantic import SecretStr

from jabba.auth.api_keys import id_of
from jabba.database import migrations
from jabba.database.connection import Database
from jabba.errors import NotReady
from jabba.jobs import ids
from jabba.kafka import admin
from jabba.settings import Settings
from tests.support.http import get, post, serving
from tests.support.kafka import KafkaServer
from tests.support.keys import KEY, add_key, bearer, make_key
from tests.support.log import read_slices
from tests.support.postgres import PostgresServer
from tests.support.processes import eventually
from web.key_cache import KeyCache
from web.service import check

RED = re.compile(r"red since \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
JOB = {"tasks": ["local", "shop", "ship", [1]], "type": "shipping"}


async def faults(http: ClientSession) -> list[str]:
    """Return the backends that are not ready."""
    status, data = await get(http, "/health/ready")
    if status == 200:
        assert data == {"kafka": "ok", "database": "ok"}
        return []
    assert (status, data["type"]) == (503, "unavailable")
    parts = [one["field"] for one in data["fields"]]
    assert data["message"] == f"not ready: {', '.join(parts)}"
    assert all(RED.fullmatch(one["message"]) for one in data["fields"]), "no more, to whoever asks"
    assert (await get(http, "/health/live"))[0] == 200
    return parts


async def faults_become(http: ClientSession, *expected: str) -> None:
    """Wait until these backends are not ready; the answer may be a moment old."""

    async def are_these() -> bool:
        return await faults(http) == list(expected)

    await eventually(are_these, what=f"faults {expected}")


async def test_without_postgresql_it_starts_and_accepts_jobs_and_reads_as_soon_as_it_is_back(
    kafka: KafkaServer, tmp_path: Path, unused_tcp_port: int
) -> None:
    with PostgresServer(tmp_path) as postgres:
        settings = Settings(
            kafka=kafka.bootstrap,
            database=SecretStr(postgres.dsn),
            prefix="o-database",
            partitions=2,
            web_port=unused_tcp_port,
            visible_seconds=0,
        )
        await admin.create_topics(settings.cluster)
        migrations.upgrade(postgres.dsn)
        postgres.stop()
        await check(settings)
        async with serving(settings.model_copy(update={"access": "open"})) as http:
            status, accepted = await post(http, "/v1/jobs", JOB)
            assert status == 201
            named = JOB | {"id": str(ids.new_job_id(time.time()))}
            assert [(await post(http, "/v1/jobs", named))[0] for _ in range(2)] == [201, 201]
            await faults_become(http, "database")
            assert await get(http, "/health/submit") == (200, {"kafka": "ok"})
            for path in (
                f"/v1/jobs/{accepted['id']}",
                f"/v1/jobs/{accepted['id']}?after=0:1",
                "/v1/jobs?type=shipping",
            ):
                status, error = await get(http, path)
                assert (status, error["type"]) == (503, "unavailable")
            assert (await post(http, "/v1/tasks/search", {}))[0] == 503
            postgres.start()
            assert await get(http, "/v1/jobs") == (200, [])
            await faults_become(http)
            postgres.kill()
            postgres.start()
            await eventually(lambda: answers(http, "/v1/jobs"), what="answer after a crash")


async def test_while_postgresql_is_away_a_key_that_was_valid_goes_on(
    kafka: KafkaServer, tmp_path: Path, unused_tcp_port: int
) -> None:
    with PostgresServer(tmp_path) as postgres:
        settings = Settings(
            kafka=kafka.bootstrap,
            database=SecretStr(postgres.dsn),
            prefix="o-keys",
            partitions=2,
            web_port=unused_tcp_port,
            key_seconds=0.05,
            key_cache=tmp_path / "keys",
        )
        await admin.create_topics(settings.cluster)
        migrations.upgrade(postgres.dsn)
        await asyncio.to_thread(add_key, postgres.dsn)
        async with Database(postgres.dsn) as database:
            unseen = await make_key(database)
        async with serving(settings) as http:
            assert (await post(http, "/v1/jobs", JOB))[0] == 201
            for end in (postgres.stop, postgres.kill):
                end()
                for _ in range(5):
                    await asyncio.sleep(2 * settings.key_seconds)
                    assert (await post(http, "/v1/jobs", JOB))[0] == 201
                wrong = bearer(KEY[:-1] + "0")
                assert (await post(http, "/v1/jobs", JOB, headers=wrong))[0] == 401
                status, error = await post(http, "/v1/jobs", JOB, headers=bearer(unseen))
                assert (status, error["type"]) == (503, "unavailable")
                assert (await get(http, "/health/live"))[0] == 200
                postgres.start()
                await eventually(lambda: answers(http, "/v1/jobs"), what="answer after the outage")
            assert (await post(http, "/v1/jobs", JOB, headers=bearer(unseen)))[0] == 201
            await eventually(partial(is_written, tmp_path / "keys", unseen), what="key in the file")
        postgres.stop()
        async with serving(settings) as http:
            for key in (KEY, unseen):
                assert (await post(http, "/v1/jobs", JOB, headers=bearer(key)))[0] == 201
        async with serving(settings.model_copy(update={"key_cache": None})) as http:
            assert (await post(http, "/v1/jobs", JOB))[0] == 503
    assert len(await read_slices(settings)) == 14


async def is_written(path: Path, key: str) -> bool:
    return id_of(key) in [one.key.id for one in await asyncio.to_thread(KeyCache(path).read)]


async def answers(http: ClientSession, path: str) -> bool:
    return (await get(http, path))[0] == 200


async def test_without_kafka_it_refuses_in_time_and_accepts_the_same_job_afterwards(
    tmp_path: Path, migrated: str, unused_tcp_port: int
) -> None:
    with KafkaServer(tmp_path) as kafka:
        settings = Settings(
            kafka=kafka.bootstrap,
            database=SecretStr(migrated),
            partitions=2,
            web_port=unused_tcp_port,
            produce_seconds=1.0,
            visible_seconds=0,
        )
        await admin.create_topics(settings.cluster)
        kafka.kill()
        await check(settings)
        async with serving(settings) as http:
            await refuse_until_kafka_is_back(http, kafka)
            kafka.kill()
            await refuse_until_kafka_is_back(http, kafka)
            submitted = {part.job for _, _, part in await read_slices(settings)}
    assert len(submitted) == 2


async def refuse_until_kafka_is_back(http: ClientSession, kafka: KafkaServer) -> None:
    job = JOB | {"id": str(ids.new_job_id(time.time()))}
    async with asyncio.timeout(30):
        status, error = await post(http, "/v1/jobs", job)
    assert (status, error["type"]) == (503, "unavailable")
    assert str(job["id"]) in error["message"]
    await faults_become(http, "kafka")
    status, error = await get(http, "/health/submit")
    assert (status, error["message"]) == (503, "not ready: kafka")
    assert RED.fullmatch(error["fields"][0]["message"])
    assert await get(http, "/v1/jobs") == (200, [])
    kafka.start()

    async def accepts() -> bool:
        return (await post(http, "/v1/jobs", job))[0] == 201

    await eventually(accepts, what="acceptance")
    await faults_become(http)
    assert await get(http, "/health/submit") == (200, {"kafka": "ok"})
    await eventually(lambda: tells_all(http), what="all of the stats")


async def tells_all(http: ClientSession) -> bool:
    return bool((await get(http, "/v1/stats"))[1]["missing"] == [])


async def test_missing_topics_and_another_schema_are_told_with_the_command_to_run(
    kafka: KafkaServer, database: str, migrated: str
) -> None:
    settings = Settings(kafka=kafka.bootstrap, database=SecretStr(migrated), prefix="o-missing", partitions=1)
    with pytest.raises(NotReady, match="o-missing-tasks is missing; run `python -m jabba init`"):
        await check(settings)
    await admin.create_topics(settings.cluster)
    await check(settings)
    with pytest.raises(NotReady, match="python -m jabba init"):
        await check(settings.model_copy(update={"database": SecretStr(database)}))
