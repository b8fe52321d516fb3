import json
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web

from jabba.errors import Conflict, FieldError, InvalidRequest, LimitExceeded, NotFound, NotReady, Refused, Unavailable
from jabba.jobs import ids
from jabba.jobs.lifecycle import JobStatus, Strategy
from jabba.jobs.models import Job
from jabba.producer.submission import Submitted
from web import responses

MOMENT = datetime(2026, 11, 23, 12, 30, tzinfo=UTC)
JOB = Job(
    id=ids.new_job_id(MOMENT.timestamp()),
    name='a "name"',
    type="shipping",
    status=JobStatus.PENDING,
    strategy=Strategy.CONCURRENT,
    meta={"☃": [1, None]},
    ended_at=None,
    inserted_at=MOMENT,
    updated_at=MOMENT,
)


def error_of(answer: responses.Answer) -> Any:
    document = json.loads(answer.body)
    assert list(document) == ["error"]
    assert list(document["error"]) == ["type", "message", "fields"]
    return document["error"]


def test_data_stands_under_its_key_and_models_have_their_json_form() -> None:
    answer = responses.of_data([JOB], next=None)
    assert answer.status == 200
    assert json.loads(answer.body) == {
        "data": [
            {
                "id": str(JOB.id),
                "name": 'a "name"',
                "type": "shipping",
                "status": "PENDING",
                "strategy": "CONCURRENTLY",
                "meta": {"☃": [1, None]},
                "callback": None,
                "run_at": None,
                "reason": None,
                "ended_at": None,
                "inserted_at": "2026-11-23T12:30:00Z",
                "updated_at": "2026-11-23T12:30:00Z",
            }
        ],
        "next": None,
    }


def test_a_submission_is_answered_with_the_job_its_place_in_the_log_and_on_the_web() -> None:
    answer = responses.of_submission(Submitted(JOB.id, {3: 5, 1: 12}, JOB))
    data = json.loads(answer.body)["data"]
    assert answer.status == 201
    assert answer.headers["Location"] == f"/v1/jobs/{JOB.id}"
    assert data.pop("position") == "1:12,3:5"
    assert Job.model_validate(data) == JOB


@pytest.mark.parametrize(
    "error, status, kind",
    [
        (InvalidRequest.at("tasks[3].name", "too long"), 422, "invalid_request"),
        (LimitExceeded("too large", [FieldError("meta", "too large")]), 413, "limit_exceeded"),
        (NotFound("no job"), 404, "not_found"),
        (Conflict("another job"), 409, "conflict"),
        (Unavailable("no Kafka"), 503, "unavailable"),
        (NotReady("run `python -m jabba init`"), 503, "unavailable"),
        (web.RequestPayloadError("gzip"), 400, "bad_request"),
    ],
)
def test_each_refusal_has_its_status_its_type_and_its_fields(error: Exception, status: int, kind: str) -> None:
    answer = responses.of_error(error)
    described = error_of(answer)
    assert responses.is_expected(error)
    assert (answer.status, described["type"]) == (status, kind)
    assert described["fields"] == [vars_of(one) for one in getattr(error, "fields", [])]


def vars_of(one: FieldError) -> dict[str, str]:
    return {"field": one.field, "message": one.message}


@pytest.mark.parametrize(
    "error, status, kind",
    [
        (web.HTTPNotFound(), 404, "not_found"),
        (web.HTTPMethodNotAllowed("PUT", ["GET"]), 405, "method_not_allowed"),
        (web.HTTPRequestTimeout(), 408, "request_timeout"),
        (web.HTTPExpectationFailed(), 417, "bad_request"),
        (web.HTTPRequestEntityTooLarge(max_size=1, actual_size=2), 413, "limit_exceeded"),
    ],
)
def test_what_the_http_library_refuses_has_the_same_form(error: web.HTTPException, status: int, kind: str) -> None:
    answer = responses.of_error(error)
    assert (answer.status, error_of(answer)["type"]) == (status, kind)
    assert answer.headers.get("Allow") == ("GET" if status == 405 else None)


def test_a_defect_tells_the_caller_nothing_of_the_inside() -> None:
    error = RuntimeError("password=secret")
    answer = responses.of_error(error)
    assert not responses.is_expected(error)
    assert answer.status == 500
    assert error_of(answer)["type"] == "internal_error"
    assert b"secret" not in answer.body
    assert b"RuntimeError" not in answer.body


def test_the_answer_to_a_request_with_very_many_mistakes_is_not_larger_than_it() -> None:
    fields = [FieldError(f"tasks[{number}]", "wrong") for number in range(100_000)]
    answer = responses.of_error(InvalidRequest("100000 invalid fields; " + "x" * 100_000, fields))
    described = error_of(answer)
    assert described["fields"][99]["field"] == "tasks[99]"
    assert described["message"].startswith("100000 invalid fields")
    assert len(answer.body) < 10_000


def test_what_kafka_refuses_names_no_brokers_and_users() -> None:
    answer = responses.of_error(
        Refused("Kafka at k-1.internal:9094 does not allow user 'web' Write on topic jabba-tasks")
    )
    assert answer.status == 503
    assert error_of(answer)["type"] == "unavailable"
    assert [name for name in ("k-1", "'web'", "jabba-tasks") if name in error_of(answer)["message"]] == []
