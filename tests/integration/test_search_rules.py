"""Rules of searches whose edges chance seldom hits: literal patterns, and lists of maps."""

import re
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.dialects.postgresql.psycopg2 import PGDialect_psycopg2

from jabba.database import queries
from jabba.database.connection import Database
from jabba.database.schema import jobs
from jabba.database.search_sql import compile_search
from jabba.search import JOBS, parse_search
from tests.support.projecting import facts, job_spec, new_job, project, slices_of

NAMES = ["100%", "100 percent", "a_b", "axb", "a\\b", "a/b", "ABC", "abc", None]
METAS: list[dict[str, Any]] = [
    {"items": [{"sku": "a", "n": 1}, {"sku": "b", "n": 2}]},
    {"items": [{"sku": "a", "n": 2}]},
    {"items": []},
    {"items": {"sku": "a", "n": 1}},
    {},
]


async def stored(database: Database, specs: list[dict[str, Any]]) -> dict[UUID, int]:
    """Store jobs; return the number of each by its id."""
    numbers = {}
    for number, given in enumerate(specs):
        job = new_job()
        await project(database, facts(slices_of(job, job_spec(1, **given))))
        numbers[job] = number
    return numbers


async def found(database: Database, numbers: dict[UUID, int], *conditions: Any) -> set[int]:
    search = parse_search({"filter": list(conditions), "cursor": [0, 1000]}, JOBS)
    return {numbers[job.id] for job in await queries.search_jobs(database, search)}


@pytest.mark.parametrize(
    "pattern, matches",
    [
        ("%", ["100%"]),
        ("100%", ["100%"]),
        ("_", ["a_b"]),
        ("a_b", ["a_b"]),
        ("\\", ["a\\b"]),
        ("a\\b", ["a\\b"]),
        ("b", ["a_b", "axb", "a\\b", "a/b", "ABC", "abc"]),
        ("aBc", ["ABC", "abc"]),
    ],
)
async def test_like_takes_every_character_as_it_is(projection: Database, pattern: str, matches: list[str]) -> None:
    numbers = await stored(projection, [{"name": name} for name in NAMES])
    expected = {NAMES.index(name) for name in matches}
    assert await found(projection, numbers, ["name", "like", pattern]) == expected


LETTERS = ["İstanbul", "istanbul", "ΟΔΟΣ", "οδός ΟΔΟΣΑ", "Straße", "STRASSE", "K\u212aelvin", "e\u0301te\u0301", "ÉTÉ"]
LETTERS += ["tab\tnew\nline", 'say "yes"', "a\\b\\c", ",,,,", "\x01\x02\x03", "🙂🙃🙂🙃", "ab"]


async def test_an_index_changes_nothing_of_what_like_means(projection: Database) -> None:
    numbers = await stored(projection, [{"name": name} for name in [*LETTERS, None]])
    parts = {name[first : first + size] for name in LETTERS for size in (1, 3, 4, 7, 99) for first in range(len(name))}
    plain = text("SELECT id FROM jobs WHERE position(lower(:part) IN lower(name)) > 0")
    for part in sorted(parts | {part.swapcase() for part in parts}):
        expected = {numbers[row["id"]] for row in await projection.fetch(plain, {"part": part})}
        assert await found(projection, numbers, ["name", "like", part]) == expected, part


@pytest.mark.parametrize(
    "inner, matches",
    [
        ([["sku", "equal", "a"]], {0, 1, 3}),
        ([["sku", "equal", "a"], ["n", "equal", 1]], {0, 3}),
        # Both conditions hold on the same item, not on one each.
        ([["sku", "equal", "a"], ["n", "equal", 2]], {1}),
        ([["sku", "equal", "b"], ["n", "equal", 1]], set()),
        ([["n", "greater_than", 1]], {0, 1}),
    ],
)
async def test_conditions_on_a_list_of_maps_hold_on_one_item(
    projection: Database, inner: list[Any], matches: set[int]
) -> None:
    numbers = await stored(projection, [{"meta": meta} for meta in METAS])
    assert await found(projection, numbers, ["meta", None, [["items", None, inner]]]) == matches


async def test_what_has_an_index_is_asked_of_it_beside_what_has_none(projection: Database) -> None:
    numbers = await stored(projection, [{"meta": {"a": 1, "n": number}} for number in range(3)])
    inner = [["a", "equal", 1], ["n", "greater_than", 1]]
    assert await found(projection, numbers, ["meta", None, inner]) == {2}
    statement = compile_search(parse_search({"filter": [["meta", None, inner]]}, JOBS), jobs, [jobs.c.id])
    assert " @> CAST(" in str(statement)


@pytest.mark.parametrize(
    "query, index",
    [
        ("name~abc", "jsonb_idx"),
        ("name~ab", None),
        ("type~abc", None),
        ("type:abc*", "type_status_inserted_at_idx"),
        ("status:PENDING", "inserted_at_idx2"),
    ],
)
async def test_what_has_an_index_is_looked_up(projection: Database, query: str, index: str | None) -> None:
    statement = compile_search(parse_search({"query": query, "order_by": [["asc", "reason"]]}, JOBS), jobs, [jobs.c.id])
    compiled = statement.compile(dialect=PGDialect_psycopg2(), compile_kwargs={"render_postcompile": True})  # type: ignore[no-untyped-call]
    explaining = text("EXPLAIN " + re.sub(r"%\((\w+)\)s", r":\1", compiled.string.replace("%%", "%")))
    async with projection.transaction() as transaction:
        await transaction.execute(text("SET LOCAL enable_seqscan = off"))
        plan = "\n".join(row["QUERY PLAN"] for row in await transaction.execute(explaining, compiled.params))
    assert f"jobs_default_{index}" in plan if index else "Index Cond" not in plan, plan


async def test_letters_of_types_are_alike(projection: Database) -> None:
    numbers = await stored(projection, [{"type": "Ärger"}, {"type": "ärmel"}, {"type": "arm"}])
    assert await found(projection, numbers, ["type", "like", "äR"]) == {0, 1}


async def test_many_conditions_on_what_belongs_to_a_job_are_answered(projection: Database) -> None:
    numbers = await stored(projection, [{"name": name} for name in NAMES])
    of_tasks = [["tasks", None, [["attempt", "less_than", number]]] for number in range(2, 36)]
    of_job = [["job", None, [["name", "not_equal", f"n{number}"]]] for number in range(8)]
    everything: list[Any] = [["and", None, of_tasks[:4]], *of_tasks[4:], ["tasks", None, of_job]]
    assert await found(projection, numbers, *everything) == set(range(len(NAMES)))
    assert await found(projection, numbers, *everything, ["name", "equal", "abc"]) == {7}
    of_one = ["tasks", None, [["job", None, [["name", "equal", "ABC"]]]]]
    of_none = ["tasks", None, [["name", "equal", ""]]]
    assert await found(projection, numbers, *everything, of_one) == {6}
    assert await found(projection, numbers, of_one, *everything) == {6}
    assert await found(projection, numbers, *everything, of_none) == set()
