import re
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import jsonschema_rs
import pytest
from faust.web import View

from jabba.errors import InvalidRequest, request_errors
from jabba.jobs.models import JobSpec, Limits
from jabba.messages.events import KINDS
from jabba.producer.submission import prepare
from jabba.search import JOBS, parse_search
from web import docs_page, openapi, schemas
from web.operations import Operation, operations_of
from web.routes import VIEWS

DOCUMENT = openapi.document(VIEWS)
OPERATIONS = [(view, method, one) for view in VIEWS for method, one in operations_of(view).items()]


def test_every_method_that_is_served_is_described() -> None:
    for view in VIEWS:
        served = {name.upper() for name in ("get", "post", "put", "patch", "delete", "search") if name in vars(view)}
        assert served == set(operations_of(view)), view
    described = [(path, method) for path, methods in DOCUMENT["paths"].items() for method in methods]
    assert len(described) == len(OPERATIONS)
    assert len({one["operationId"] for _, _, one in served_operations()}) == len(OPERATIONS)


def served_operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in DOCUMENT["paths"].items():
        for method, described in methods.items():
            yield path, method, described


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def test_whatever_is_referred_to_is_there_and_is_a_schema() -> None:
    names = {f"#/components/schemas/{name}" for name in DOCUMENT["components"]["schemas"]}
    assert set(references(DOCUMENT)) <= names
    for name in DOCUMENT["components"]["schemas"]:
        validator_of(name)


