"""Random conditions over random jobs and tasks: checked, they mean what they mean as they are sent."""

import random
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jabba.jobs import ids
from jabba.jobs.lifecycle import JobStatus, Strategy, TaskStatus
from jabba.jobs.models import Callback, Job, Task
from jabba.search import JOBS, TASKS, Collection, Item, meets, parse_search
from tests.support.reference_filter import Row, Rows
from tests.support.searches import DOCUMENTS, KEYS, SCALARS, searches

MOMENT = datetime(2026, 11, 24, tzinfo=UTC)
CALLBACK = Callback(service="local", module="shop", function="ship", args=[1, {"a": "a"}])


@dataclass(frozen=True)
class RowItem:
    """A row as the product's evaluator sees it."""

    row: Row
    rows: Rows

    def held(self, field: str) -> Any:
        value = getattr(self.row, field)
        return value.model_dump() if isinstance(value, Callback) else value

    def related(self, collection: str) -> Iterable[Item]:
        name = "tasks" if collection == "tasks" else "job"
        return [RowItem(one, self.rows) for one in self.rows.related(self.row, name)]


def rows_at_random() -> Rows:
    rng = random.Random(5)
    documents: list[dict[str, Any]] = [
        {},
        {"a": {"b": 1}},
        {"a": [{"b": 1, "a": 0}, 1]},
        {"b": [[{"a": 1}]]},
        {"a": None},
    ]
    documents += [{key: value} for key in KEYS[:3] for value in SCALARS]
    jobs = [job_at_random(rng, rng.choice(documents)) for _ in range(12)]
    tasks = [task_at_random(rng, job.id, number, rng.choice(documents)) for job in jobs for number in range(2)]
    return Rows(jobs, tasks)


def job_at_random(rng: random.Random, meta: dict[str, Any]) -> Job:
    return Job(
        id=ids.new_job_id(1_790_000_000),
        name=rng.choice([None, "a", "B", "b%c"]),
        type=rng.choice("xyz"),
        status=rng.choice(list(JobStatus)),
        strategy=rng.choice(list(Strategy)),
        meta=meta,
        callback=rng.choice([None, CALLBACK]),
        ended_at=rng.choice([None, MOMENT]),
        inserted_at=MOMENT + timedelta(seconds=rng.randrange(3)),
        updated_at=MOMENT,
    )


def task_at_random(rng: random.Random, job: UUID, number: int, result: dict[str, Any]) -> Task:
    return Task(
        id=ids.task_id(job, number),
        job_id=job,
        name=rng.choice([None, "a", "B"]),
        callback=CALLBACK,
        priority=number,
        status=rng.choice(list(TaskStatus)),
        result=rng.choice([None, result]),
        meta={},
        attempt=rng.randrange(1, 3),
        ended_at=rng.choice([None, MOMENT]),
        inserted_at=MOMENT + timedelta(seconds=rng.randrange(3)),
        updated_at=MOMENT,
    )


ROWS = rows_at_random()


def held(of: Collection, name: str) -> list[Any]:
    return [getattr(row, name) for row in (ROWS.jobs if of is JOBS else ROWS.tasks)]


@pytest.mark.parametrize("collection", [JOBS, TASKS], ids=["jobs", "tasks"])
def test_checked_conditions_mean_what_was_sent(collection: Collection) -> None:
    among = ROWS.jobs if collection is JOBS else ROWS.tasks
    found = 0

    @settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(body=searches(collection, held))
    def agree(body: dict[str, Any]) -> None:
        nonlocal found
        conditions = parse_search({"filter": body["filter"]}, collection).conditions
        mine = [row.id for row in among if meets(RowItem(row, ROWS), conditions)]
        assert mine == [row.id for row in among if ROWS.meets(row, body["filter"])]
        found += 0 < len(mine) < len(among)

    agree()
    assert found > 30, "most of them tell some rows from others"


@dataclass(frozen=True)
class Event:
    """An event with nothing but a result."""

    result: Any

    def held(self, field: str) -> Any:
        return self.result if field == "result" else None

    def related(self, _collection: str) -> Iterable[Item]:
        return ()


@given(result=DOCUMENTS)
def test_json_is_equal_to_itself_and_to_nothing_of_another_sort(result: Any) -> None:
    def result_is(value: Any) -> bool:
        return meets(Event(result), parse_search({"filter": [["result", "equal", value]]}, TASKS).conditions)

    assert result_is(result)
    assert not result_is([result])
    assert result_is(1) == (result == 1 and result is not True)


@given(result=st.dictionaries(st.sampled_from(KEYS), DOCUMENTS, min_size=1))
def test_what_stands_under_a_key_is_found_there(result: dict[str, Any]) -> None:
    for key, value in result.items():
        sent = {"filter": [["result", None, [[key, "equal", value]]]]}
        assert meets(Event(result), parse_search(sent, TASKS).conditions)
