"""Searches are checked in full before the database hears of them."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jabba.errors import InvalidRequest
from jabba.jobs.models import Job, Task
from jabba.search import (
    DEFAULT_LIMIT,
    JOBS,
    MAX_CONDITIONS,
    MAX_DEPTH,
    MAX_LIMIT,
    MAX_OFFSET,
    MAX_VALUES,
    TASKS,
    Below,
    Collection,
    Comparison,
    Condition,
    Group,
    Inside,
    Join,
    Member,
    Order,
    Related,
    Rule,
    Search,
    parse_search,
)

ID = "6868d53f-6e37-46bc-af34-29e650446310"


def mistakes(body: Any, collection: Collection = JOBS) -> dict[str, str]:
    with pytest.raises(InvalidRequest) as caught:
        parse_search(body, collection)
    assert caught.value.fields
    return {one.field: one.message for one in caught.value.fields}


def only_condition(collection: Collection, *condition: Any) -> Condition:
    (found,) = parse_search({"filter": [list(condition)]}, collection).conditions
    return found


@pytest.mark.parametrize("collection, model", [(JOBS, Job), (TASKS, Task)])
def test_every_field_of_an_answer_can_be_searched(collection: Collection, model: type[Job | Task]) -> None:
    assert set(collection.fields) == set(model.model_fields)


def test_an_empty_search_is_the_first_page_newest_first() -> None:
    newest_first = (Order(JOBS.fields["inserted_at"], descending=True),)
    assert parse_search({}, JOBS) == Search(JOBS, (), newest_first, 0, DEFAULT_LIMIT)
    given = dict.fromkeys(["filter", "order_by", "cursor", "count"])
    assert parse_search(given, JOBS) == parse_search({}, JOBS)


def test_the_example_of_the_contract() -> None:
    search = parse_search(
        {
            "filter": [["status", "equal", "PROCESSED"], ["meta", None, [["request_id", "equal", "r-1"]]]],
            "order_by": [["desc", "inserted_at"], ["asc", "name"]],
            "cursor": [20, 10],
        },
        JOBS,
    )

    assert search.conditions == (
        Comparison(JOBS.fields["status"], Rule.EQUAL, "PROCESSED"),
        Inside(JOBS.fields["meta"], (Member("request_id", Rule.EQUAL, "r-1"),)),
    )
    assert search.order_by == (Order(JOBS.fields["inserted_at"], True), Order(JOBS.fields["name"], False))  # noqa: FBT003 — the two directions, side by side
    assert (search.offset, search.limit) == (20, 10)


def test_python_values_are_taken_as_they_are() -> None:
    search = parse_search(
        {"filter": (("id", "equal", UUID(ID)),), "order_by": (("asc", "id"),), "cursor": (0, 1)}, JOBS
    )

    assert search.conditions == (Comparison(JOBS.fields["id"], Rule.EQUAL, UUID(ID)),)


@pytest.mark.parametrize(
    "collection, field, value, read",
    [
        (JOBS, "id", ID, UUID(ID)),
        (JOBS, "name", "", ""),
        (JOBS, "name", "%_\\'\"", "%_\\'\""),
        (JOBS, "status", "FAILED", "FAILED"),
        (JOBS, "strategy", "CONCURRENTLY", "CONCURRENTLY"),
        (JOBS, "ended_at", None, None),
        (JOBS, "inserted_at", "2026-11-23T18:40:42.54Z", datetime(2026, 11, 23, 18, 40, 42, 540000, UTC)),
        (JOBS, "inserted_at", "2026-11-23T18:40:42", datetime(2026, 11, 23, 18, 40, 42, 0, UTC)),
        (JOBS, "inserted_at", "2026-11-23", datetime(2026, 11, 23, tzinfo=UTC)),
        (
            JOBS,
            "inserted_at",
            "2026-11-23T18:40+02:00",
            datetime(2026, 11, 23, 18, 40, tzinfo=timezone(timedelta(hours=2))),
        ),
        # PostgreSQL knows no such zone.
        (JOBS, "run_at", "2026-11-23T18:40-16:09", datetime(2026, 11, 24, 10, 49, tzinfo=UTC)),
        (JOBS, "run_at", "0001-01-01T00:00+15:59", datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=15, minutes=59)))),
        (JOBS, "run_at", "2026-11-23t18:40:42.1234567z", datetime(2026, 11, 23, 18, 40, 42, 123456, UTC)),
        (JOBS, "run_at", "20261123 184042,5", datetime(2026, 11, 23, 18, 40, 42, 500000, UTC)),
        (JOBS, "run_at", "2026-W48-1T18", datetime(2026, 11, 23, 18, tzinfo=UTC)),
        (JOBS, "meta", {"a": [1, None]}, {"a": [1, None]}),
        (TASKS, "priority", 3, 3),
        (TASKS, "attempt", -(2**70), -(2**70)),
        (TASKS, "job_id", ID.upper(), UUID(ID)),
    ],
)
def test_values_become_what_the_field_holds(collection: Collection, field: str, value: Any, read: Any) -> None:
    assert only_condition(collection, field, "equal", value) == Comparison(collection.fields[field], Rule.EQUAL, read)


def test_conditions_inside_a_json_field_nest() -> None:
    search = parse_search(
        {"filter": [["meta", None, [["a", None, [["b", "equal", 1], ["c.d", "equal", None]]], ["e", "equal", [2]]]]]},
        TASKS,
    )

    below = Below("a", (Member("b", Rule.EQUAL, 1), Member("c.d", Rule.EQUAL, None)))
    assert search.conditions == (Inside(TASKS.fields["meta"], (below, Member("e", Rule.EQUAL, [2]))),)


def test_associations_and_groups_nest() -> None:
    failed = Comparison(TASKS.fields["status"], Rule.EQUAL, "FAILED")
    named = Comparison(JOBS.fields["name"], Rule.LIKE, "a%")
    of_job = ["job", None, [["name", "like", "a%"]]]

    found = only_condition(JOBS, "not", None, [["tasks", None, [["status", "equal", "FAILED"], of_job]]])
    assert found == Group(Join.NOT, (Related("tasks", (failed, Related("jobs", (named,)))),))

    within = only_condition(JOBS, "meta", None, [["or", None, [["a", "in", [1, None]], ["and", None, []]]]])
    groups = Group(Join.OR, (Member("a", Rule.IN, (1, None)), Group(Join.AND, ())))
    assert within == Inside(JOBS.fields["meta"], (groups,))


@pytest.mark.parametrize("rule", Rule)
def test_every_rule_is_known_everywhere_it_means_something(rule: Rule) -> None:
    listed = rule in {Rule.IN, Rule.NOT_IN, Rule.EQUAL_ONE_OF}
    inside = only_condition(JOBS, "meta", None, [["a", rule.value, ["x"] if listed else "x"]])
    assert isinstance(inside, Inside)
    if rule is not Rule.CONTAINS:
        found = only_condition(JOBS, "name", rule.value, ("x",) if listed else "x")
        assert found == Comparison(JOBS.fields["name"], rule, ("x",) if listed else "x")


def test_started_at_is_an_alias_in_the_order_only() -> None:
    assert parse_search({"order_by": [["asc", "started_at"]]}, JOBS).order_by[0].field.name == "inserted_at"
    assert "filter[0][0]" in mistakes({"filter": [["started_at", "equal", None]]})


@pytest.mark.parametrize("order_by", [None, [], ()])
def test_without_keys_the_newest_come_first(order_by: Any) -> None:
    newest_first = parse_search({"order_by": [["desc", "inserted_at"]]}, JOBS)
    assert parse_search({"order_by": order_by}, JOBS) == newest_first


@pytest.mark.parametrize(
    "condition, path",
    [
        (["status", "equal", "DONE"], "filter[1][2]"),
        (["status", "equal", 1], "filter[1][2]"),
        (["status", "equal", ["FAILED"]], "filter[1][2]"),
        (["status", "equals", "FAILED"], "filter[1][1]"),
        (["status", ["equal"], "FAILED"], "filter[1][1]"),
        (["status", None, "FAILED"], "filter[1][1]"),
        (["status", "in", "FAILED"], "filter[1][2]"),
        (["status", "in", ["FAILED", "DONE"]], "filter[1][2][1]"),
        (["id", "not_in", [ID, 7]], "filter[1][2][1]"),
        (["name", "in", ["n"] * (MAX_VALUES + 1)], "filter[1][2]"),
        (["name", "contains", "n"], "filter[1][1]"),
        (["id", "like", "6868"], "filter[1][1]"),
        (["name", "like", 7], "filter[1][2]"),
        (["name", "like", None], "filter[1][2]"),
        (["inserted_at", "less_than", None], "filter[1][2]"),
        (["meta", "less_than", {}], "filter[1][2]"),
        (["meta", None, [["a", "less_than", True]]], "filter[1][2][0][2]"),
        (["meta", None, [["a", "greater_than", [1]]]], "filter[1][2][0][2]"),
        (["tasks", "equal", "FAILED"], "filter[1][0]"),
        (["tasks", None, [["status", "equal", "FAILED"], ["type", "equal", "t"]]], "filter[1][2][1][0]"),
        (["job", None, []], "filter[1][0]"),
        (["or", None, "FAILED"], "filter[1][2]"),
        (["or", None, [["name", "equal", "n"], ["not", None, [["type", "equal", 1]]]]], "filter[1][2][1][2][0][2]"),
        (["or", "equal", []], "filter[1][0]"),
        (["state", "equal", "FAILED"], "filter[1][0]"),
        ([None, "equal", "FAILED"], "filter[1][0]"),
        ([["status"], "equal", "FAILED"], "filter[1][0]"),
        (["status", "equal"], "filter[1]"),
        ("status=FAILED", "filter[1]"),
        ({"status": "FAILED"}, "filter[1]"),
        (None, "filter[1]"),
        (["id", "equal", "6868"], "filter[1][2]"),
        (["id", "equal", 6868], "filter[1][2]"),
        (["name", "equal", 1], "filter[1][2]"),
        (["name", "equal", "a\0b"], "filter[1][2]"),
        (["name", "equal", "\ud800"], "filter[1][2]"),
        (["inserted_at", "equal", "yesterday"], "filter[1][2]"),
        (["inserted_at", "equal", 1790000000], "filter[1][2]"),
        # A day has no zone here, and no other sign stands before the time.
        (["inserted_at", "equal", "2026-11-23+01:00"], "filter[1][2]"),
        (["inserted_at", "equal", "2026-11-23x18:40"], "filter[1][2]"),
        # Before the first year, in a zone that PostgreSQL does not know.
        (["inserted_at", "equal", "0001-01-01T00:00+16:00"], "filter[1][2]"),
        (["inserted_at", "in", ["9999-12-31T23:59:59-23:59"]], "filter[1][2][0]"),
        (["meta", None, "request_id"], "filter[1][2]"),
        (["meta", None, [["a", "equal"]]], "filter[1][2][0]"),
        (["meta", None, [["a", "equal", 1], ["b", "like", 2]]], "filter[1][2][1][2]"),
        (["meta", None, [["a", "equal", 1], ["b", "matches", 2]]], "filter[1][2][1][1]"),
        (["meta", None, [[1, "equal", 2]]], "filter[1][2][0][0]"),
        (["meta", None, [["a\0", "equal", 2]]], "filter[1][2][0][0]"),
        (["meta", None, [["a", None, [["b", None, 1]]]]], "filter[1][2][0][2][0][2]"),
        (["meta", None, [["a", "equal", {"b": ["c\0"]}]]], "filter[1][2][0][2].b[0]"),
        (["meta", "equal", float("nan")], "filter[1][2]"),
    ],
)
def test_a_wrong_condition_is_named_by_its_path(condition: Any, path: str) -> None:
    assert list(mistakes({"filter": [["name", "equal", "right"], condition]})) == [path]


@pytest.mark.parametrize("value", ["1", 1.0, True, [1]])
def test_an_integer_is_no_other_type(value: Any) -> None:
    assert list(mistakes({"filter": [["priority", "equal", value]]}, TASKS)) == ["filter[0][2]"]


@pytest.mark.parametrize(
    "body, path",
    [
        ({"filter": "status"}, "filter"),
        ({"filter": {"status": "FAILED"}}, "filter"),
        ({"order_by": "name"}, "order_by"),
        ({"order_by": ""}, "order_by"),
        ({"order_by": {}}, "order_by"),
        ({"order_by": False}, "order_by"),
        ({"order_by": [["name"]]}, "order_by[0]"),
        ({"order_by": [["up", "name"]]}, "order_by[0][0]"),
        ({"order_by": [["asc", "name"], ["desc", "size"]]}, "order_by[1][1]"),
        ({"order_by": [["asc", []]]}, "order_by[0][1]"),
        ({"cursor": 10}, "cursor"),
        ({"cursor": [10]}, "cursor"),
        ({"cursor": [0, "10"]}, "cursor[1]"),
        ({"cursor": [0, 0]}, "cursor[1]"),
        ({"cursor": [0, MAX_LIMIT + 1]}, "cursor[1]"),
        ({"cursor": [-1, 10]}, "cursor[0]"),
        ({"cursor": [MAX_OFFSET + 1, 10]}, "cursor[0]"),
        ({"cursor": [0.0, 10]}, "cursor[0]"),
        ({"cursor": "5"}, "cursor"),
        ({"cursor": ["5", 10]}, "cursor"),
        ({"cursor": ["5", 0]}, "cursor[1]"),
        ({"count": 1}, "count"),
        ({"filters": []}, "filters"),
        ([], ""),
        (None, ""),
        ("status", ""),
    ],
)
def test_other_mistakes_are_named_too(body: Any, path: str) -> None:
    assert list(mistakes(body)) == [path]


def test_all_mistakes_are_named_at_once() -> None:
    body = {
        "filter": [["state", "equal", 1], ["status", "equal", "PENDING"], ["id", "equal", "x"]],
        "order_by": [["up", "name"]],
        "cursor": [0, 0],
        "page": 1,
    }

    assert list(mistakes(body)) == ["page", "filter[0][0]", "filter[2][2]", "order_by[0][0]", "cursor[1]"]


def test_the_message_says_what_is_allowed_and_not_all_of_what_was_sent() -> None:
    said = mistakes({"filter": [["status", "equal", "x" * 100_000]]})["filter[0][2]"]

    assert "PENDING, PROCESSED, FAILED, CANCELLED" in said
    assert len(said) < 300


def test_conditions_are_bounded_in_number_and_depth() -> None:
    one = ["name", "equal", "n"]
    assert len(parse_search({"filter": [one] * MAX_CONDITIONS}, JOBS).conditions) == MAX_CONDITIONS
    assert list(mistakes({"filter": [one] * (MAX_CONDITIONS + 1)})) == ["filter"]

    assert list(mistakes({"filter": [["or", None, [one] * MAX_CONDITIONS]]})) == ["filter"]
    assert list(mistakes({"filter": [["or", None, [one] * (MAX_CONDITIONS + 1)]]})) == ["filter[0][2]"]

    def nested(depth: int) -> list[Any]:
        return ["k", "equal", 1] if depth == 1 else ["k", None, [nested(depth - 1)]]

    assert isinstance(only_condition(JOBS, "meta", None, [nested(MAX_DEPTH)]), Inside)
    (path,) = mistakes({"filter": [["meta", None, [nested(MAX_DEPTH + 1)]]]})
    assert path.startswith("filter[0][2][0]")


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["meta", "equal", "id"]),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["filter", "order_by", "cursor"]), inner)
    ),
    max_leaves=12,
)


@given(body=st.dictionaries(st.sampled_from(["filter", "order_by", "cursor"]), JSON) | JSON)
def test_whatever_is_sent_is_a_search_or_a_named_mistake(body: Any) -> None:
    for collection in (JOBS, TASKS):
        try:
            assert isinstance(parse_search(body, collection), Search)
        except InvalidRequest as error:
            assert error.fields  # noqa: PT017 — either outcome is right