def validator_of(name: str) -> jsonschema_rs.Validator:
    return jsonschema_rs.validator_for({"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]})


@pytest.mark.parametrize(
    "view, method, operation", OPERATIONS, ids=[f"{method} {view.view_name}" for view, method, _ in OPERATIONS]
)
def test_every_example_is_what_the_schema_says(view: type[View], method: str, operation: Operation) -> None:
    described = DOCUMENT["paths"][openapi.path_of(view)][method.lower()]
    for parameter in described.get("parameters", []):
        if "example" in parameter:
            jsonschema_rs.validate(parameter["schema"], parameter["example"])
    for content in described.get("requestBody", {}).get("content", {}).values():
        schema = content["schema"] | {"components": DOCUMENT["components"]}
        jsonschema_rs.validate(schema, content["example"])
    assert set(operation.example.query) <= {one.name for one in operation.parameters}


TYPES = {
    "bad_request": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "not_found": 404,
    "method_not_allowed": 405,
    "request_timeout": 408,
    "conflict": 409,
    "limit_exceeded": 413,
    "invalid_request": 422,
    "too_expensive": 422,
    "internal_error": 500,
    "unavailable": 503,
}
"""Words that programs switch on: one may be added, and none be changed."""


def test_the_types_of_errors_are_those_of_the_library_and_stay() -> None:
    assert {word: error.status for word, error in request_errors().items()} == TYPES
    assert sorted(DOCUMENT["components"]["schemas"]["Refusal"]["properties"]["type"]["enum"]) == sorted(TYPES)
    for word in TYPES:
        refusal = {"type": word, "message": "", "fields": []}
        assert validator_of("Error").is_valid({"error": refusal})
        assert not validator_of("Error").is_valid({"error": refusal | {"type": word.upper()}})


SUBMISSIONS: list[tuple[Any, bool]] = [
    ({"type": "t", "tasks": ["local", "m", "f"]}, True),
    ({"type": "t", "tasks": [["local", "m", "f"], {"callback": ["local", "m", "f", [1, None]]}]}, True),
    ({"type": "t", "tasks": {"callback": {"service": "s", "module": "m", "function": "f"}, "name": None}}, True),
    ({"type": "t", "tasks": [["local", "m", "f"]], "strategy": "concurrent", "meta": {"a": [{}]}, "id": None}, True),
    ({"type": "t", "tasks": []}, False),
    ({"type": "t", "tasks": ["local", "m"]}, False),
    ({"type": "t", "tasks": ["local", "m", "f", [], 1]}, False),
    ({"type": "", "tasks": ["local", "m", "f"]}, False),
    ({"type": "t\0", "tasks": ["local", "m", "f"]}, False),
    ({"type": "t", "tasks": ["local", "m", "f"], "meta": {"a\0": 1}}, False),
    ({"type": "t", "tasks": ["local", "m", "f"], "meta": {"a": ["\0"]}}, False),
    ({"type": "t", "tasks": ["local", "m", "f"], "strategy": "both"}, False),
    ({"type": "t", "tasks": ["local", "m", "f"], "colour": "red"}, False),
    ({"type": "t", "tasks": ["local", "m", "f"], "id": "e3e70682-c209-4cac-a29f-6fbed82c07cd"}, False),
]


@pytest.mark.parametrize("submission, valid", SUBMISSIONS)
def test_the_form_of_a_submission_takes_what_is_taken(submission: Any, valid: bool) -> None:  # noqa: FBT001 — a column
    assert validator_of("Submission").is_valid(submission) is valid
    with nullcontext() if valid else pytest.raises(InvalidRequest):
        prepare(submission, Limits(), 0.0)


def test_the_form_of_a_submission_has_the_fields_of_one() -> None:
    assert set(schemas.Submission.model_fields) == set(JobSpec.model_fields)


SEARCHES: list[tuple[Any, bool]] = [
    ({}, True),
    ({"filter": [["status", "in", ["FAILED", None]]], "order_by": [["asc", "started_at"]], "cursor": [0, 1000]}, True),
    ({"filter": [["or", None, [["meta", None, [["a", None, [["b", "like", "x"]]]]], ["type", "equal", None]]]]}, True),
    ({"filter": [["tasks", None, [["job", None, [["inserted_at", "less_than", "2026-11-23T12:00:00Z"]]]]]]}, True),
    ({"filter": [["status", "equal", "DONE"]]}, False),
    ({"filter": [["colour", "equal", "red"]]}, False),
    ({"filter": [["id", "like", "x"]]}, False),
    ({"filter": [["name", "less_than", None]]}, False),
    ({"filter": [["tasks", "equal", 1]]}, False),
    ({"order_by": [["up", "name"]]}, False),
    ({"cursor": [0, 1001]}, False),
    ({"query": "status:FAILED", "count": True, "cursor": None}, True),
    ({"query": 1}, False),
    ({"count": 1}, False),
    ({"cursor": ["A", 10]}, False),
    ({"filters": []}, False),
]


@pytest.mark.parametrize("search, valid", SEARCHES)
def test_the_form_of_a_search_takes_what_is_taken(search: Any, valid: bool) -> None:  # noqa: FBT001 — a column
    assert validator_of("SearchJobs").is_valid(search) is valid
    with nullcontext() if valid else pytest.raises(InvalidRequest):
        parse_search(search, JOBS)


def test_a_route_says_what_it_needs_also_without_a_parameter() -> None:
    said = DOCUMENT["paths"]["/v1/events"]["get"]["description"]
    assert "Needs the permission `read`, which a key has as submitter or reader or operator or admin." in said
    assert "Without `job` it needs the permission `search`, which a key has as reader or operator or admin." in said


def test_the_events_of_a_stream_can_be_asked_for_by_name() -> None:
    (parameter,) = [one for one in DOCUMENT["paths"]["/v1/events"]["get"]["parameters"] if one["name"] == "event"]
    assert re.fullmatch(parameter["schema"]["pattern"], ",".join(KINDS))


def test_the_page_tells_of_every_route_and_loads_nothing() -> None:
    page = docs_page.render(DOCUMENT)
    for path, method, described in served_operations():
        assert f'<section id="{described["operationId"]}">' in page, (method, path)
    for name in DOCUMENT["components"]["schemas"]:
        assert f'id="form-{name}"' in page
    links = re.findall(r'(?:src|href|action)="([^"]*)"', page)
    assert all(link.startswith("#") or link == "/openapi.json" for link in links)
    assert {link for link in links if link.startswith("#")} <= {
        f"#{place}" for place in re.findall(r'id="([^"]*)"', page)
    }
    assert "<script" not in page
    assert "@import" not in page
    assert "url(" not in page
