"""What the response of a service means: its own word, a wait, or something on the way that spoke in its place. Pure.

Only a body in Jabba's shape, ``{"ok": map}``, ``{"error": …}`` or ``{"raised": …}``, or the header ``jabba-answer: 1``
makes a result. Whatever comes without is of a proxy, a load balancer or another program, and counts as infrastructure.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

from jabba.callbacks import results
from jabba.callbacks.results import Answer, Bounds
from jabba.callbacks.transport import Accepted, Postponed, Reply, Unanswered
from jabba.jobs import json_codec
from jabba.jobs.lifecycle import TaskRescued

MARK = "jabba-answer"
RETRY = "jabba-retry"

GONE_SECONDS = 60.0
"""How long tasks of a service wait that says with 410 that it is no more."""

BUSY_SECONDS = 1.0
"""How long a task waits at least for a service that is busy, whatever that says: 0 would be a loop without a pause."""

_SHAPES = ("ok", "error", "raised")
_EXCERPT = 200
_REFUSED = {401: "the service does not accept Jabba's signature", 403: "the service forbids the call"}
_TEMPORARY = {408, 425, 500, 502, 504}


@dataclass(frozen=True, slots=True)
class Response:
    """A response as it came; ``headers`` ignore case.

    ``body`` is the whole body, or the last line of a stream, and None if it is longer than an answer may be.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes | None
    address: str
    is_stream: bool = False


class _Shaped(NamedTuple):
    """An answer in Jabba's shape; ``retry`` is what the last line of a stream has in place of the header."""

    word: str
    value: Any
    retry: str | None


class Reading(NamedTuple):
    """What is needed to read responses: bounds of results, the seconds of a completion, the time since the epoch."""

    bounds: Bounds
    completion_seconds: float
    now: float


def read(response: Response, by: Reading) -> Reply:
    """Return what a response means for its task."""
    shaped = None if response.body is None else _shaped(response.body)
    retry = _retry((shaped and shaped.retry) or response.headers.get(RETRY))
    if (waits := _waits(response, by.now)) is not None and retry is not False:
        return replace(waits, seconds=max(retry, BUSY_SECONDS)) if isinstance(retry, float) else waits
    status = response.status
    if status == 202 and response.body is not None:  # noqa: PLR2004 — accepted
        return Accepted(by.completion_seconds, status, response.address)
    if 300 <= status < 400:  # noqa: PLR2004 — redirects
        where = _excerpt(response.headers.get("location", "").encode(errors="replace"))
        return _unanswered(
            response, f"a redirect to {where or 'nowhere'}, and none is followed: set the URL", final=True
        )
    answer = None if status in _REFUSED else _answer(response, shaped, by.bounds)
    if answer is not None:
        return replace(answer, retry=retry, status_code=status, address=response.address)
    unanswered = _unanswered(response, _unmarked(response), final=retry is False)
    if isinstance(retry, float):
        return replace(unanswered, retry_after=retry)
    return replace(unanswered, retry_after=_retry_after(response.headers.get("retry-after"), by.now))


def _waits(response: Response, now: float) -> Postponed | None:
    """Return the wait that a status asks for, None of others."""
    seconds = _retry_after(response.headers.get("retry-after"), now)
    match response.status:
        case 429 | 503:
            reason = f"the service is busy: HTTP {response.status} from {response.address}"
            return Postponed(reason, None if seconds is None else max(seconds, BUSY_SECONDS))
        case 409:
            reason = f"another delivery of this call is at work: HTTP 409 from {response.address}"
            return Postponed(reason, max(seconds or 0.0, BUSY_SECONDS))
        case 410:
            reason = f"the service is gone: HTTP 410 from {response.address}"
            return Postponed(reason, max(seconds or 0.0, GONE_SECONDS))
        case _:
            return None


def _answer(response: Response, shaped: _Shaped | None, bounds: Bounds) -> Answer | None:
    """Return the service's own word, None if there is no mark of it."""
    if shaped is not None:
        return _of_shape(shaped, bounds)
    is_success = 200 <= response.status < 300  # noqa: PLR2004 — success
    if response.headers.get(MARK) != "1" or response.is_stream or response.status in _TEMPORARY:
        return None
    if response.body is None:
        return results.failed(f"the answer is longer than {bounds.result_bytes:,} bytes, the limit of a result")
    return _of_body(response.status, response.body, bounds, is_success=is_success)


def _of_body(status: int, body: bytes, bounds: Bounds, *, is_success: bool) -> Answer:
    """Return the answer in a marked body of any other shape."""
    try:
        value = json_codec.decode(body) if body.strip() else {}
    except ValueError as error:
        return results.failed(f"HTTP {status} with an answer that is not JSON: {error}")
    if is_success:
        return results.succeeded(value, bounds)
    return results.failed(value or f"HTTP {status} without a reason", bounds)


def _of_shape(shaped: _Shaped, bounds: Bounds) -> Answer:
    if shaped.word == "ok":
        return results.succeeded(shaped.value, bounds)
    failed = results.failed(shaped.value, bounds)
    return failed if shaped.word == "error" else replace(failed, event=TaskRescued)


def _shaped(body: bytes) -> _Shaped | None:
    try:
        value = json_codec.decode(body)
    except ValueError:
        return None
    if not isinstance(value, dict) or len(words := [word for word in _SHAPES if word in value]) != 1:
        return None
    word, retry = words[0], value.get("retry")
    if not set(value) <= {word, "retry"} or (word == "ok" and not isinstance(value[word], dict)):
        return None
    return _Shaped(word, value[word], retry if isinstance(retry, str) else None)


def _unmarked(response: Response) -> str:
    if reason := _REFUSED.get(response.status):
        return f"HTTP {response.status}: {reason}"
    if response.is_stream and response.status == 200:  # noqa: PLR2004 — its stream broke off
        return "a stream that ends without a line that is an answer"
    if response.body is None:
        return f"HTTP {response.status} with a body that is too long to be an answer"
    excerpt = _excerpt(response.body)
    return f"HTTP {response.status} that is not an answer of the service: {excerpt or 'without a body'}"


def _unanswered(response: Response, error: str, *, final: bool) -> Unanswered:
    return Unanswered(error, final=final, status_code=response.status, address=response.address)


def _excerpt(text: bytes) -> str:
    shown = " ".join(text[: 4 * _EXCERPT].decode(errors="replace").split())
    printable = "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in shown)
    return printable if len(printable) <= _EXCERPT else printable[: _EXCERPT - 1] + "…"


def _retry(text: str | None) -> bool | float | None:
    """Read ``jabba-retry``: no, yes, or seconds; None if there is nothing of these."""
    if text is None:
        return None
    word = text.strip().lower()
    return {"no": False, "yes": True}[word] if word in ("no", "yes") else _seconds(word)


def _retry_after(text: str | None, now: float) -> float | None:
    """Read ``Retry-After``, seconds or a date; None if it is neither."""
    if text is None:
        return None
    if (seconds := _seconds(text.strip())) is not None:
        return seconds
    try:
        date = parsedate_to_datetime(text)
        at = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError, OSError):
        return None
    return max(0.0, at - now)


def _seconds(text: str) -> float | None:
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None
