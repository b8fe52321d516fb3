"""The searches that ``bench.search`` asks: what users of a job manager want to know, common and rare."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import text

from jabba.database import queries
from jabba.database.connection import Database
from jabba.search import JOBS, TASKS, Collection, Search, parse_search, tasks_of_job

Document = dict[str, Any]
NEWEST = [["desc", "inserted_at"]]


@dataclass(frozen=True)
class Samples:
    """Values that are there, to ask for."""

    jobs: list[dict[str, Any]]
    tasks: list[dict[str, Any]]
    large: list[str]
    token: str


@dataclass(frozen=True)
class Question:
    """A search of a collection; ``document`` draws its values.

    ``{"tasks_of": id}`` asks for the tasks of a job, as they are listed.
    """

    name: str
    collection: Collection
    document: Callable[[Samples, random.Random], Document]

    def search(self, samples: Samples, rng: random.Random) -> Search:
        """Draw a search."""
        document = self.document(samples, rng)
        job = document.get("tasks_of")
        return tasks_of_job(UUID(job)) if job else parse_search(document, self.collection)


def _one(field: str, value: Any, rule: str = "equal") -> list[Any]:
    return [field, rule, value]


def _day(samples: Samples, rng: random.Random) -> Document:
    day = rng.choice(samples.jobs)["day"]
    bounds = [_one("inserted_at", day, "greater_than"), _one("inserted_at", f"{day[:10]}T23:59:59Z", "less_than")]
    return {"filter": [*bounds, _one("type", "type_07")], "order_by": [["asc", "inserted_at"]]}


def _entity(samples: Samples, rng: random.Random) -> list[Any]:
    entity = rng.choice(samples.jobs)["meta"]["entity"]
    inside = [_one("kind", entity["kind"]), _one("id", entity["id"])]
    return ["meta", None, [["entity", None, inside]]]


def _request(samples: Samples, rng: random.Random) -> list[Any]:
    return ["meta", None, [_one("request_id", rng.choice(samples.jobs)["meta"]["request_id"])]]


def _tenant(rng: random.Random) -> list[Any]:
    return ["meta", None, [_one("tenant", f"tenant_{rng.randint(2, 200)}")]]


def _service(rng: random.Random) -> list[Any]:
    return ["callback", None, [_one("service", f"service_{rng.randint(1, 12)}")]]


def _some(rng: random.Random, rows: list[Any], key: str) -> list[str]:
    return [row[key] for row in rng.sample(rows, 100)]


def _end(samples: Samples, rng: random.Random) -> str:
    return str(rng.choice(samples.jobs)["name"][-9:])


def _written(query: str, newest: str = "inserted_at") -> Document:
    return {"query": query or None, "order_by": [["desc", newest]]}


QUESTIONS = [
    Question("a job by its id", JOBS, lambda s, r: {"filter": [_one("id", r.choice(s.jobs)["id"])]}),
    Question("a task by its id", TASKS, lambda s, r: {"filter": [_one("id", r.choice(s.tasks)["id"])]}),
    Question(
        "jobs by type and status, newest first",
        JOBS,
        lambda _, r: {
            "filter": [_one("type", f"type_{r.randint(1, 40):02}"), _one("status", r.choice(["PROCESSED", "FAILED"]))],
            "order_by": NEWEST,
        },
    ),
    Question("jobs by nested meta", JOBS, lambda s, r: {"filter": [_entity(s, r)], "order_by": NEWEST}),
    Question("jobs of a tenant, newest first", JOBS, lambda _, r: {"filter": [_tenant(r)], "order_by": NEWEST}),
    Question(
        "jobs with a FAILED task, newest first",
        JOBS,
        lambda _, __: {"filter": [["tasks", None, [_one("status", "FAILED")]]], "order_by": NEWEST},
    ),
    Question("tasks of the jobs with a meta", TASKS, lambda s, r: {"filter": [["job", None, [_request(s, r)]]]}),
    Question(
        "jobs by a rare part of the name",
        JOBS,
        lambda s, r: {"filter": [_one("name", _end(s, r), "like")], "order_by": NEWEST},
    ),
    Question(
        "jobs by a common part of the name",
        JOBS,
        lambda _, r: {"filter": [_one("name", r.choice(["kyiv", "LVIV"]), "like")], "order_by": NEWEST},
    ),
    Question("jobs of a type and a day", JOBS, _day),
    Question(
        "page 1,000 of a type",
        JOBS,
        lambda s, _: {"filter": [_one("type", "type_01")], "order_by": NEWEST, "cursor": s.token},
    ),
    Question("tasks of a job", TASKS, lambda s, r: {"tasks_of": r.choice(s.jobs)["id"]}),
    Question("tasks of a job of 100,000", TASKS, lambda s, r: {"tasks_of": r.choice(s.large)}),
    Question(
        "FAILED tasks of a service, newest first",
        TASKS,
        lambda _, r: {"filter": [_one("status", "FAILED"), _service(r)], "order_by": NEWEST},
    ),
    Question(
        "RESCUED tasks of a service that has none",
        TASKS,
        lambda _, __: {
            "filter": [_one("status", "RESCUED"), ["callback", None, [_one("service", "none")]]],
            "order_by": NEWEST,
        },
    ),
    Question("100 jobs by their ids", JOBS, lambda s, r: {"filter": [_one("id", _some(r, s.jobs, "id"), "in")]}),
    Question("100 tasks by their ids", TASKS, lambda s, r: {"filter": [_one("id", _some(r, s.tasks, "id"), "in")]}),
    Question(
        "jobs by the prefix of a type, newest first",
        JOBS,
        lambda _, r: {
            "filter": [
                _one("type", f"type_{(tens := r.randint(0, 3))}", "greater_than_or_equal"),
                _one("type", f"type_{tens + 1}", "less_than"),
            ],
            "order_by": NEWEST,
        },
    ),
    Question("jobs by name", JOBS, lambda _, r: {"order_by": [[r.choice(["asc", "desc"]), "name"]]}),
    Question("newest jobs", JOBS, lambda _, __: {"order_by": NEWEST}),
    Question("newest tasks", TASKS, lambda _, __: {"order_by": NEWEST}),
    Question(
        "how many jobs have failed",
        JOBS,
        lambda _, __: {"filter": [_one("status", "FAILED")], "order_by": NEWEST, "count": True},
    ),
    # What else one may want to know, as people write it.
    Question("tasks by a rare part of the job's name", TASKS, lambda s, r: _written(f'job.name~"{_end(s, r)}"')),
    Question("jobs by a prefix that no type has", JOBS, lambda _, r: _written(f"type:other_{r.randint(1, 40):02}*")),
    Question("jobs that are PENDING", JOBS, lambda _, __: _written("status:PENDING")),
    Question("jobs by their end, newest first", JOBS, lambda _, __: _written("", "ended_at")),
    Question(
        "FAILED jobs by their end, of a day",
        JOBS,
        lambda s, r: _written(f"status:FAILED ended_at<{r.choice(s.jobs)['day']}", "ended_at"),
    ),
    Question(
        "jobs with two tags", JOBS, lambda _, r: _written(f"meta.tags@>tag_{r.randint(0, 6)},tag_{r.randint(0, 6)}")
    ),
    Question(
        "jobs by meta or a rare part of the name",
        JOBS,
        lambda s, r: _written(f'meta.request_id:{r.choice(s.jobs)["meta"]["request_id"]} or name~"{_end(s, r)}"'),
    ),
    Question("jobs none of whose tasks succeeded", JOBS, lambda _, __: _written("-tasks.status:PROCESSED")),
    Question(
        "FAILED tasks of a function",
        TASKS,
        lambda _, r: _written(f"status:FAILED callback(module:app.work function:step_{r.randint(0, 6)})"),
    ),
    Question(
        "FAILED tasks of an error",
        TASKS,
        lambda _, r: _written(f'status:FAILED result.error:"no answer from {r.randrange(65536):04x}"'),
    ),
    Question(
        "PROCESSED tasks before a day",
        TASKS,
        lambda s, r: _written(f"status:PROCESSED inserted_at<{r.choice(s.jobs)['day']}"),
    ),
    Question(
        "jobs of three types before a day",
        JOBS,
        lambda s, r: _written(f"type:type_31,type_38,type_40 inserted_at<{r.choice(s.jobs)['day']}"),
    ),
]


_SOME_JOBS = text("SELECT id, name, meta, inserted_at FROM jobs TABLESAMPLE BERNOULLI (2) WHERE name <> ''")
_SOME_TASKS = text("SELECT id FROM tasks TABLESAMPLE BERNOULLI (0.3)")


async def samples_of(database: Database) -> Samples:
    """Draw jobs and tasks from all over the time."""
    jobs = await database.fetch(_SOME_JOBS)
    tasks = await database.fetch(_SOME_TASKS)
    large = await database.fetch(text("SELECT id FROM jobs WHERE total = 100000"))
    page = {"filter": [_one("type", "type_01")], "order_by": NEWEST, "cursor": [49_950, 50]}
    token = (await queries.search_jobs(database, parse_search(page, JOBS))).next
    return Samples(
        [{**row, "id": str(row["id"]), "day": f"{row['inserted_at']:%Y-%m-%dT00:00:00Z}"} for row in jobs],
        [{"id": str(row["id"])} for row in tasks],
        [str(row["id"]) for row in large],
        str(token),
    )
