"""``GET /v1/stats`` on a running web process, with and without what it asks."""

import asyncio
import re
import socket
import time
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest
from aiohttp import ClientSession
from prometheus_client.parser import text_string_to_metric_families

from jabba.auth.roles import Role
from jabba.database.connection import Database
from jabba.jobs.lifecycle import TaskFailed, TaskSucceeded, Version
from jabba.kafka.writer import Log
from jabba.messages.events import encode_event, encode_events
from jabba.messages.topics import partition_of
from jabba.projection.projector import Projector
from jabba.settings import Settings
from tests.support.http import get, post, serving
from tests.support.keys import bearer, make_key
from tests.support.processes import eventually
from web.schemas import Stats
from web.stats_query import Overview

JOB = {"tasks": [["local", "shop", "ship", [1]]] * 2, "type": "shipping", "strategy": "concurrent"}
NOWHERE = "127.0.0.1:1"


@pytest.fixture
def options() -> dict[str, Any]:
    return {"partitions": 2, "visible_seconds": 0}


async def stats(http: ClientSession) -> dict[str, Any]:
    status, data = await get(http, "/v1/stats")
    assert status == 200
    found: dict[str, Any] = data
    return found


async def gauges(http: ClientSession) -> dict[tuple[str, ...], float]:
    """Return what Prometheus is told of the stats: nothing new while they take longer than it waits."""
    async with http.get("/metrics") as response:
        assert response.status == 200
        families = list(text_string_to_metric_families(await response.text()))
    told = re.compile("jabba_(unfinished|workers|projection|dead_letters)")
    return {
        (one.name, *one.labels.values()): one.value
        for family in families
        for one in family.samples
        if told.match(one.name)
    }


