"""Pages: none is repeated and none is missing, whatever comes and goes between two of them; and how many there are."""

import itertools
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import pytest

from jabba.database import queries
from jabba.database.connection import Database
from jabba.database.schema import jobs
from jabba.database.search_sql import compile_search
from jabba.jobs.lifecycle import TaskFailed, TaskSucceeded
from jabba.jobs.pages import Count
from jabba.search import JOBS, TASKS, Collection, parse_search
from tests.support.projecting import NOW, facts, job_spec, new_job, project, slices_of, version

METAS: list[dict[str, Any]] = [{}, {"a": 1}, {"a": 1.0}, {"a": [1, {"b": None}]}, {"a": "x" * 3000}]
NAMES = [None, "a", "B", "Ä", "a'b\\"]


@pytest.fixture
async def many(projection: Database) -> list[UUID]:
    """Thirty jobs with two tasks each; several share each moment, name and meta."""
    return [await stored(projection, number) for number in range(30)]


async def stored(database: Database, number: int) -> UUID:
    job = new_job()
    spec = job_spec(2, name=NAMES[number % 5], meta=METAS[number // 5 % 5], type=f"t{number % 3}")
    await project(database, facts(slices_of(job, spec), NOW + number // 4))
    outcome = [TaskSucceeded(job, 0, version(1), 1, {"n": number % 4}), TaskFailed(job, 0, version(1), 2, {"n": "x"})]
    if number % 3:
        await project(database, facts([outcome[number % 2]], NOW + 100 + number // 4))
    return job


async def page_of(database: Database, collection: Collection, body: dict[str, Any]) -> Any:
    ask: Any = queries.search_jobs if collection is JOBS else queries.search_tasks
    return await ask(database, parse_search(body, collection))


async def walked(database: Database, collection: Collection, body: dict[str, Any], limit: int) -> list[UUID]:
    """Return the ids on all pages of a search."""
    found, cursor = [], [0, limit]
    while cursor:
        page = await page_of(database, collection, {**body, "cursor": cursor})
        assert len(page) == limit or page.next is None
        found += [one.id for one in page]
        cursor = page.next
    return found


ORDERS: list[list[Sequence[str]]] = [
    [],
    [("desc", "inserted_at")],
    [("asc", "name")],
    [("desc", "name"), ("asc", "type")],
    [("asc", "ended_at"), ("desc", "updated_at")],
    [("desc", "ended_at"), ("desc", "name")],
    [("asc", "meta"), ("desc", "name")],
    [("asc", "callback")],
    [("desc", "meta"), ("desc", "inserted_at"), ("asc", "id"), ("asc", "name")],
    [("asc", "name"), ("desc", "name")],
]


async def test_the_pages_of_every_order_are_its_parts(projection: Database, many: list[UUID]) -> None:
    for order_by in ORDERS:
        body = {"order_by": order_by, "filter": [["type", "in", ["t0", "t2"]]]}
        whole = await page_of(projection, JOBS, {**body, "cursor": [0, 1000]})
        assert (len(whole), whole.next) == (20, None)
        for limit in (3, 7, 20):
            assert await walked(projection, JOBS, body, limit) == [one.id for one in whole], order_by


async def test_tasks_are_paged_by_any_field(projection: Database, many: list[UUID]) -> None:
    for order_by in itertools.product(["asc", "desc"], TASKS.fields):
        whole = await page_of(projection, TASKS, {"order_by": [order_by], "cursor": [0, 1000]})
        assert await walked(projection, TASKS, {"order_by": [order_by]}, 17) == [one.id for one in whole], order_by
        assert len(whole) == 60


async def test_what_comes_between_two_pages_moves_nothing(projection: Database, many: list[UUID]) -> None:
    first = await page_of(projection, JOBS, {"cursor": [0, 10]})
    before = [one.id for one in await page_of(projection, JOBS, {"cursor": [0, 1000]})]
    for number in (200, 201, 202):
        await stored(projection, number)
    await projection.fetch(jobs.delete().where(jobs.c.id == str(first[-1].id)))

    second = await page_of(projection, JOBS, {"cursor": [first.next, 1000]})

    assert [one.id for one in [*first, *second]] == before


async def test_the_newest_first_are_found_by_comparing_rows(projection: Database) -> None:
    search = parse_search({"cursor": [0, 1]}, JOBS)
    token = (await page_after(projection)).next
    search = parse_search({"cursor": token}, JOBS)
    assert "WHERE (jobs.inserted_at, jobs.id) < (" in str(compile_search(search, jobs, [jobs.c.id]))


async def page_after(database: Database) -> Any:
    for number in range(2):
        await stored(database, number)
    return await page_of(database, JOBS, {"cursor": [0, 1]})


async def test_how_many_there_are_is_told_when_it_is_asked_for(
    projection: Database, many: list[UUID], monkeypatch: pytest.MonkeyPatch
) -> None:
    body = {"filter": [["type", "equal", "t1"]], "cursor": [3, 5], "count": True}
    assert (await page_of(projection, JOBS, {**body, "count": False})).total is None
    assert (await page_of(projection, JOBS, body)).total == Count(value=10, exact=True)

    monkeypatch.setattr(queries, "_COUNTED", 9)
    estimated = (await page_of(projection, JOBS, body)).total
    assert not estimated.exact
    assert estimated.value >= 10
