"""The table of what responses mean, row by row."""

from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from jabba.callbacks import http_answers
from jabba.callbacks.http_answers import Reading, Response
from jabba.callbacks.results import Answer, Bounds
from jabba.callbacks.transport import Accepted, Postponed, Reply, Unanswered
from jabba.jobs.lifecycle import TaskFailed, TaskRescued, TaskSucceeded

NOW = 1_764_583_200.0
MARK = {"Jabba-Answer": "1"}
DATE = format_datetime(datetime.fromtimestamp(NOW + 90, UTC), usegmt=True)


def read(status: int, body: bytes | None = b"", **headers: str) -> Reply:
    named = CIMultiDict({name.replace("_", "-"): value for name, value in headers.items()})
    response = Response(status, named, body, "http://b/", is_stream="ndjson" in headers)
    return http_answers.read(response, Reading(Bounds(result_bytes=100), 60.0, NOW))


@pytest.mark.parametrize("status", [200, 201])
@pytest.mark.parametrize(
    "body, event, result",
    [
        (b'{"ok": {"a": 1}}', TaskSucceeded, {"a": 1}),
        (b' {"ok": {}}\n', TaskSucceeded, {}),
        (b'{"error": {"code": "declined"}}', TaskFailed, {"code": "declined"}),
        (b'{"error": "declined"}', TaskFailed, {"error": "declined"}),
        (b'{"raised": {"error": "KeyError: 1"}}', TaskRescued, {"error": "KeyError: 1"}),
        (b'{"raised": "KeyError: 1"}', TaskRescued, {"error": "KeyError: 1"}),
        (
            b'{"ok": {"a": "%s"}}' % (b"x" * 100),
            TaskFailed,
            {"error": "the result has 108 bytes of JSON, and the limit is 100"},
        ),
    ],
)
def test_a_body_in_our_shape_is_a_result(status: int, body: bytes, event: type, result: Any) -> None:
    reply = read(status, body)
    assert isinstance(reply, Answer)
    assert (reply.event, reply.result, reply.retry) == (event, result, None)
    assert (reply.status_code, reply.address) == (status, "http://b/")


@pytest.mark.parametrize("status", [400, 404, 405, 413, 415, 422, 500, 501])
def test_a_refusal_in_our_shape_is_a_result(status: int) -> None:
    reply = read(status, b'{"error": {"code": "no"}}')
    assert isinstance(reply, Answer)
    assert (reply.event, reply.result) == (TaskFailed, {"code": "no"})


@pytest.mark.parametrize(
    "status, body",
    [
        (200, b""),
        (200, b"<html>Please log in</html>"),
        (200, b"{}"),
        (200, b'{"ok": true}'),
        (200, b'{"ok": {}, "error": {}}'),
        (200, b'{"ok": {}, "status": 200}'),
        (200, b'{"ok": {}'),
        (200, b'{"ok": {"a": NaN}}'),
        (200, b"\xff\xfe"),
        (200, None),
        (204, b""),
        (400, b"Bad Request"),
        (404, b'{"message": "no Route matched"}'),
        (408, b""),
        (500, b"Internal Server Error"),
        (502, b"<html>nginx</html>"),
        (504, b""),
    ],
)
def test_without_a_mark_nothing_is_a_result(status: int, body: bytes | None) -> None:
    reply = read(status, body)
    assert isinstance(reply, Unanswered)
    assert (reply.outcome, reply.final, reply.status_code, reply.address) == (
        "infrastructure",
        False,
        status,
        "http://b/",
    )
    assert str(status) in reply.error


