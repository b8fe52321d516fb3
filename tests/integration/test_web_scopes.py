"""What a key that is limited to some types of jobs may submit and see; nothing tells it that there are others."""

import asyncio
import itertools
import json
from collections import Counter
from typing import Any
from uuid import UUID

import pytest
from aiohttp import ClientSession

from jabba.auth.roles import Role, TypeScope
from jabba.database import queries
from jabba.database.connection import Database
from jabba.jobs import ids
from jabba.jobs.lifecycle import TaskSucceeded
from jabba.search import JOBS, TASKS, parse_search
from jabba.settings import Settings
from tests.support.http import get, post
from tests.support.keys import bearer, make_key
from tests.support.live import data, emit, first, listening, transitions
from tests.support.log import read_slices
from tests.support.projecting import NOW, facts, job_spec, new_job, project, slices_of, version
from web.scopes import within

TASK = ["local", "shop", "ship", [1]]
TYPES = ["order", "orders", "Order", "audit", "audit_", "audit_a", "audit_\U0010ffff", "audit`", "a%", "ä", "\ud7ff"]
PATTERNS = ["order", "audit_*", "audit_\U0010ffff*", "a*", "\ud7ff*", "\U0010ffff*", "*", "none", "a%*"]


@pytest.fixture
def options() -> dict[str, Any]:
    return {"partitions": 2, "visible_seconds": 0}


@pytest.fixture
async def jobs(projection: Database) -> dict[str, UUID]:
    """A job of two tasks of each type; they have ended."""
    made = {type_: new_job() for type_ in TYPES}
    for type_, job in made.items():
        ended = [TaskSucceeded(job, index, version(index), result={}) for index in range(2)]
        await project(projection, facts([*slices_of(job, job_spec(2, type=type_)), *ended]))
    return made


async def test_a_search_finds_what_a_scope_allows_and_nothing_else(projection: Database, jobs: dict[str, UUID]) -> None:
    all_jobs, all_tasks = (parse_search({"cursor": [0, 100], "count": True}, one) for one in (JOBS, TASKS))
    for patterns in itertools.combinations(PATTERNS, 2):
        scope = TypeScope(patterns)
        allowed = {job for type_, job in jobs.items() if scope.allows(type_)}

        found = await queries.search_jobs(projection, within(all_jobs, scope))
        steps = await queries.search_tasks(projection, within(all_tasks, scope))

        assert {job.id for job in found} == allowed, patterns
        assert [step.job_id for step in steps if step.job_id not in allowed] == []
        assert [page.total and page.total.value for page in (found, steps)] == [len(allowed), 2 * len(allowed)]


async def test_others_jobs_are_not_there(http: ClientSession, projection: Database, jobs: dict[str, UUID]) -> None:
    headers = bearer(await make_key(projection, Role.ADMIN, "order", "audit_*"))
    mine, other, none = jobs["order"], jobs["orders"], ids.new_job_id(NOW / 1000)
    for path in ("", "/tasks", "/progress", "?wait=1"):
        assert (await get(http, f"/v1/jobs/{mine}{path}", headers=headers))[0] == 200, path
        hidden, missing = [await get(http, f"/v1/jobs/{job}{path}", headers=headers) for job in (other, none)]
        assert hidden[0] == 404
        assert json.dumps(hidden).replace(str(other), "") == json.dumps(missing).replace(str(none), "")
        assert (await get(http, f"/v1/jobs/{other}{path}"))[0] == 200


FINDS_ALL: list[Any] = [
    {},
    {"filter": [["or", None, [["type", "equal", "orders"], ["type", "equal", "order"]]]]},
    {"filter": [["not", None, [["type", "equal", None]]]]},
    {"query": "any(type:orders type:order)"},
]


