"""What follows an attempt, as a table."""

from dataclasses import replace
from typing import Any

import pytest

from jabba import Retry
from jabba.callbacks import results
from jabba.callbacks.results import Answer
from jabba.callbacks.transport import Postponed, Unanswered
from jabba.engine.attempts import LONGEST_RETRY_AFTER_SECONDS, Again, Attempts, Ended, Moment, Waits, after
from jabba.jobs.retry import Policy

NOW = Moment(1000.0, 1001.0, None, 0.0)
FAILED = results.failed({"code": "busy"})
RAISED = results.raised(ValueError("no"))
GONE = Unanswered("connection refused")


def following(reply: Any, policy: Policy | None = None, attempts: Attempts | None = None, at: Moment = NOW) -> Any:
    return after(reply, policy or Policy(), attempts or Attempts(), at)


def policy(**fields: Any) -> Policy:
    return Policy.of(Retry(**fields))


@pytest.mark.parametrize(
    "reply, given, outcome",
    [
        (FAILED, policy(retry_on=["error.code:busy"]), "error"),
        (FAILED, policy(max_attempts=5, retry_on=["outcome:error"]), "error"),
        (RAISED, policy(max_attempts=2), "raised"),
        (RAISED, policy(retry_on=["error.type:ValueError"]), "raised"),
        (replace(FAILED, retry=True), Policy(), "error"),
        (GONE, Policy(), "infrastructure"),
        (Unanswered("too slow", "timeout"), Policy(), "timeout"),
    ],
)
def test_another_attempt_follows(reply: Any, given: Policy, outcome: str) -> None:
    found = following(reply, given)
    assert isinstance(found, Again)
    assert (found.attempts, found.outcome) == (Attempts(2, 1000.0, 1002.0), outcome)


@pytest.mark.parametrize(
    "reply, given",
    [
        (results.succeeded({}), policy(max_attempts=9)),
        (FAILED, Policy()),
        (FAILED, policy(max_attempts=9)),
        (FAILED, policy(max_attempts=9, retry_on=["error.code:temporary"])),
        (FAILED, policy(retry_on=["outcome:error"], never_on=["error.code:busy"])),
        (RAISED, Policy()),
        (RAISED, policy(max_attempts=1)),
        (replace(RAISED, retry=False), policy(max_attempts=9)),
        (GONE, policy(max_attempts=1)),
        (GONE, policy(never_on=["outcome:infrastructure"])),
        (GONE, policy(retry_for=0.5)),
        (Unanswered("a redirect", final=True), policy(max_attempts=9)),
    ],
)
def test_the_task_ends(reply: Any, given: Policy) -> None:
    found = following(reply, given)
    assert isinstance(found, Ended)
    if isinstance(reply, Answer):
        assert found.answer == reply
    else:
        assert found.answer.result["error"] == reply.error


def test_no_attempt_is_beyond_the_policy() -> None:
    attempts, calls = Attempts(), 0
    while True:
        calls += 1
        found = following(GONE, policy(max_attempts=4), attempts)
        if isinstance(found, Ended):
            break
        attempts = found.attempts
    assert calls == 4
    assert found.answer.result == {"error": "connection refused", "outcome": "infrastructure", "attempts": 4}


def test_nothing_begins_after_the_deadline() -> None:
    assert isinstance(following(GONE, at=NOW._replace(deadline=1002.0)), Ended)
    assert isinstance(following(GONE, at=NOW._replace(deadline=1002.1)), Again)


def test_a_service_may_lengthen_the_delay_within_bounds() -> None:
    assert following(replace(GONE, retry_after=30.0)).attempts.due == 1031.0
    assert following(replace(GONE, retry_after=0.0)).attempts.due == 1002.0
    assert following(replace(GONE, retry_after=1e9)).attempts.due == 1001.0 + LONGEST_RETRY_AFTER_SECONDS


def test_a_wait_is_no_attempt_and_has_a_limit() -> None:
    attempts, now, waits = Attempts(3, 900.0), 1000.0, 0
    while True:
        found = following(Postponed("busy", limit=300.0), Policy(), attempts, Moment(now, now, None, 0.0))
        if isinstance(found, Ended):
            break
        assert isinstance(found, Waits)
        waits += 1
        assert (found.attempts.number, found.attempts.waits) == (3, waits)
        attempts, now = found.attempts, found.attempts.due
    assert now == 1300.0
    assert found.answer.result == {"error": "busy; waited for 300 s"}


def test_where_a_task_stands_survives_its_record() -> None:
    for attempts in (Attempts(), Attempts(4, 1.5, 7.25, 2, 3.0)):
        assert Attempts.decode(attempts.encode()) == attempts
