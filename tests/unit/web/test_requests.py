from typing import Any

import pytest

from jabba.errors import Forbidden, InvalidRequest, NotFound, RequestError
from jabba.search import JOBS, TASKS, parse_search
from web import requests


def test_json_is_decoded() -> None:
    assert requests.decode_json('{"naïve": [1, null, "☃"]}'.encode()) == {"naïve": [1, None, "☃"]}


@pytest.mark.parametrize(
    "body, place",
    [
        (b'{"tasks": [}', "line 1 column 12"),
        (b'{\n  "tasks": 01}', "line 2 column 13"),
        (b'{"a": "\xff"}', "line 1 column 8"),
        (b'{"a": "\\ud800"}', "line 1"),
        (b'{"a": NaN}', "line 1 column 7"),
        (b"[" * 100_000, "line 1 column"),
        (b"{} {}", "line 1 column 4"),
        (b"", "empty"),
        (b" \r\n ", "empty"),
    ],
)
def test_what_is_no_json_is_a_400_that_tells_where(body: bytes, place: str) -> None:
    with pytest.raises(RequestError, match=place) as refusal:
        requests.decode_json(body)
    assert (refusal.value.status, refusal.value.type) == (400, "bad_request")


@pytest.mark.parametrize("text", ["", "search", "1234", "01a209c9-653a-759d-9e2f-780696e9f38", "\x00", "é" * 32])
def test_what_is_no_id_is_known_to_nobody(text: str) -> None:
    with pytest.raises(NotFound):
        requests.read_job_id(text)


@pytest.mark.parametrize(
    "query, cursor",
    [
        ({}, [0, 50]),
        ({"cursor": "20,10"}, [20, 10]),
        ({"offset": "7"}, [7, 50]),
        ({"limit": "1000", "offset": "0"}, [0, 1000]),
        ({"cursor": "TOKEN"}, "TOKEN"),
        ({"cursor": "TOKEN,10"}, ["TOKEN", 10]),
        ({"cursor": "TOKEN", "limit": "10"}, ["TOKEN", 10]),
    ],
)
def test_a_page_is_offset_and_limit_or_behind_another(query: dict[str, str], cursor: Any) -> None:
    assert requests.read_paging(query) == {"cursor": cursor, "count": False}


@pytest.mark.parametrize(
    "query, field",
    [
        ({"cursor": "1,2,3"}, "cursor"),
        ({"cursor": "0,0"}, "cursor"),
        ({"cursor": "0,1001"}, "cursor"),
        ({"offset": "²"}, "offset"),
        ({"offset": "9" * 5000}, "offset"),
        ({"limit": "many"}, "limit"),
        ({"count": "yes"}, "count"),
    ],
)
def test_a_wrong_page_is_refused_by_the_name_of_its_parameter(query: dict[str, str], field: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        requests.read_paging(query)
    assert [one.field for one in refusal.value.fields] == [field]


@pytest.mark.parametrize("cursor", ["", "5", "²,5", "-1,5", "TOKEN", "TOKEN,5"])
def test_what_no_answer_had_as_next_is_refused(cursor: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        requests.read_list([("cursor", cursor)], JOBS)
    assert [one.field for one in refusal.value.fields] == ["cursor"]


def test_a_list_is_a_search_for_equal_values_newest_first() -> None:
    query = [("type", "shipping"), ("status", "FAILED"), ("limit", "10"), ("offset", "20")]
    assert requests.read_list(query, JOBS) == parse_search(
        {
            "filter": [["type", "equal", "shipping"], ["status", "equal", "FAILED"]],
            "order_by": [["desc", "inserted_at"]],
            "cursor": [20, 10],
        },
        JOBS,
    )


def test_the_mistakes_of_a_list_go_by_the_names_of_its_parameters() -> None:
    with pytest.raises(InvalidRequest) as refusal:
        requests.read_list([("status", "RUNNING"), ("typ", "shipping"), ("type", "shipping")], JOBS)
    assert [one.field for one in refusal.value.fields] == ["status", "typ"]


def test_a_list_takes_conditions_in_a_text() -> None:
    found = requests.read_list([("q", "type:a,b"), ("name", "n"), ("q", "-status:FAILED")], JOBS)
    assert found == parse_search({"filter": [["name", "equal", "n"]], "query": "type:a,b -status:FAILED"}, JOBS)
    with pytest.raises(InvalidRequest) as refusal:
        requests.read_list([("q", "type:a state:b"), ("status", "x")], JOBS)
    assert [one.field for one in refusal.value.fields] == ["q[7]", "status"]


def test_a_list_takes_integers_and_texts_for_what_a_field_holds() -> None:
    found = requests.read_list([("priority", "2"), ("attempt", "-1"), ("name", "3")], TASKS)
    wanted = [["priority", "equal", 2], ["attempt", "equal", -1], ["name", "equal", "3"]]
    assert found == parse_search({"filter": wanted}, TASKS)
    for wrong in ("", "two", "1.0", "٣", "1_0", "9" * 5000):
        with pytest.raises(InvalidRequest) as refusal:
            requests.read_list([("priority", wrong)], TASKS)
        assert [one.field for one in refusal.value.fields] == ["priority"]


def test_every_text_holds_whatever_binds_less_in_it() -> None:
    texts = ["name:a or name:b", "", "type:c,"]
    wanted = parse_search({"query": "(name:a or name:b) type:c,"}, JOBS)
    assert requests.read_list([("q", one) for one in texts], JOBS) == wanted
    assert requests.read_conditions(None, texts, JOBS) == wanted.conditions
    assert requests.read_list([("q", texts[0])], JOBS) == parse_search({"query": texts[0]}, JOBS)


@pytest.mark.parametrize("texts, fields", [(["name:a)", "(type:b"], ["q[6]", "q[0]"]), (["name:a", "typ:b"], ["q[0]"])])
def test_every_text_is_right_by_itself(texts: list[str], fields: list[str]) -> None:
    for read in (
        lambda: requests.read_list([("q", one) for one in texts], JOBS),
        lambda: requests.read_conditions("[]", texts, JOBS),
    ):
        with pytest.raises(InvalidRequest) as refusal:
            read()
        assert [one.field for one in refusal.value.fields] == fields


def test_a_parameter_that_is_there_twice_is_refused_where_nobody_knew_which_is_meant() -> None:
    twice = [("q", "a"), ("limit", "1"), ("q", "b")]
    requests.refuse_repeated(twice, frozenset({"limit"}))
    with pytest.raises(InvalidRequest) as refusal:
        requests.refuse_repeated([*twice, ("limit", "1")], frozenset({"limit"}))
    assert [one.field for one in refusal.value.fields] == ["limit"]


def test_a_misspelt_parameter_is_not_passed_over() -> None:
    with pytest.raises(InvalidRequest) as refusal:
        requests.refuse_unknown(["afer"], frozenset({"after"}))
    assert [one.field for one in refusal.value.fields] == ["afer"]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "http://127.0.0.1:8600"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "https://proxy.example"},
    ],
)
def test_programs_and_our_own_pages_may_post(headers: dict[str, Any]) -> None:
    requests.refuse_cross_site("POST", "127.0.0.1:8600", headers)


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Origin": "http://[broken"},
    ],
)
def test_pages_of_other_sites_may_not(headers: dict[str, Any]) -> None:
    with pytest.raises(Forbidden):
        requests.refuse_cross_site("POST", "127.0.0.1:8600", headers)
    requests.refuse_cross_site("GET", "127.0.0.1:8600", headers)