async def test_it_tells_what_waits_what_has_failed_and_what_nobody_could_read(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("web.backends.STATS_SECONDS", 0.0)
    async with serving(settings) as http, Log(settings.kafka_access) as log:
        job = (await post(http, "/v1/jobs", JOB))[1]["id"]
        await post(http, "/v1/jobs", JOB | {"type": "packing"})
        await log.append(settings.topics.tasks, 0, b"no JSON")
        before = await stats(http)
        assert before["missing"] == []
        assert before["jobs"]["unfinished"] == {"value": 0, "exact": True}
        # The workers' group begins behind the empty first messages; the projection reads them as well.
        assert before["workers"]["messages"] == 3
        assert before["projection"]["tasks"]["messages"] == 5
        assert sum(before["projection"]["tasks"]["partitions"].values()) == 5
        assert before["workers"]["seconds"] > 0
        assert before["projection"]["events"] == {"messages": 0, "seconds": 0.0, "partitions": {"0": 0, "1": 0}}
        told = await eventually(lambda: gauges(http), what="gauges")
        assert told["jabba_workers_behind_messages",] == 3
        assert told["jabba_workers_behind_seconds",] >= before["workers"]["seconds"]
        assert told["jabba_projection_behind_messages", "tasks"] == 5
        assert told["jabba_projection_behind_seconds", "events"] == 0
        assert (told["jabba_unfinished_oldest_seconds",], told["jabba_dead_letters",]) == (0, 0)
        await end_tasks(log, settings, UUID(job))
        projector = Projector(settings)
        await projector.start()
        try:
            await eventually(lambda: is_projected(http), what="everything projected")
        finally:
            await projector.stop()
        after = await stats(http)
        told = await eventually(lambda: gauges_with_a_dead_letter(http), what="gauges of now")
    oldest = datetime.fromisoformat(after["jobs"]["oldest_unfinished"]["inserted_at"])
    assert 0 < told["jabba_unfinished_oldest_seconds",] <= time.time() - oldest.timestamp()
    assert told["jabba_projection_behind_messages", "tasks"] == 0
    assert after["jobs"]["by_status"]["PENDING"] == after["jobs"]["unfinished"] == {"value": 1, "exact": True}
    assert after["jobs"]["by_status"]["FAILED"] == {"value": 1, "exact": True}
    assert after["jobs"]["oldest_unfinished"]["type"] == "packing"
    assert (after["recent"]["hour"]["tasks"], after["recent"]["hour"]["unsuccessful_tasks"]) == (2, 1)
    assert after["recent"]["failures"] == {"shipping": 1}
    assert after["workers"]["messages"] == 3
    assert after["dead_letters"] == 1


async def gauges_with_a_dead_letter(http: ClientSession) -> dict[tuple[str, ...], float]:
    told = await gauges(http)
    return told if told.get(("jabba_dead_letters",)) == 1 else {}


async def end_tasks(log: Log, settings: Settings, job: UUID) -> None:
    events = [TaskSucceeded(job, 0, Version(0, 1, 1), 1, {}), TaskFailed(job, 1, Version(0, 1, 2), 1, {})]
    message = encode_events([encode_event(one) for one in events])
    await log.append(settings.topics.events, partition_of(str(job), settings.partitions), message)


async def is_projected(http: ClientSession) -> bool:
    found = (await stats(http))["projection"]
    return bool(found["tasks"]["messages"] == found["events"]["messages"] == 0)


async def test_one_look_is_for_all_who_ask_within_a_second(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []
    look = Overview.look

    async def counted(overview: Overview) -> Stats:
        looks.append(1)
        return await look(overview)

    monkeypatch.setattr(Overview, "look", counted)
    monkeypatch.setattr("web.backends.STATS_SECONDS", 600.0)
    async with serving(settings) as http:
        found = await asyncio.gather(*(stats(http) for _ in range(50)))
    assert len(looks) == 1
    assert len({one["at"] for one in found}) == 1


PARTS = {
    "database": ["jobs", "recent", "projection"],
    "kafka": ["projection", "workers", "dead_letters"],
}


GAUGES = {
    "database": {"jabba_workers_behind_messages", "jabba_workers_behind_seconds", "jabba_dead_letters"},
    "kafka": {"jabba_unfinished_oldest_seconds"},
}


def without(settings: Settings, *missing: str) -> Settings:
    """Return settings that lead nowhere; without PostgreSQL nobody could tell whether a key is known."""
    nowhere = {"database": f"postgresql://{NOWHERE}/jabba", "kafka": NOWHERE}
    changed = {"access": "open"} | {one: nowhere[one] for one in missing}
    return Settings.model_validate(settings.model_dump(exclude_unset=True) | changed)


@pytest.fixture(params=PARTS)
async def missing(request: pytest.FixtureRequest) -> str:
    part: str = request.param
    return part


@pytest.fixture
async def half(settings: Settings, missing: str) -> AsyncIterator[ClientSession]:
    """A web process that misses one of its backends."""
    async with serving(without(settings, missing)) as session:
        yield session


async def test_what_a_missing_backend_cannot_tell_is_null_and_the_reason_is_told(
    half: ClientSession, missing: str
) -> None:
    found = await stats(half)
    assert nulls(found) == PARTS[missing]
    assert sorted(one["part"] for one in found["missing"]) == sorted(PARTS[missing])
    assert all(one["reason"] for one in found["missing"])
    told = await eventually(lambda: gauges(half), what="gauges")
    assert {name for name, *_ in told} == GAUGES[missing]


async def test_a_database_that_never_answers_keeps_nothing_of_kafka_s_away(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silently = {"database": f"postgresql://127.0.0.1:{silent.getsockname()[1]}/jabba", "access": "open"}
        given = Settings.model_validate(settings.model_dump(exclude_unset=True) | silently)
        async with serving(given) as http:
            assert nulls(await stats(http)) == PARTS["database"]
            assert {name for name, *_ in await eventually(lambda: gauges(http), what="gauges")} == GAUGES["database"]


def nulls(found: dict[str, Any]) -> Sequence[str]:
    return [name for name, value in found.items() if value is None]


async def test_without_both_there_is_nothing_to_tell(settings: Settings) -> None:
    async with serving(without(settings, *PARTS)) as http:
        status, error = await get(http, "/v1/stats")
        assert await gauges(http) == {}
    assert (status, error["type"]) == (503, "unavailable")
    assert len(error["fields"]) == 5


@pytest.mark.parametrize(
    "role, types, expected", [(Role.READER, (), 200), (Role.SUBMITTER, (), 403), (Role.OPERATOR, ("audit_*",), 403)]
)
async def test_it_is_for_those_who_may_search_all_types(
    settings: Settings, projection: Database, role: Role, types: tuple[str, ...], expected: int
) -> None:
    key = await make_key(projection, role, *types)
    async with serving(settings) as http:
        status, _ = await get(http, "/v1/stats", headers=bearer(key))
    assert status == expected