@pytest.mark.parametrize(
    "status, body, event, result",
    [
        (204, b"", TaskSucceeded, {}),
        (200, b'{"a": 1}', TaskSucceeded, {"a": 1}),
        (404, b'{"reason": "gone"}', TaskFailed, {"reason": "gone"}),
        (422, b"", TaskFailed, {"error": "HTTP 422 without a reason"}),
        (200, None, TaskFailed, {"error": "the answer is longer than 100 bytes, the limit of a result"}),
    ],
)
def test_the_mark_makes_any_body_a_result(status: int, body: bytes | None, event: type, result: Any) -> None:
    reply = read(status, body, **MARK)
    assert isinstance(reply, Answer)
    assert (reply.event, reply.result) == (event, result)


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("body", [b"", b'{"error": {"error": "bad signature"}}'])
def test_a_refused_signature_is_no_result(status: int, body: bytes) -> None:
    reply = read(status, body, **MARK)
    assert isinstance(reply, Unanswered)
    assert not reply.final


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308, 304])
def test_a_redirect_is_final(status: int) -> None:
    reply = read(status, b'{"ok": {}}', location="http://x/\x07")
    assert isinstance(reply, Unanswered)
    assert reply.final
    assert reply.error.startswith("a redirect to http://x/\N{REPLACEMENT CHARACTER}, and none is followed")


@pytest.mark.parametrize("body", [b"", b'{"error": {"error": "another delivery of this call is at work"}}'])
@pytest.mark.parametrize(
    "status, retry_after, seconds",
    [
        (429, None, None),
        (503, "7", 7.0),
        (503, "1.5", 1.5),
        (503, "0", 1.0),
        (409, "0", 1.0),
        (429, DATE, 90.0),
        (429, "soon", None),
        (429, "-5", None),
        (429, "inf", None),
        (409, None, 1.0),
        (409, "3", 3.0),
        (410, None, 60.0),
        (410, "1", 60.0),
        (410, "600", 600.0),
    ],
)
def test_a_busy_service_is_waited_for(status: int, retry_after: str | None, seconds: float | None, body: bytes) -> None:
    headers = {} if retry_after is None else {"retry_after": retry_after}
    reply = read(status, body, **headers)
    assert isinstance(reply, Postponed)
    assert reply.seconds == seconds
    assert str(status) in reply.reason


def test_retry_after_of_a_failure_is_taken_along() -> None:
    reply = read(500, retry_after="7")
    assert isinstance(reply, Unanswered)
    assert reply.retry_after == 7


def test_202_is_accepted() -> None:
    assert read(202) == Accepted(60.0, 202, "http://b/")


@pytest.mark.parametrize("word, retry", [("no", False), ("YES", True), ("2.5", 2.5), ("maybe", None), ("nan", None)])
def test_jabba_retry_overrules(word: str, retry: bool | float | None) -> None:  # noqa: FBT001
    reply = read(200, b'{"error": {}}', jabba_retry=word)
    assert isinstance(reply, Answer)
    assert reply.retry == retry
    assert type(reply.retry) is type(retry)


def test_jabba_retry_overrules_infrastructure_and_waits() -> None:
    final, later, busy = read(500, jabba_retry="no"), read(500, jabba_retry="9"), read(503, jabba_retry="9")
    assert isinstance(final, Unanswered)
    assert final.final
    assert isinstance(later, Unanswered)
    assert later.retry_after == 9
    assert isinstance(busy, Postponed)
    assert busy.seconds == 9
    assert isinstance(read(503, jabba_retry="no"), Unanswered)
    assert isinstance(read(409, b'{"error": {}}', jabba_retry="no"), Answer)


def test_a_stream_needs_an_answer_in_its_last_line() -> None:
    assert isinstance(read(200, b'{"progress": {}}', ndjson="", **MARK), Unanswered)
    reply = read(200, b'{"error": {}, "retry": "5"}', ndjson="")
    assert isinstance(reply, Answer)
    assert reply.retry == 5


@given(
    st.integers(200, 599),
    st.binary(),
    st.dictionaries(st.sampled_from(["retry_after", "jabba_retry", "jabba_answer", "location"]), st.text()),
)
def test_any_response_is_read(status: int, body: bytes, headers: dict[str, str]) -> None:
    assert isinstance(read(status, body, **headers), Answer | Unanswered | Postponed | Accepted)
