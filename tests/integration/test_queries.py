"""What PostgreSQL answers: the same rows in the same order as plain Python over the same rows would."""

import operator
import random
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from jabba.database import queries
from jabba.database.connection import Database
from jabba.errors import TooExpensive, Unavailable
from jabba.jobs import ids
from jabba.jobs.lifecycle import Strategy, TaskFailed, TasksAborted, TaskStarted, TaskSucceeded
from jabba.jobs.models import Callback, Job, Task
from jabba.jobs.pages import Count, Page
from jabba.messages.slices import Slice
from jabba.projection.fold import Content
from jabba.search import JOBS, TASKS, parse_search, tasks_of_job
from tests.support.projecting import (
    NOW,
    TOPIC,
    facts,
    job_spec,
    moment,
    new_job,
    project,
    slices_of,
    version,
)

META: list[dict[str, Any]] = [
    {"request_id": "r-1", "entity": {"id": 1, "tags": ["a", "b"], "none": None}},
    {"request_id": "r-2", "entity": {"id": 1.0, "tags": ["a"]}, "": "empty key", "a.b": {"c": True}},
    {"request_id": None, "entity": {"id": "1", "tags": []}, "big": 2**70},
    {},
]


@pytest.fixture
async def many(projection: Database) -> list[UUID]:
    """Forty jobs of all sorts; several share each moment."""
    rng = random.Random(7)
    made = []
    for number in range(40):
        job = new_job()
        strategy = rng.choice(list(Strategy))
        spec = job_spec(
            3,
            type=f"type-{number % 3}",
            name=[None, "b", "a", "Ä"][number % 4],
            strategy=strategy,
            meta=META[number % 4],
        )
        await project(projection, facts(slices_of(job, spec), NOW + number // 5))
        outcome = [
            TaskSucceeded(job, 0, version(1), 1, {"n": number}),
            TaskFailed(job, 0, version(1), 2, {"no": number}),
        ]
        if number % 3:
            await project(projection, facts([outcome[number % 2]], NOW + 100 + number // 4))
        if number % 3 == 2 and strategy is Strategy.CONCURRENT:
            rest: list[Any] = [TaskSucceeded(job, index, version(9)) for index in (1, 2)]
            await project(projection, facts(rest, NOW + 200))
        made.append(job)
    stub = TaskSucceeded(new_job(), 0, version(1))
    await project(projection, facts([stub]))
    return made


async def all_jobs(database: Database) -> list[Job]:
    return await queries.search_jobs(database, parse_search({"cursor": [0, 1000]}, JOBS))


async def all_tasks(database: Database) -> list[Task]:
    return await queries.search_tasks(database, parse_search({"cursor": [0, 1000]}, TASKS))


async def test_a_job_is_answered_as_it_was_submitted(projection: Database) -> None:
    job = new_job()
    await project(projection, facts(slices_of(job, job_spec(1, name="a name", meta=META[0], strategy="concurrent"))))

    found = await queries.get_job(projection, job)

    submitted = moment(NOW)
    assert found == Job(
        id=job,
        name="a name",
        type="test",
        status="PENDING",
        strategy="CONCURRENTLY",
        meta=META[0],
        ended_at=None,
        inserted_at=submitted,
        updated_at=submitted,
    )
    assert found.inserted_at.utcoffset() == timedelta(0)


async def test_there_is_no_unknown_job_and_a_stub_is_not_shown(projection: Database) -> None:
    job = new_job()
    assert await queries.get_job(projection, job) is None

    await project(projection, facts([TaskStarted(job, 0, version(1))]))

    assert await queries.get_job(projection, job) is None
    assert await queries.search_tasks(projection, tasks_of_job(job, cursor=[0, 10])) == []
    assert await all_jobs(projection) == []
    assert await all_tasks(projection) == []
    assert await queries.known_jobs(projection, [job]) == {}


async def test_a_job_is_shown_with_its_first_slice(projection: Database) -> None:
    job = new_job()
    first, second = slices_of(job, job_spec(150, strategy="concurrent"))

    await project(projection, facts([second]))
    assert await queries.get_job(projection, job) is None

    await project(projection, facts([first]))
    found = await queries.get_job(projection, job)
    assert found is not None
    assert found.meta == {"request_id": "r-1"}


async def test_numbers_come_back_as_they_were_sent(projection: Database) -> None:
    job = new_job()
    result = {"floats": [1e16, 1e23, -1.5e300, 1e308, 1.0, 1e-7, 0.1], "integers": [10**16, 10**23, 1]}
    await project(projection, facts(slices_of(job, job_spec(1))))
    await project(projection, facts([TaskSucceeded(job, 0, version(1), 1, result)], NOW + 5))
    [task] = await queries.search_tasks(projection, tasks_of_job(job))
    assert repr(task.result) == repr(result)


async def test_tasks_are_answered_in_their_order_by_pages(projection: Database) -> None:
    job = new_job()
    await project(projection, facts(slices_of(job, job_spec(250))))
    await project(projection, facts([TaskSucceeded(job, 0, version(1), 3, {"n": None})], NOW + 5))

    tasks = await queries.search_tasks(projection, tasks_of_job(job, cursor=[0, 1000]))
    assert [task.priority for task in tasks] == list(range(1, 251))
    assert [task.id for task in tasks] == [ids.task_id(job, index) for index in range(250)]
    assert (tasks[0].status, tasks[0].result, tasks[0].attempt, tasks[0].job_id) == ("PROCESSED", {"n": None}, 3, job)
    assert tasks[1].callback == Callback(service="local", module="tests", function="step", args=[1])
    by_offset = [
        await queries.search_tasks(projection, tasks_of_job(job, cursor=[offset, 70])) for offset in range(0, 280, 70)
    ]
    assert [task for page in by_offset for task in page] == tasks
    page, walked = await queries.search_tasks(projection, tasks_of_job(job, cursor=[0, 70], count=True)), 1
    assert page.total == Count(value=250, exact=True)
    while page.next:
        following = await queries.search_tasks(projection, tasks_of_job(job, cursor=page.next))
        page, walked = Page([*page, *following], next=following.next), walked + 1
    assert (page, walked) == (tasks, 4)


@pytest.mark.parametrize(
    "condition, holds",
    [
        (["status", "equal", "PENDING"], lambda job: job.status == "PENDING"),
        (["status", "equal", "FAILED"], lambda job: job.status == "FAILED"),
        (["type", "equal", "type-1"], lambda job: job.type == "type-1"),
        (["type", "equal", "type-1'; DROP TABLE jobs; --"], lambda _: False),
        (["type", "equal", "type_1"], lambda _: False),
        (["name", "equal", "Ä"], lambda job: job.name == "Ä"),
        (["name", "equal", None], lambda job: job.name is None),
        (["strategy", "equal", "SEQUENTIALLY"], lambda job: job.strategy == "SEQUENTIALLY"),
        (["ended_at", "equal", None], lambda job: job.ended_at is None),
        (["run_at", "equal", "0001-01-01T00:00:00+14:00"], lambda _: False),
        (["inserted_at", "equal", "2026-09-21T14:13:20.003Z"], lambda job: job.inserted_at.microsecond == 3000),
        (["inserted_at", "equal", "2026-09-21T16:13:20.003+02:00"], lambda job: job.inserted_at.microsecond == 3000),
        (["callback", "equal", None], lambda _: True),
        (["meta", "equal", {}], lambda job: job.meta == {}),
        (["meta", "equal", META[1]], lambda job: job.meta == META[1]),
        (["meta", None, [["request_id", "equal", "r-1"]]], lambda job: job.meta.get("request_id") == "r-1"),
        (["meta", None, [["request_id", "equal", None]]], lambda job: job.meta.get("request_id", "") is None),
        (["meta", None, [["big", "equal", 2**70]]], lambda job: "big" in job.meta),
        (["meta", None, [["", "equal", "empty key"]]], lambda job: "" in job.meta),
        (["meta", None, [["a.b", None, [["c", "equal", True]]]]], lambda job: "a.b" in job.meta),
        (["meta", None, [["entity", None, [["id", "equal", 1]]]]], lambda job: _entity(job, "id") == 1),
        (["meta", None, [["entity", None, [["tags", "equal", ["a"]]]]]], lambda job: _entity(job, "tags") == ["a"]),
        (["meta", None, [["entity", None, [["tags", "equal", []]]]]], lambda job: _entity(job, "tags") == []),
        (["meta", None, [["entity", None, [["tags", "equal", "a"]]]]], lambda _: False),
        (["meta", None, [["entity", "equal", {"id": 1}]]], lambda _: False),
        (["meta", None, [["entity", "equal", META[0]["entity"]]]], lambda job: job.meta == META[0]),
        (["meta", None, []], lambda _: True),
    ],
)
async def test_conditions_agree_with_python(
    projection: Database, many: list[UUID], condition: list[Any], holds: Any
) -> None:
    search = parse_search({"filter": [condition], "cursor": [0, 1000]}, JOBS)

    found = await queries.search_jobs(projection, search)

    everything = await all_jobs(projection)
    assert len(everything) == len(many)
    assert found == [job for job in everything if holds(job)]


def _entity(job: Job, key: str) -> Any:
    entity = job.meta.get("entity")
    return entity.get(key) if isinstance(entity, dict) else None


async def test_conditions_are_joined(projection: Database, many: list[UUID]) -> None:
    conditions = [["type", "equal", "type-1"], ["name", "equal", "a"], ["meta", None, [["big", "equal", 2**70]]]]
    everything = await all_jobs(projection)

    found = await queries.search_jobs(projection, parse_search({"filter": conditions}, JOBS))

    assert found == [job for job in everything if (job.type, job.name) == ("type-1", "a") and "big" in job.meta]
    assert len(found) == 3


@pytest.mark.parametrize(
    "condition, holds",
    [
        (["status", "equal", "RESCUED"], lambda _: False),
        (["status", "equal", "ABORTED"], lambda task: task.status == "ABORTED"),
        (["status", "equal", "FAILED"], lambda task: task.status == "FAILED"),
        (["priority", "equal", 2], lambda task: task.priority == 2),
        (["priority", "equal", 10**30], lambda _: False),
        (["attempt", "equal", 2], lambda task: task.attempt == 2),
        (["name", "equal", "step 1"], lambda task: task.name == "step 1"),
        (["result", None, [["no", "equal", 5]]], lambda task: (task.result or {}).get("no") == 5),
        (["result", "equal", None], lambda task: task.result is None),
        (["callback", None, [["function", "equal", "step"]]], lambda _: True),
        (["callback", None, [["args", "equal", [2]]]], lambda task: task.callback.args == [2]),
    ],
)
async def test_conditions_on_tasks_agree_with_python(
    projection: Database, many: list[UUID], condition: list[Any], holds: Any
) -> None:
    found = await queries.search_tasks(projection, parse_search({"filter": [condition], "cursor": [0, 1000]}, TASKS))

    everything = await all_tasks(projection)
    assert len(everything) == 3 * len(many)
    assert found == [task for task in everything if holds(task)]


async def test_tasks_of_a_job_and_a_task_by_its_id(projection: Database, many: list[UUID]) -> None:
    of_job = parse_search({"filter": [["job_id", "equal", str(many[3])]], "order_by": [["asc", "name"]]}, TASKS)
    assert [task.name for task in await queries.search_tasks(projection, of_job)] == ["step 0", "step 1", "step 2"]

    by_id = parse_search({"filter": [["id", "equal", ids.task_id(many[3], 1)]]}, TASKS)
    assert [task.name for task in await queries.search_tasks(projection, by_id)] == ["step 1"]


@pytest.mark.parametrize("field", ["id", "type", "status", "strategy", "inserted_at", "updated_at", "started_at"])
@pytest.mark.parametrize("direction", ["asc", "desc"])
async def test_jobs_are_ordered_by_any_column_and_then_by_id(
    projection: Database, many: list[UUID], field: str, direction: str
) -> None:
    search = parse_search({"order_by": [[direction, field]], "cursor": [0, 1000]}, JOBS)
    key = operator.attrgetter("inserted_at" if field == "started_at" else field)

    found = await queries.search_jobs(projection, search)

    everything = await all_jobs(projection)
    assert found == sorted(everything, key=lambda job: (key(job), job.id), reverse=direction == "desc")


async def test_several_keys_of_order_and_null_last_when_ascending(projection: Database, many: list[UUID]) -> None:
    search = parse_search({"order_by": [["asc", "name"], ["desc", "type"]], "cursor": [0, 1000]}, JOBS)

    found = await queries.search_jobs(projection, search)

    by_type = sorted(await all_jobs(projection), key=lambda job: (job.type, job.id), reverse=True)
    assert found == sorted(by_type, key=lambda job: (job.name is None, job.name or ""))


@pytest.mark.parametrize("collection", [JOBS, TASKS])
async def test_every_field_can_be_ordered_by(projection: Database, many: list[UUID], collection: Any) -> None:
    search = queries.search_jobs if collection is JOBS else queries.search_tasks
    for field in collection.fields:
        ordered = parse_search({"order_by": [["desc", field]], "cursor": [0, 1000]}, collection)
        assert len(await search(projection, ordered)) == len(many) * (1 if collection is JOBS else 3)


async def test_pages_are_parts_of_one_order(projection: Database, many: list[UUID]) -> None:
    order = [["asc", "status"]]
    whole = await queries.search_jobs(projection, parse_search({"order_by": order, "cursor": [0, 1000]}, JOBS))

    pages = [
        await queries.search_jobs(projection, parse_search({"order_by": order, "cursor": [offset, 7]}, JOBS))
        for offset in range(0, 49, 7)
    ]

    assert [len(page) for page in pages] == [7, 7, 7, 7, 7, 5, 0]
    assert [job for page in pages for job in page] == whole


async def test_is_projected_tells_of_every_partition(projection: Database) -> None:
    assert await queries.is_projected(projection, TOPIC, {})
    assert not await queries.is_projected(projection, TOPIC, {0: 0})

    await project(projection, [], 5)

    assert await queries.is_projected(projection, TOPIC, {0: 4})
    assert not await queries.is_projected(projection, TOPIC, {0: 5})
    assert not await queries.is_projected(projection, TOPIC, {0: 4, 1: 0})
    assert not await queries.is_projected(projection, "another", {0: 4})
    assert await queries.projected_offsets(projection, [TOPIC, "another"]) == {(TOPIC, 0): 5}

    await queries.forget_offset(projection, TOPIC, 1)
    assert await queries.is_projected(projection, TOPIC, {0: 4})
    await queries.forget_offset(projection, TOPIC, 0)
    assert not await queries.is_projected(projection, TOPIC, {0: 4})
    await project(projection, [], 5)
    await queries.forget_offsets(projection)
    assert await queries.projected_offsets(projection, [TOPIC]) == {}


async def shown(projection: Database, job: UUID) -> Job:
    found = await queries.get_job(projection, job)
    assert found is not None
    return found


async def test_the_digest_tells_one_submission_from_another(projection: Database) -> None:
    job = new_job()
    (slice_,) = slices_of(job, job_spec(1))

    await project(projection, facts([slice_]))

    known = await queries.known_jobs(projection, [job, new_job()])
    assert known == {job: queries.Known(slice_.digest, await shown(projection, job))}


async def test_unfinished_jobs_come_with_all_that_submits_them_again(projection: Database) -> None:
    waiting, halfway, failing, done, aborted, partial = (new_job() for _ in range(6))
    specs = {job: job_spec(3, name="n", meta=META[1]) for job in (waiting, halfway, done, aborted)}
    specs[failing] = job_spec(3, strategy="concurrent")
    for job, spec in specs.items():
        await project(projection, facts(slices_of(job, spec)))
    await project(projection, facts(slices_of(partial, job_spec(150, strategy="concurrent"))[:1]))
    ended: dict[UUID, list[Content]] = {
        halfway: [TaskSucceeded(halfway, 0, version(1)), TaskStarted(halfway, 1, version(2))],
        failing: [TaskFailed(failing, 1, version(1)), TaskSucceeded(failing, 2, version(2))],
        done: [TaskSucceeded(done, index, version(index)) for index in range(3)],
        aborted: [TaskFailed(aborted, 0, version(1)), TasksAborted(aborted, 1, version(2), 2)],
    }
    for events in ended.values():
        await project(projection, facts(events))

    found = {one.id: one async for one in queries.unfinished_jobs(projection)}

    assert list(found) == sorted([waiting, halfway, failing])
    assert {job: (sorted(one.ended), one.failed_at, one.run) for job, one in found.items()} == {
        waiting: ([], None, 0),
        halfway: ([0], None, 0),
        failing: ([1, 2], 1, 0),
    }
    for job, one in found.items():
        assert one.spec == specs[job].model_copy(update={"id": job})
        assert one.digest == _slice(job, specs[job]).digest


def _slice(job: UUID, spec: Any) -> Slice:
    (slice_,) = slices_of(job, spec)
    return slice_


async def test_more_unfinished_jobs_than_a_page_are_all_answered_once(projection: Database) -> None:
    jobs = [new_job() for _ in range(2 * queries._PAGE + 1)]
    await project(projection, [fact for job in jobs for fact in facts(slices_of(job, job_spec(1)))])

    assert [one.id async for one in queries.unfinished_jobs(projection)] == sorted(jobs)


async def test_a_search_that_takes_too_long_is_refused_which_is_no_outage(migrated: str) -> None:
    search = parse_search({"filter": [["type", "equal", "t"]]}, JOBS)
    async with Database(migrated) as holder, Database(migrated, statement_seconds=1) as opened:
        async with holder.transaction() as transaction:
            await transaction.execute(text("LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE"))
            with pytest.raises(TooExpensive, match=r"narrow it: .* within 1 s") as refused:
                await queries.search_jobs(opened, search)
            with pytest.raises(Unavailable):
                await queries.get_job(opened, new_job())
        assert (refused.value.status, refused.value.type) == (422, "too_expensive")
        assert await queries.search_jobs(opened, search) == []
