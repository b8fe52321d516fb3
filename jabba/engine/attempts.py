"""What follows an attempt: the end of its task, another attempt, or a wait. Pure."""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Self

from jabba.callbacks import results
from jabba.callbacks.bounded import shown
from jabba.callbacks.results import Answer
from jabba.callbacks.transport import Postponed, Unanswered
from jabba.jobs.retry import Policy
from jabba.search.errors import matches_any

LONGEST_RETRY_AFTER_SECONDS = 3600.0
"""A service may ask for a longer delay than the policy's, up to this."""


@dataclass(frozen=True, slots=True)
class Attempts:
    """Where a task stands that has not ended at its first attempt; times are seconds since the epoch.

    ``number`` is that of the next attempt, ``first`` when the first one began, ``due`` when the next one may begin.
    ``waits`` counts how often it was postponed since the last attempt, from ``waiting`` on.
    """

    number: int = 1
    first: float | None = None
    due: float = 0.0
    waits: int = 0
    waiting: float | None = None

    def encode(self) -> list[Any]:
        """Return the form in which a lane's record holds it."""
        return [self.number, self.first, self.due, self.waits, self.waiting]

    @classmethod
    def decode(cls, found: list[Any]) -> Self:
        """Read that form."""
        return cls(*found)


class Ended(NamedTuple):
    """The task has ended with this answer."""

    answer: Answer


class Again(NamedTuple):
    """The attempt counts and is not the last one; ``error`` says what was wrong with it."""

    attempts: Attempts
    outcome: str
    error: str


class Waits(NamedTuple):
    """Nothing was attempted; the task waits."""

    attempts: Attempts
    reason: str


class Moment(NamedTuple):
    """When an attempt began and ended, and when its job must have ended; ``random`` is from 0 to 1."""

    began: float
    now: float
    deadline: float | None
    random: float


def after(
    reply: Answer | Unanswered | Postponed, policy: Policy, attempts: Attempts, at: Moment
) -> Ended | Again | Waits:
    """Return what follows a reply."""
    if isinstance(reply, Postponed):
        return _after_postponed(reply, policy, attempts, at)
    if isinstance(reply, Unanswered):
        wanted = not reply.final
        outcome, error, asked = reply.outcome, {"error": reply.error}, reply.retry_after
    else:
        outcome, error = results.OUTCOMES[reply.event], reply.result
        wanted, asked = _wanted(reply, policy, outcome), reply.retry if not isinstance(reply.retry, bool) else None
    first = at.began if attempts.first is None else attempts.first
    delay = policy.delay(attempts.number, at.random)
    if asked is not None:
        delay = max(delay, min(asked, max(policy.max, LONGEST_RETRY_AFTER_SECONDS)))
    due = at.now + delay
    if (
        not wanted
        or attempts.number >= policy.max_attempts
        or matches_any(policy.never_on, error, outcome)
        or (policy.retry_for is not None and due > first + policy.retry_for)
        or (at.deadline is not None and due >= at.deadline)
    ):
        return Ended(reply if isinstance(reply, Answer) else _unanswered(reply, attempts.number))
    return Again(Attempts(attempts.number + 1, first, due), outcome, _sentence(error))


def _wanted(answer: Answer, policy: Policy, outcome: str) -> bool:
    """Whether the policy asks for another attempt after an answer, if there are attempts left."""
    if outcome == "ok":
        return False
    if answer.retry is not None:
        return answer.retry is not False
    if policy.retry_on:
        return matches_any(policy.retry_on, answer.result, outcome)
    # Whoever sets a number of attempts means exceptions; an answered error is the callback's decision.
    return outcome == "raised" and policy.explicit


def _after_postponed(reply: Postponed, policy: Policy, attempts: Attempts, at: Moment) -> Ended | Waits:
    waiting = at.began if attempts.waiting is None else attempts.waiting
    seconds = policy.delay(min(attempts.waits + 1, 16), at.random) if reply.seconds is None else reply.seconds
    due = at.now + min(seconds, max(policy.max, LONGEST_RETRY_AFTER_SECONDS))
    limit = min((one for one in (reply.limit, policy.retry_for) if one is not None), default=None)
    if (limit is not None and at.now >= waiting + limit) or (at.deadline is not None and due >= at.deadline):
        return Ended(results.failed(f"{reply.reason}; waited for {at.now - waiting:.0f} s"))
    if limit is not None:
        due = min(due, waiting + limit)
    return Waits(replace(attempts, due=due, waits=attempts.waits + 1, waiting=waiting), reply.reason)


def _unanswered(reply: Unanswered, number: int) -> Answer:
    result: dict[str, Any] = {"error": reply.error, "outcome": reply.outcome, "attempts": number}
    if reply.status_code is not None:
        result["status_code"] = reply.status_code
    return replace(
        results.failed(result), unanswered=reply.outcome, status_code=reply.status_code, address=reply.address
    )


def _sentence(error: Any) -> str:
    """Return an error as one line for people."""
    if isinstance(error, dict) and isinstance(error.get("error"), str):
        return str(error["error"])[:1000]
    return shown(error)[:1000]
