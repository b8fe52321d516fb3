"""A call and its answer as they travel: what is read of a request, and what an answer consists of. No I/O."""

import math
import re
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError

from jabba.callbacks.results import Answer
from jabba.errors import JabbaError
from jabba.jobs import json_codec
from jabba.jobs.lifecycle import TaskFailed, TaskSucceeded

MARK = {"jabba-answer": "1"}
"""The header that tells an answer of a callee from one of a proxy."""

JSON = "application/json"
NDJSON = "application/x-ndjson"

_SHAPES = {TaskSucceeded: "ok", TaskFailed: "error"}
_ONCE = ("webhook-id", "webhook-timestamp", "webhook-signature", "jabba-type", "jabba-timeout", "content-encoding")
_NUMBER = re.compile(r"[0-9]{1,10}(\.[0-9]{1,10})?")


class WireError(JabbaError):
    """A request that is refused with ``status``; the message is for whoever sent it."""

    def __init__(self, status: int, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request; the names of ``headers`` are in lower case, and each is there once."""

    method: str
    headers: Mapping[str, str]
    body: bytes

    @classmethod
    def of(cls, method: str, headers: Iterable[tuple[str, str]], body: bytes) -> "Request":
        """Make one of a request's headers as they came.

        Raises:
            WireError: one that is read here came twice, so that it is not clear which one counts.
        """
        found: dict[str, str] = {}
        for name, value in headers:
            lower = name.lower()
            if lower in found and lower in _ONCE:
                raise WireError(400, f"the header {lower} came twice")
            found[lower] = value
        return cls(method, found, body)


class CompletionPlace(BaseModel):
    """Where a call that was answered with 202 is completed, and the token for it."""

    url: str
    token: str


class Call(BaseModel):
    """The body of a request: a call, or its cancellation."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    type: str
    service: str
    job_id: UUID | None = None
    task_id: UUID | None = None
    run: int = Field(0, ge=0)
    attempt: int = Field(1, ge=1)
    module: str = ""
    function: str = ""
    args: list[Any] = []
    named: dict[str, Any] = Field(default={}, validation_alias=AliasChoices("kwargs"))
    meta: dict[str, Any] = {}
    deadline: datetime | None = None
    completion: CompletionPlace | None = None

    @classmethod
    def parse(cls, body: bytes) -> "Call":
        """Read a request's body.

        Raises:
            WireError: 400, with every wrong field and without their values.
        """
        try:
            return cls.model_validate(json_codec.decode(body))
        except ValidationError as error:
            raise WireError(400, f"the body is not a call: {'; '.join(faults(error))}") from error
        except ValueError as error:
            raise WireError(400, f"the body is not JSON: {error}") from error


def faults(error: ValidationError) -> list[str]:
    """Return what is wrong and where, without the values that were refused."""
    found = error.errors(include_url=False, include_input=False, include_context=False)[:100]
    return [f"{'.'.join(map(str, one['loc'])) or 'body'}: {one['msg']}" for one in found]


def timeout_of(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that are left for this attempt.

    Raises:
        WireError: the header is not a number of seconds.
    """
    text = headers.get("jabba-timeout")
    if text is None:
        return None
    if not _NUMBER.fullmatch(text):
        raise WireError(400, "jabba-timeout is not a number of seconds")
    return float(text)


@dataclass(frozen=True, slots=True)
class Final:
    """An answer as it is sent, and as a store keeps it."""

    status: int
    body: bytes
    retry: str | None = None

    @classmethod
    def of(cls, answer: Answer, status: int = 200) -> "Final":
        """Make one of what a callback returned or raised."""
        shape = _SHAPES.get(answer.event, "raised")
        text = json_codec.encode(answer.result) if answer.text is None else answer.text
        return cls(status, b'{"%s":%s}' % (shape.encode(), text), _retry_word(answer.retry))

    @property
    def is_kept(self) -> bool:
        """Whether a repeated call is to get this answer again: no policy asks for another attempt after it."""
        return self.body.startswith(b'{"ok":') or self.retry == "no"

    def encode(self) -> str:
        """Return the form in which it is stored."""
        return json_codec.encode({"status": self.status, "retry": self.retry, "body": self.body.decode()}).decode()

    @classmethod
    def decode(cls, text: str) -> "Final":
        """Read what ``encode`` wrote."""
        kept = json_codec.decode(text)
        return cls(kept["status"], kept["body"].encode(), kept["retry"])

    def as_line(self) -> bytes:
        """Return it as the last line of a stream."""
        if self.retry is None:
            return self.body + b"\n"
        return self.body[:-1] + b',"retry":%s}\n' % json_codec.encode(self.retry)


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP response: ``lines`` are sent as they come, or else ``body``."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    lines: AsyncIterator[bytes] | None = None

    @property
    def all_headers(self) -> dict[str, str]:
        """Return its headers with those that each has."""
        kind = NDJSON if self.lines is not None else JSON
        return {"content-type": kind, "cache-control": "no-store", **MARK, **self.headers}


def response_of(final: Final) -> Response:
    """Return the response that carries an answer."""
    return Response(final.status, final.body, {} if final.retry is None else {"jabba-retry": final.retry})


def refusal(error: WireError) -> Response:
    """Return the response to a request that is refused."""
    headers = {} if error.retry_after is None else {"retry-after": str(max(1, math.ceil(error.retry_after)))}
    body = json_codec.encode({"error": {"error": json_codec.storable(str(error))}})
    return Response(error.status, body, headers)


def _retry_word(retry: bool | float | None) -> str | None:  # noqa: FBT001 — as an Answer has it
    if isinstance(retry, bool):
        return "yes" if retry else "no"
    return None if retry is None else f"{retry:g}"
