"""The token behind a page: bound to its search, and nothing but values of the right types."""

import base64
import json
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jabba.errors import InvalidRequest
from jabba.search import JOBS, TASKS, Search, cursor, parse_search, tasks_of_job, write_token

ID = "6868d53f-6e37-46bc-af34-29e650446310"
MOMENT = "2026-11-24T13:40:04.123000Z"
FILTER: list[Any] = [["status", "equal", "FAILED"], ["meta", None, [["a", "in", [1, None]]]]]
BODY = {"filter": FILTER, "cursor": [0, 7]}


def behind(search: Search, *values: Any) -> str:
    return write_token(search, values)


def test_a_token_is_read_where_it_was_written() -> None:
    search = parse_search(BODY, JOBS)
    token = behind(search, MOMENT, ID)
    found = parse_search({**BODY, "cursor": token}, JOBS)
    (moment, last) = found.after or ()
    assert (moment.isoformat(), last) == ("2026-11-24T13:40:04.123000+00:00", UUID(ID))
    assert (found.limit, found.offset) == (7, 0)
    assert parse_search({**BODY, "cursor": [token, 1000]}, JOBS).limit == 1000
    assert token.isascii()
    assert token.replace("-", "a").replace("_", "a").isalnum()


def test_a_token_is_bound_to_what_is_asked_and_not_to_how() -> None:
    token = behind(parse_search(BODY, JOBS), MOMENT, ID)
    same = {"filter": (("status", "equal", "FAILED"), FILTER[1]), "order_by": [["desc", "started_at"]]}
    assert parse_search({**same, "cursor": token, "count": True}, JOBS).after
    others = [
        {"filter": FILTER[:1]},
        {"filter": FILTER[::-1]},
        {"filter": FILTER, "order_by": [["asc", "inserted_at"]]},
        {"filter": FILTER, "order_by": [["desc", "updated_at"]]},
    ]
    for other in others:
        assert refused({**other, "cursor": token}) == ["cursor"]
    with pytest.raises(InvalidRequest):
        parse_search({**BODY, "cursor": token}, TASKS)
    with pytest.raises(InvalidRequest):
        tasks_of_job(UUID(ID), cursor=token)


def refused(body: dict[str, Any]) -> list[str]:
    with pytest.raises(InvalidRequest) as refusal:
        parse_search(body, JOBS)
    return [one.field for one in refusal.value.fields]


def test_a_changed_token_is_refused() -> None:
    token = behind(parse_search(BODY, JOBS), MOMENT, ID)
    packed = bytearray(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    for place in range(len(packed)):
        changed = packed.copy()
        changed[place] ^= 1
        text = base64.urlsafe_b64encode(changed).rstrip(b"=").decode()
        assert refused({**BODY, "cursor": text}) == ["cursor"]
    assert refused({**BODY, "cursor": token[:-4]}) == ["cursor"]
    assert refused({**BODY, "cursor": token + "AAAA"}) == ["cursor"]


@pytest.mark.parametrize(
    "said",
    [
        [7, MOMENT],
        [7, MOMENT, ID, 1],
        [7, "yesterday", ID],
        [7, MOMENT, "me"],
        [7, {"a": 1}, ID],
        [0, MOMENT, ID],
        [1001, MOMENT, ID],
        ["7", MOMENT, ID],
        [],
        {},
        None,
        "'; DROP TABLE jobs",
    ],
)
def test_a_forged_token_says_values_of_the_right_types_or_nothing(said: Any) -> None:
    """The digest is no secret."""
    search = parse_search(BODY, JOBS)
    text = json.dumps(said).encode()
    forged = base64.urlsafe_b64encode(cursor._digest(search, text) + text).rstrip(b"=").decode()
    assert refused({**BODY, "cursor": forged}) == ["cursor"]


@pytest.mark.parametrize("value", ['{"a": "\\u0000"}', "{", "", 7, {}, "1e999"])
def test_json_in_a_token_can_be_stored(value: Any) -> None:
    order = {"order_by": [["asc", "meta"]]}
    token = behind(parse_search(order, JOBS), value, ID)
    assert refused({**order, "cursor": token}) == ["cursor"]


@pytest.mark.parametrize(
    "said, read",
    [
        ('{"a": 100000000000000000000000, "b": [0.1, 5]}', '{"a":100000000000000000000000,"b":[0.1,5]}'),
        # PostgreSQL takes no number of so many places.
        ('{"a": 1e-20000}', '{"a":0.0}'),
        ("0." + "1" * 20_000, "0.1111111111111111"),
    ],
)
def test_numbers_in_a_token_are_those_that_can_be_stored(said: str, read: str) -> None:
    order = {"order_by": [["asc", "meta"]]}
    token = behind(parse_search(order, JOBS), said, ID)
    assert parse_search({**order, "cursor": token}, JOBS).after == (read, UUID(ID))


@given(text=st.text(max_size=60))
def test_whatever_is_no_token_is_refused(text: str) -> None:
    assert refused({"cursor": text}) == ["cursor"]


def test_equal_items_are_ordered_by_id_in_the_direction_of_the_last_key() -> None:
    def keys(*order_by: tuple[str, str]) -> list[tuple[str, bool]]:
        return [(key.field.name, key.descending) for key in parse_search({"order_by": order_by}, JOBS).keys]

    assert keys(("desc", "inserted_at")) == [("inserted_at", True), ("id", True)]
    assert keys(("desc", "type"), ("asc", "name")) == [("type", True), ("name", False), ("id", False)]
    assert keys(("asc", "name"), ("desc", "id"), ("asc", "type")) == [("name", False), ("id", True)]
    assert keys() == [("inserted_at", True), ("id", True)]
