"""Random searches over random rows: PostgreSQL answers the ids that plain Python does, in the same order."""

import asyncio
import os
import random
from collections.abc import Sequence
from datetime import timedelta, timezone
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jabba.database import queries
from jabba.database.connection import Database
from jabba.database.schema import jobs, tasks
from jabba.jobs.lifecycle import TaskFailed, TasksAborted, TaskSucceeded
from jabba.jobs.pages import Count, Page
from jabba.search import JOBS, TASKS, Collection, parse_search, write_text
from tests.support.projecting import NOW, facts, job_spec, new_job, project, slices_of, version
from tests.support.reference_filter import Row, Rows
from tests.support.searches import KEYS, SCALARS, searches

NAMES = [None, "a", "B", "b%c", "b_c", "b\\c", "bxc", "ab", "Ä", "BxCb%c"]
NAMES += ['straße\n"b%c"', "STRAẞE", "Ωmega Ά", "ab" * 127]
EXAMPLES = int(os.environ.get("SEARCHES", "300"))
"""Searches of each collection; ``make searches`` asks for more."""


async def random_rows(database: Database, metas: Sequence[dict[str, Any]]) -> Rows:
    rng = random.Random(11)
    for number, meta in enumerate(metas):
        job = new_job()
        strategy = rng.choice(["sequential", "concurrent"])
        spec = job_spec(3, type=rng.choice("xyz"), name=rng.choice(NAMES), strategy=strategy, meta=meta)
        await project(database, facts(slices_of(job, spec), NOW + number // 4))
        result = rng.choice(metas)
        events: list[Any] = [
            [],
            [TaskSucceeded(job, 0, version(1), 2, result)],
            [TaskFailed(job, 0, version(1), 1, result), TasksAborted(job, 1, version(2), 2)],
        ]
        if happened := rng.choice(events if strategy == "sequential" else events[:2]):
            await project(database, facts(happened, NOW + 100 + number // 3))
    page = {"cursor": [0, 1000]}
    found = await queries.search_jobs(database, parse_search(page, JOBS))
    return Rows(found, await queries.search_tasks(database, parse_search(page, TASKS)))


def elsewhere(value: Any) -> Any:
    """Write the moments of a search in another time zone, as JSON has them."""
    if isinstance(value, list | tuple):
        return [elsewhere(one) for one in value]
    if hasattr(value, "astimezone"):
        return value.astimezone(timezone(timedelta(hours=5, minutes=30))).isoformat()
    return value


async def answered(database: Database, collection: Collection, body: dict[str, Any]) -> Page[Any]:
    ask: Any = queries.search_jobs if collection is JOBS else queries.search_tasks
    found: Page[Any] = await ask(database, parse_search(body, collection))
    return found


def in_text(body: dict[str, Any], collection: Collection) -> dict[str, Any]:
    """Write the filter of a search as text."""
    text = write_text(parse_search({"filter": body["filter"]}, collection).conditions, collection)
    return {**body, "filter": None, "query": text}


async def walked(database: Database, collection: Collection, body: dict[str, Any], limit: int) -> list[UUID]:
    """Return the ids on all pages of a search; what is stored after the first one is gone at the end."""
    page = await answered(database, collection, {**body, "cursor": [0, limit]})
    meanwhile = await one_more(database) if page.next else None
    found = [one.id for one in page]
    while page.next:
        page = await answered(database, collection, {**body, "cursor": page.next})
        found += [one.id for one in page if meanwhile not in (one.id, getattr(one, "job_id", None))]
    if meanwhile:
        await database.fetch(jobs.delete().where(jobs.c.id == str(meanwhile)))
        await database.fetch(tasks.delete().where(tasks.c.job_id == str(meanwhile)))
    return found


async def one_more(database: Database) -> UUID:
    job = new_job()
    await project(database, facts(slices_of(job, job_spec(2, type="y", name="b", meta={"a": 1})), NOW + 3))
    return job


@pytest.mark.parametrize("collection", [JOBS, TASKS], ids=["jobs", "tasks"])
def test_postgresql_answers_what_python_does(migrated: str, collection: Collection) -> None:
    metas = [{}, *({key: value} for key in KEYS[:2] for value in SCALARS)]
    metas += [{"a": {"b": 1}}, {"a": [{"b": 1, "a": 0}, {"b": 0}, 1]}, {"a": ["a", "b_\\", None]}, {"b": [[{"a": 1}]]}]
    metas += [{"a": {"b": {"a": "a"}}}, {"a": [{"b": [{"a": "a"}]}]}, {"c\"'d": {"%": True}, "b": 2**70}]
    with asyncio.Runner() as runner:
        database = runner.run(opened(migrated))
        rows = runner.run(random_rows(database, metas))
        among: Sequence[Row] = rows.jobs if collection is JOBS else rows.tasks

        def held(of: Collection, name: str) -> list[Any]:
            return [getattr(row, name) for row in (rows.jobs if of is JOBS else rows.tasks)]

        @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None)
        @given(body=searches(collection, held), how=st.sampled_from(["page", "count", "text", "walk"]))
        def agree(body: dict[str, Any], how: str) -> None:
            expected = [row.id for row in rows.search(among, body["filter"], body["order_by"])]
            asked = {**body, "filter": elsewhere(body["filter"])}
            if how == "walk":
                assert runner.run(walked(database, collection, asked, len(expected) // 3 + 1)) == expected
                return
            offset, limit = body["cursor"]
            body = in_text(asked, collection) if how == "text" else {**asked, "count": how == "count"}
            page = runner.run(answered(database, collection, body))
            assert [row.id for row in page] == expected[offset : offset + limit]
            assert (page.next is not None) == (offset + limit < len(expected))
            assert page.total == (Count(value=len(expected), exact=True) if how == "count" else None)

        agree()
        runner.run(database.__aexit__(None, None, None))


async def opened(dsn: str) -> Database:
    return await Database(dsn).__aenter__()
