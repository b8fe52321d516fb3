"""Random searches over random rows: PostgreSQL answers the ids that plain Python does, in the same order."""

import asyncio
import random
from collections.abc import Sequence
from datetime import timedelta, timezone
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jabba.filters import JOBS, TASKS, Collection, Kind, parse_search
from jabba.lifecycle import TaskFailed, TasksAborted, TaskSucceeded
from jabba.persistence import queries
from jabba.persistence.database import Database
from tests.support.projecting import NOW, facts, job_spec, new_job, project, slices_of, version
from tests.support.reference_filter import Row, Rows

KEYS = ["a", "b", "c\"'d", "%"]
NAMES = [None, "a", "B", "b%c", "b_c", "b\\c", "bxc", "ab", "Ä"]
SCALARS: list[Any] = [None, True, False, 0, 1, 1.5, -(2**70), "", "a", "A%", "1", "b_\\"]
DOCUMENTS = st.recursive(
    st.sampled_from(SCALARS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=3),
    max_leaves=6,
)
ORDERED = ["less_than", "less_than_or_equal", "greater_than", "greater_than_or_equal"]


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
    jobs = await queries.search_jobs(database, parse_search(page, JOBS))
    return Rows(jobs, await queries.search_tasks(database, parse_search(page, TASKS)))


@st.composite
def json_conditions(draw: st.DrawFn, depth: int = 2) -> list[Any]:
    sort = draw(st.sampled_from(["rule", "rule", "rule", "below", "group"] if depth else ["rule"]))
    inner = st.lists(json_conditions(depth - 1), max_size=2) if depth else st.nothing()
    if sort == "below":
        return [draw(st.sampled_from(KEYS)), None, draw(inner)]
    if sort == "group":
        return [draw(st.sampled_from(["and", "or", "not"])), None, draw(inner)]
    rule = draw(
        st.sampled_from(["equal", "equal", "not_equal", "in", "not_in", "equal_one_of", "contains", "like", *ORDERED])
    )
    values: Any = DOCUMENTS
    if rule in ("in", "not_in", "equal_one_of"):
        values = st.lists(DOCUMENTS, max_size=3)
    elif rule == "like":
        values = st.sampled_from(["", "a", "%", "_", "\\"])
    elif rule in ORDERED:
        values = st.sampled_from([0, 1, 1.2, -(2**70), "", "a", "B"])
    return [draw(st.sampled_from(KEYS)), rule, draw(values)]


@st.composite
def row_conditions(draw: st.DrawFn, collection: Collection, rows: Rows, depth: int = 2) -> list[Any]:
    sort = draw(st.sampled_from(["field", "field", "field", "json", "group", "related"] if depth else ["field"]))
    if sort == "json":
        field = draw(st.sampled_from(["meta", "meta", "callback" if collection is JOBS else "result"]))
        return [field, None, draw(st.lists(json_conditions(), max_size=2))]
    if sort == "group":
        inner = st.lists(row_conditions(collection, rows, depth - 1), max_size=3)
        return [draw(st.sampled_from(["and", "or", "not"])), None, draw(inner)]
    if sort == "related":
        name, other = ("tasks", TASKS) if collection is JOBS else ("job", JOBS)
        return [name, None, draw(st.lists(row_conditions(other, rows, depth - 1), max_size=2))]
    return draw(field_conditions(collection, rows))


@st.composite
def field_conditions(draw: st.DrawFn, collection: Collection, rows: Rows) -> list[Any]:
    field = draw(st.sampled_from([one for one in collection.fields.values() if one.kind is not Kind.JSON]))
    held: list[Any] = [getattr(row, field.name) for row in (rows.jobs if collection is JOBS else rows.tasks)]
    there = [value for value in dict.fromkeys(held) if value is not None]
    rules = ["equal", "not_equal", "in", "not_in", "equal_one_of"]
    rules += ORDERED if there else []
    rules += ["like"] if field.kind is Kind.TEXT else []
    rule = draw(st.sampled_from(rules))
    if rule == "like":
        return [field.name, rule, draw(st.sampled_from(["", "a", "b", "B", "%", "_", "\\", "PEND", "b_"]))]
    values = st.sampled_from(there if rule in ORDERED else [None, *there])
    value = draw(st.lists(values, max_size=4)) if rule in ("in", "not_in", "equal_one_of") else draw(values)
    return [field.name, rule, value]


@st.composite
def searches(draw: st.DrawFn, collection: Collection, rows: Rows) -> dict[str, Any]:
    plain = [name for name, field in collection.fields.items() if field.kind is not Kind.JSON]
    keys = st.tuples(st.sampled_from(["asc", "desc"]), st.sampled_from(plain))
    return {
        "filter": draw(st.lists(row_conditions(collection, rows), max_size=3)),
        "order_by": draw(st.lists(keys, max_size=3)),
        "cursor": (draw(st.integers(0, 3)), draw(st.integers(1, 1000))),
    }


def elsewhere(value: Any) -> Any:
    """Write the moments of a search in another time zone, as JSON has them."""
    if isinstance(value, list | tuple):
        return [elsewhere(one) for one in value]
    if hasattr(value, "astimezone"):
        return value.astimezone(timezone(timedelta(hours=5, minutes=30))).isoformat()
    return value


async def answered(database: Database, collection: Collection, body: dict[str, Any]) -> Sequence[Row]:
    search = parse_search({**body, "filter": elsewhere(body["filter"])}, collection)
    ask: Any = queries.search_jobs if collection is JOBS else queries.search_tasks
    found: Sequence[Row] = await ask(database, search)
    return found


@pytest.mark.parametrize("collection", [JOBS, TASKS], ids=["jobs", "tasks"])
def test_postgresql_answers_what_python_does(migrated: str, collection: Collection) -> None:
    metas = [{}, *({key: value} for key in KEYS[:2] for value in SCALARS)]
    metas += [{"a": {"b": 1}}, {"a": [{"b": 1, "a": 0}, {"b": 0}, 1]}, {"a": ["a", "b_\\", None]}, {"b": [[{"a": 1}]]}]
    metas += [{"a": {"b": {"a": "a"}}}, {"a": [{"b": [{"a": "a"}]}]}, {"c\"'d": {"%": True}, "b": 2**70}]
    with asyncio.Runner() as runner:
        database = runner.run(opened(migrated))
        rows = runner.run(random_rows(database, metas))
        among: Sequence[Row] = rows.jobs if collection is JOBS else rows.tasks

        @settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck), database=None)
        @given(body=searches(collection, rows))
        def agree(body: dict[str, Any]) -> None:
            offset, limit = body["cursor"]
            expected = rows.search(among, body["filter"], body["order_by"])[offset : offset + limit]
            found = runner.run(answered(database, collection, body))
            assert [row.id for row in found] == [row.id for row in expected]

        agree()
        runner.run(database.__aexit__(None, None, None))


async def opened(dsn: str) -> Database:
    return await Database(dsn).__aenter__()
