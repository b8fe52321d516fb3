"""Searches in text: the same conditions, and every mistake at its place."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jabba.errors import InvalidRequest
from jabba.search import (
    JOBS,
    MAX_CONDITIONS,
    MAX_DEPTH,
    MAX_TEXT,
    MAX_VALUES,
    TASKS,
    Collection,
    Kind,
    Rule,
    Search,
    parse_search,
    write_text,
)
from tests.support.searches import row_conditions

ID = "6868d53f-6e37-46bc-af34-29e650446310"


def searched(text: str, collection: Collection = JOBS) -> Search:
    return parse_search({"query": text}, collection)


@pytest.mark.parametrize(
    "text, conditions",
    [
        ("", []),
        ("  \n ", []),
        ("status:FAILED", [["status", "equal", "FAILED"]]),
        ("status=failed", [["status", "equal", "FAILED"]]),
        ("status:FAILED,rescued", "query[14]"),
        ("status:FAILED,PENDING", [["status", "in", ["FAILED", "PENDING"]]]),
        ("status:FAILED,", [["status", "in", ["FAILED"]]]),
        ("status:,", [["status", "in", []]]),
        ("status!=FAILED type!=a,b", [["status", "not_equal", "FAILED"], ["type", "not_in", ["a", "b"]]]),
        ("name:null", [["name", "equal", None]]),
        ('name:"null"', [["name", "equal", "null"]]),
        ("name:a,null", [["name", "in", ["a", None]]]),
        ('name:""', [["name", "equal", ""]]),
        ("name:12", [["name", "equal", "12"]]),
        ("name:*", [["name", "not_equal", None]]),
        ("ended_at:*", [["ended_at", "not_equal", None]]),
        ('name:"*"', [["name", "equal", "*"]]),
        ('name:"a*b*"', [["name", "equal", "a*b*"]]),
        ("name:a*b", [["name", "equal", "a*b"]]),
        (
            "type:audit_*",
            [["and", None, [["type", "greater_than_or_equal", "audit_"], ["type", "less_than", "audit`"]]]],
        ),
        (
            'type:"a b"*',
            [["and", None, [["type", "greater_than_or_equal", "a b"], ["type", "less_than", "a c"]]]],
        ),
        ("type:\U0010ffff*", [["type", "greater_than_or_equal", "\U0010ffff"]]),
        (
            "type:a\U0010ffff*",
            [["and", None, [["type", "greater_than_or_equal", "a\U0010ffff"], ["type", "less_than", "b"]]]],
        ),
        (
            "type:\ud7ff*",
            [["and", None, [["type", "greater_than_or_equal", "\ud7ff"], ["type", "less_than", "\ue000"]]]],
        ),
        ("name~substring", [["name", "like", "substring"]]),
        ("name~100%*", [["name", "like", "100%*"]]),
        ("name~null", [["name", "like", "null"]]),
        ("inserted_at>2026-11-01", [["inserted_at", "greater_than", "2026-11-01"]]),
        (
            "inserted_at>=2026-11-01T10:00+02:00 inserted_at<2026-12-01",
            [
                ["inserted_at", "greater_than_or_equal", "2026-11-01T10:00+02:00"],
                ["inserted_at", "less_than", "2026-12-01"],
            ],
        ),
        (f"id:{ID},{ID}", [["id", "in", [ID, ID]]]),
        ("-status:PROCESSED", [["not", None, [["status", "equal", "PROCESSED"]]]]),
        ("not status:PROCESSED", [["not", None, [["status", "equal", "PROCESSED"]]]]),
        ("NOT -name:a", [["not", None, [["not", None, [["name", "equal", "a"]]]]]]),
        ("name:a and type:b", [["name", "equal", "a"], ["type", "equal", "b"]]),
        ("name:a or name:b", [["or", None, [["name", "equal", "a"], ["name", "equal", "b"]]]]),
        (
            "name:a type:b OR name:c",
            [["or", None, [["and", None, [["name", "equal", "a"], ["type", "equal", "b"]]], ["name", "equal", "c"]]]],
        ),
        (
            "type:b (name:a or name:c)",
            [["type", "equal", "b"], ["or", None, [["name", "equal", "a"], ["name", "equal", "c"]]]],
        ),
        ("((name:a))", [["name", "equal", "a"]]),
        ("(name:a)or(name:b)", [["or", None, [["name", "equal", "a"], ["name", "equal", "b"]]]]),
        ("not(name:a type:b)", [["not", None, [["name", "equal", "a"], ["type", "equal", "b"]]]]),
        ("any(name:a type:b)", [["or", None, [["name", "equal", "a"], ["type", "equal", "b"]]]]),
        ("all() any() not()", [["and", None, []], ["or", None, []], ["not", None, []]]),
        ("meta.request_id:r-1", [["meta", None, [["request_id", "equal", "r-1"]]]]),
        ("meta.n:1 meta.n:1.5", [["meta", None, [["n", "equal", 1]]], ["meta", None, [["n", "equal", 1.5]]]]),
        ('meta.n:"1"', [["meta", None, [["n", "equal", "1"]]]]),
        ("meta.n:007", [["meta", None, [["n", "equal", "007"]]]]),
        ("meta.n:true,null", [["meta", None, [["n", "in", [True, None]]]]]),
        ("meta.a.b.c>7", [["meta", None, [["a", None, [["b", None, [["c", "greater_than", 7]]]]]]]]),
        ('meta."a.b".c:1', [["meta", None, [["a.b", None, [["c", "equal", 1]]]]]]),
        ("meta.url:https://x.y/z?a=b", [["meta", None, [["url", "equal", "https://x.y/z?a=b"]]]]),
        (
            "meta(a:1 items(sku:x n>2))",
            [["meta", None, [["a", "equal", 1], ["items", None, [["sku", "equal", "x"], ["n", "greater_than", 2]]]]]],
        ),
        (
            "meta(a:1 or -b:2)",
            [["meta", None, [["or", None, [["a", "equal", 1], ["not", None, [["b", "equal", 2]]]]]]]],
        ),
        ("meta()", [["meta", None, []]]),
        ("meta.tags@>a", [["meta", None, [["tags", "contains", "a"]]]]),
        ("meta.tags@>a,1", [["meta", None, [["tags", "contains", ["a", 1]]]]]),
        ('meta.a:{"b": [1, "x y"]}', [["meta", None, [["a", "equal", {"b": [1, "x y"]}]]]]),
        ("meta.a:[1],[]", [["meta", None, [["a", "in", [[1], []]]]]]),
        ("meta:{}", [["meta", "equal", {}]]),
        ("meta.or:1 meta.any:2", [["meta", None, [["or", "equal", 1]]], ["meta", None, [["any", "equal", 2]]]]),
        (
            "meta.n:ab*",
            [["meta", None, [["and", None, [["n", "greater_than_or_equal", "ab"], ["n", "less_than", "ac"]]]]]],
        ),
        ("meta.n:*", [["meta", None, [["n", "not_equal", None]]]]),
        ("tasks.status:RESCUED", [["tasks", None, [["status", "equal", "RESCUED"]]]]),
        ("tasks.priority>=2", [["tasks", None, [["priority", "greater_than_or_equal", 2]]]]),
        ("tasks.result.n:2", [["tasks", None, [["result", None, [["n", "equal", 2]]]]]]),
        (
            "tasks(status:FAILED name:x)",
            [["tasks", None, [["status", "equal", "FAILED"], ["name", "equal", "x"]]]],
        ),
        ("tasks.job(type:a)", [["tasks", None, [["job", None, [["type", "equal", "a"]]]]]]),
        ("callback:null", [["callback", "equal", None]]),
        ("callback.args@>7", [["callback", None, [["args", "contains", 7]]]]),
    ],
)
def test_a_text_stands_for_conditions(text: str, conditions: Any) -> None:
    if isinstance(conditions, str):
        assert list(mistakes(text)) == [conditions]
    else:
        assert searched(text) == parse_search({"filter": conditions}, JOBS)


def test_values_of_tasks_become_what_their_fields_hold() -> None:
    text = f"priority:2 attempt:1,-3 job_id:{ID} job.inserted_at<2026-11-01"
    found = searched(text, TASKS).conditions
    assert [getattr(one, "value", None) for one in found] == [2, (1, -3), UUID(ID), None]
    assert write_text(found[3:], TASKS) == "job.inserted_at<2026-11-01T00:00:00+00:00"


def test_a_query_is_joined_with_the_filter() -> None:
    both = parse_search({"filter": [["name", "equal", "a"]], "query": "type:b"}, JOBS)
    assert both == parse_search({"filter": [["name", "equal", "a"], ["type", "equal", "b"]]}, JOBS)
    many = [["name", "equal", "a"]] * MAX_CONDITIONS
    with pytest.raises(InvalidRequest, match="101 conditions"):
        parse_search({"filter": many, "query": "type:b"}, JOBS)


def mistakes(text: Any, collection: Collection = JOBS) -> dict[str, str]:
    with pytest.raises(InvalidRequest) as refusal:
        parse_search({"query": text}, collection)
    return {one.field: one.message for one in refusal.value.fields}


@pytest.mark.parametrize(
    "text, place, said",
    [
        ("failed", 0, "'failed'"),
        ("status:FAILED oops", 14, "'oops'"),
        ("status: FAILED", 7, "a value stands here"),
        ("status:", 7, "the end"),
        ("status:FAILED, PENDING", 15, "'PENDING'"),
        ("status:DONE", 7, "'DONE' is no status"),
        ("state:FAILED", 0, "'state' is no field of jobs"),
        ("type:a state:FAILED", 7, "'state'"),
        ("tasks.state:FAILED", 6, "'state' is no field of tasks"),
        ("tasks:FAILED", 0, "'tasks' is no field of jobs"),
        ("type.a:1", 0, "nothing stands below type"),
        ("type(a:1)", 0, "nothing stands below type"),
        # In conditions these names are those of groups.
        ('meta."not"(a:1)', 5, "a key that is called so is compared as a whole"),
        ("meta.or.a:1", 5, "a key that is called so is compared as a whole"),
        ('meta(b:1 a."and"(c:1))', 11, "a key that is called so is compared as a whole"),
        ('name:a "or"(name:b)', 7, "would be read as a group"),
        ("inserted_at>yesterday", 12, "'yesterday'"),
        ("inserted_at>null", 12, "null"),
        ("id~6868", 2, "like is no rule for id"),
        ("name@>a", 4, "contains is no rule for name"),
        ("name:a,,b", 7, "a value stands here"),
        ("name:,a", 6, "quoted"),
        ("name>a,b", 5, "> takes one value"),
        ("name~a,b", 5, "~ takes one value"),
        ("status:FA*", 7, "a * is for texts"),
        ("id:68*", 3, "a * is for texts"),
        ("name:a*,b", 5, "stands alone"),
        ("name!=a*", 6, "behind a colon"),
        ("name:a(b", 6, "quoted"),
        ('name:a"b', 6, "quoted"),
        ('name:"a', 5, "JSON"),
        ('name:"a\n"', 7, "JSON"),
        ('name:"a\\u0000"', 5, "NUL"),
        ("meta.a:{1}", 8, "JSON"),
        ("meta.a:[NaN]", 7, "JSON"),
        ("meta.a>[1]", 7, "neither a number nor a text"),
        ("(name:a", 0, "never closed"),
        ("tasks(name:a", 5, "never closed"),
        ("name:a)", 6, "nothing is open"),
        ("()", 0, "a condition stands in parentheses"),
        ("name:a or", 9, "follows or"),
        ("or name:a", 0, "before or"),
        ("name:a or or name:b", 10, "before or"),
        ("name:a and", 10, "follows and"),
        ("and name:a", 0, "before and"),
        ("name:a and and name:b", 11, "before and"),
        ("any name:a", 0, "any is written any(…)"),
        ("not", 0, "not is written not(…)"),
        ("-", 1, "FIELD:VALUE"),
        ("- name:a", 1, "FIELD:VALUE"),
        ("meta.:1", 5, "FIELD:VALUE"),
        ("meta.a", 5, "FIELD:VALUE"),
        (":1", 0, "FIELD:VALUE"),
        ("☃:1", 0, "'☃' is no field"),
        ("-" * 10_000 + "name:a", 21, f"deeper than {MAX_DEPTH}"),
        ("(" * 10_000, 21, f"deeper than {MAX_DEPTH}"),
        ("meta." * 10_000, 105, f"deeper than {MAX_DEPTH}"),
        ("meta.a:" + "[" * 10_000, 7, "JSON"),
    ],
)
def test_a_mistake_is_named_by_its_place(text: str, place: int, said: str) -> None:
    found = mistakes(text)
    assert list(found) == [f"query[{place}]"]
    assert said in found[f"query[{place}]"]


def test_all_wrong_values_are_named_at_once() -> None:
    text = "tasks.status:FAILED,DONE type:x id:me meta(a:1 b>true)"
    assert list(mistakes(text)) == [f"query[{at}]" for at in (20, 35, 49)]


@pytest.mark.parametrize("text", [7, ["status:FAILED"], {}, "name:\0", "name:\ud800"])
def test_a_query_is_a_text_that_can_be_stored(text: Any) -> None:
    assert next(iter(mistakes(text))).startswith("query")


def test_too_many_conditions_are_refused_as_a_whole() -> None:
    assert list(mistakes("name:a " * (MAX_CONDITIONS + 1))) == [f"query[{7 * MAX_CONDITIONS}]"]
    assert list(mistakes("name:a " * MAX_CONDITIONS + "or name:b")) == [f"query[{7 * MAX_CONDITIONS + 3}]"]
    assert list(mistakes("-name:a " * MAX_CONDITIONS)) == ["filter"]
    assert list(mistakes("name:a" + ",a" * MAX_VALUES)) == [f"query[{5 + 2 * MAX_VALUES}]"]
    assert list(mistakes("name:" + "a" * MAX_TEXT)) == ["query"]


def test_depth_is_that_of_the_other_form() -> None:
    deep = "meta." + "a." * (MAX_DEPTH - 1) + "b:1"
    assert searched(deep).conditions
    assert "deeper" in next(iter(mistakes("tasks." + deep).values()))


def sample(collection: Collection, name: str) -> list[Any]:
    """Values that a field may hold."""
    field = collection.fields[name]
    moments = [datetime(2026, 11, 1, 12, 30, 1, 5, tzinfo=UTC), "0001-01-01T00:00:00+14:00"]
    texts = ["a", "null", "a*", "*", "=", ">", "12", "", "a b", "(x)", 'q"', "\n", "☃,", "-x", "or", "[1]", "a:b"]
    held: dict[Kind, list[Any]] = {
        Kind.ID: [UUID(ID)],
        Kind.INTEGER: [0, -3, 2**70],
        Kind.MOMENT: moments,
        Kind.TEXT: [str(one) for one in field.choices] or texts,
    }
    return held[field.kind]


def same(search: Search) -> Any:
    """Return the conditions, in which ``in`` has but one name."""
    text = repr(search.conditions)
    return text.replace(repr(Rule.EQUAL_ONE_OF), repr(Rule.IN))


@pytest.mark.parametrize("collection", [JOBS, TASKS], ids=["jobs", "tasks"])
def test_what_is_written_is_read_as_it_was(collection: Collection) -> None:
    @given(conditions=st.lists(row_conditions(collection, sample), max_size=3))
    @example(conditions=[["meta", None, [["or", None, []], ["and", None, [["all", "equal", "NaN"]]]]]])
    @example(conditions=[["meta", None, [["x", "contains", ["a"]], ["y", "contains", []], ["z", "in", [[1]]]]]])
    def check(conditions: list[Any]) -> None:
        search = parse_search({"filter": conditions}, collection)
        text = write_text(search.conditions, collection)
        assert same(searched(text, collection)) == same(search), text

    check()


@given(text=st.text(alphabet=' \n:=!<>~@.,-()"*[]{}0andorotypemtaskjb☃\x00\ud800', max_size=40))
def test_whatever_is_written_is_a_search_or_a_mistake_at_its_place(text: str) -> None:
    for collection in (JOBS, TASKS):
        try:
            assert isinstance(searched(text, collection), Search)
        except InvalidRequest as error:
            assert all(one.field.startswith(("query", "filter")) for one in error.fields)  # noqa: PT017 — either outcome is right
            assert error.fields  # noqa: PT017 — as above