async def test_no_filter_reaches_beyond_the_scope(
    http: ClientSession, projection: Database, jobs: dict[str, UUID]
) -> None:
    headers = bearer(await make_key(projection, Role.READER, "order"))
    for search in FINDS_ALL:
        status, found = await post(http, "/v1/jobs/search", search, headers=headers)
        assert (status, [job["id"] for job in found]) == (200, [str(jobs["order"])]), search
    for search in ({}, {"filter": [["job", None, [["type", "not_equal", "order"]]]]}):
        status, found = await post(http, "/v1/tasks/search", search, headers=headers)
        assert {task["job_id"] for task in found} == ({str(jobs["order"])} if not search else set())
    assert [job["type"] for job in (await get(http, "/v1/jobs?type=orders", headers=headers))[1]] == []
    assert len((await get(http, "/v1/tasks", headers=headers))[1]) == 2


async def test_pages_go_on_within_the_scope(http: ClientSession, projection: Database, jobs: dict[str, UUID]) -> None:
    headers = bearer(await make_key(projection, Role.READER, "audit*"))
    search: dict[str, Any] = {"order_by": [["asc", "type"]], "cursor": [0, 2]}
    types: list[str] = []
    while search["cursor"]:
        async with http.post("/v1/jobs/search", json=search, headers=headers) as response:
            page = await response.json()
        types += [job["type"] for job in page["data"]]
        search["cursor"] = page["next"]
    assert types == sorted(type_ for type_ in TYPES if type_.startswith("audit"))


async def test_only_jobs_of_its_types_may_be_submitted(
    settings: Settings, http: ClientSession, projection: Database
) -> None:
    headers = bearer(await make_key(projection, Role.SUBMITTER, "order", "audit_*"))
    for type_, status in (("order", 201), ("audit_x", 201), ("orders", 403), ("salary", 403)):
        answered, said = await post(http, "/v1/jobs", {"tasks": TASK, "type": type_}, headers=headers)
        assert answered == status, type_
        assert status == 201 or [one["field"] for one in said["fields"]] == ["type"]
    lines = b"".join(json.dumps({"tasks": TASK, "type": type_}).encode() + b"\n" for type_ in ("order", "salary"))
    async with http.post("/v1/jobs/bulk", data=lines, headers=headers) as response:
        results = [json.loads(line) for line in (await response.read()).splitlines()]
    assert [one.get("error", {}).get("type") for one in results] == [None, "forbidden"]
    assert {part.type for _, _, part in await read_slices(settings)} == {"order", "audit_x"}


async def test_a_live_stream_tells_of_the_types_alone(
    settings: Settings, http: ClientSession, projection: Database
) -> None:
    http.headers.update(bearer(await make_key(projection, Role.READER, "order", "audit_*")))
    async with listening(http) as stream, listening(http, q="-type:order seq>1") as filtered:
        await asyncio.sleep(0.1)
        for type_ in ("orders", None, "order", "salary", "audit_a", "order"):
            await emit(settings, transitions(new_job(), 2, type_))
        heard = Counter(data(one)["type"] for one in await first(stream, 12))
        assert heard == {"order": 8, "audit_a": 4}
        assert [data(one)["type"] for one in await first(filtered, 2)] == ["audit_a"] * 2


async def test_a_live_stream_is_of_a_job_that_may_be_seen(
    http: ClientSession, projection: Database, jobs: dict[str, UUID]
) -> None:
    headers = bearer(await make_key(projection, Role.READER, "order"))
    assert (await get(http, f"/v1/events?job={jobs['orders']}", headers=headers))[0] == 404
    http.headers.update(headers)
    async with listening(http, job=str(jobs["order"])) as stream:
        [end] = await first(stream, 1)
        assert end.kind == "job_ended"


async def test_what_tells_of_every_type_is_refused(http: ClientSession, projection: Database) -> None:
    headers = bearer(await make_key(projection, Role.ADMIN, "order"))
    for path in ("/v1/stats", "/v1/services", "/v1/audit", "/metrics"):
        status, error = await get(http, path, headers=headers)
        assert (status, "limited to the types order" in error["message"]) == (403, True)
