"""Conditions as Python expressions: they are the tuples that every search takes."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from jabba.errors import InvalidRequest
from jabba.jobs import json_codec
from jabba.jobs.lifecycle import JobStatus
from jabba.search import JOBS, TASKS, Collection, Kind, parse_search, where, write_text

ID = "6868d53f-6e37-46bc-af34-29e650446310"
MOMENT = datetime(2026, 11, 1, tzinfo=UTC)
jobs, tasks, key = where.jobs, where.tasks, where.key


@pytest.mark.parametrize(
    "condition, text",
    [
        (jobs.status == "FAILED", "status:FAILED"),
        (jobs.status == JobStatus.FAILED, "status:FAILED"),
        (jobs.name != None, "name!=null"),  # noqa: E711 — becomes a condition
        (jobs.id == UUID(ID), f"id:{ID}"),
        (jobs.type.in_(["a", None]), "type:a,null"),
        (jobs.type.not_in({"a"}), "type!=a,"),
        (jobs.inserted_at > MOMENT, "inserted_at>2026-11-01T00:00:00+00:00"),
        (jobs.inserted_at <= "2026-11-01", "inserted_at<=2026-11-01T00:00:00+00:00"),
        (jobs.name.like("100%"), "name~100%"),
        (jobs.type.starts_with("audit_"), "(type>=audit_ type<audit`)"),
        (jobs.type.starts_with("\U0010ffff"), "type>=\U0010ffff"),
        (jobs.meta["request_id"] == "r-1", "meta.request_id:r-1"),
        (jobs.meta["a"]["b.c"] >= 1.5, 'meta.a."b.c">=1.5'),
        (jobs.meta["a"].like("x"), "meta.a~x"),
        (jobs.meta["a"].starts_with("x"), "meta((a>=x a<y))"),
        (jobs.meta["tags"].contains("a", 1), "meta.tags@>a,1"),
        (jobs.meta["items"].any(key("sku") == "a", key("n") > 2), "meta.items(sku:a n>2)"),
        (jobs.meta == {}, "meta:{}"),
        (jobs.callback == None, "callback:null"),  # noqa: E711 — as above
        (jobs.tasks.any(tasks.status == "RESCUED"), "tasks.status:RESCUED"),
        (jobs.tasks.any(tasks.priority < 3, tasks.attempt >= 2), "tasks(priority<3 attempt>=2)"),
        (jobs.tasks.any(tasks.job.any(jobs.type == "a")), "tasks.job.type:a"),
        ((jobs.name == "a") | (jobs.name == "b") | (jobs.name == "c"), "(name:a or name:b or name:c)"),
        ((jobs.name == "a") & (jobs.type == "b") & (jobs.type != "c"), "(name:a type:b type!=c)"),
        (~((jobs.name == "a") | (jobs.type == "b")), "-(name:a or type:b)"),
        (where.any_of(), "any()"),
        (where.all_of(jobs.name == "a"), "all(name:a)"),
    ],
)
def test_an_expression_is_the_condition_it_looks_like(condition: where.Condition, text: str) -> None:
    search = parse_search({"filter": [condition]}, JOBS)
    assert write_text(search.conditions, JOBS) == text
    sent = json_codec.decode(json_codec.encode([condition]))
    assert parse_search({"filter": sent}, JOBS) == search


@pytest.mark.parametrize("name", ["and", "or", "not"])
def test_a_key_is_never_taken_for_a_group(name: str) -> None:
    assert (jobs.meta[name] == {"a": 1}) == ("meta", None, [(name, "equal", {"a": 1})])
    refused = pytest.raises(ValueError, match=f"{name} would be read as a group")
    with refused:
        jobs.meta[name]["a"].starts_with("x")
    with refused:
        jobs.meta["b"][name].any(key("a") == 1)
    with refused:
        jobs.meta.any(key(name)["a"] < 1)


def test_a_condition_is_a_tuple() -> None:
    assert (jobs.name == "a") == ("name", "equal", "a")
    nested = ("meta", None, [("a", "equal", 1)])
    assert (jobs.meta["a"] == 1) | (jobs.name == "b") == ("or", None, [nested, ("name", "equal", "b")])


@pytest.mark.parametrize("collection, fields", [(JOBS, jobs), (TASKS, tasks)])
def test_every_field_is_there_as_what_it_holds(collection: Collection, fields: Any) -> None:
    known = {name: value for name, value in vars(type(fields)).items() if not name.startswith("_")}
    assert set(known) == {*collection.fields, *collection.related}
    samples: dict[Kind, Any] = {Kind.ID: ID, Kind.TEXT: "a", Kind.INTEGER: 1, Kind.MOMENT: MOMENT, Kind.JSON: {}}
    for name, field in collection.fields.items():
        value = field.choices[0] if field.choices else samples[field.kind]
        assert parse_search({"filter": [known[name] == value]}, collection).conditions
        assert isinstance(known[name], where.Text) == (field.kind is Kind.TEXT)
        assert isinstance(known[name], where.Json) == (field.kind is Kind.JSON)


def test_conditions_are_not_joined_by_words() -> None:
    with pytest.raises(TypeError, match="join it by &"):
        assert any([jobs.name == "a", jobs.type == "b"])


def test_what_the_types_do_not_catch_the_search_does() -> None:
    wrong = [jobs.status == "DONE", jobs.name == 7]
    with pytest.raises(InvalidRequest) as refusal:
        parse_search({"filter": wrong}, JOBS)
    assert [one.field for one in refusal.value.fields] == ["filter[0][2]", "filter[1][2]"]


def test_the_types_know_what_a_field_holds() -> None:
    """What is ignored here is an error to users who check their types."""
    found = [tasks.priority > "high", jobs.type.in_([7])]  # type: ignore[operator, list-item]
    assert found == [("priority", "greater_than", "high"), ("type", "in", [7])]
    with pytest.raises(AttributeError):
        jobs.id.like("a")  # type: ignore[attr-defined]
