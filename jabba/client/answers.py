"""What a web process answers with, read from JSON; one that does not answer like that is not Jabba."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from jabba.callbacks.services import ShownService
from jabba.errors import FieldError, JabbaError, RequestError, request_errors
from jabba.jobs.models import Job, JobEvent, Progress, TaskDetails
from jabba.messages.positions import read_position
from jabba.printable import printable
from jabba.producer.submission import Submitted

Value = TypeVar("Value")

_SHOWN_BYTES = 200


@dataclass(frozen=True, slots=True)
class Form(Generic[Value]):
    """What is expected of an answer, in words, and how that is read from its JSON."""

    expected: str
    read: Callable[[Any], Value]

    def of_text(self, url: str, text: bytes | str) -> Value:
        """Return what a text of JSON holds.

        Raises:
            RequestError: it is not JSON, or not of this form; the message names the URL and what was expected.
        """
        try:
            document = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise self._unexpected(url, "is no JSON", text) from error
        try:
            return self.read(document)
        except (LookupError, TypeError, AttributeError, ValueError, JabbaError) as error:
            raise self._unexpected(url, f"is not {self.expected}", text) from error

    def _unexpected(self, url: str, fault: str, text: bytes | str) -> RequestError:
        return RequestError(f"{url} is not Jabba, or of another version: what it answered {fault}: {shown(text)}")


def shown(text: bytes | str) -> str:
    """Return the beginning of an answer, for a message."""
    begin = text[:_SHOWN_BYTES]
    return printable(begin.decode(errors="replace") if isinstance(begin, bytes) else begin)


def error_in(document: Mapping[str, Any]) -> RequestError:
    """Make the error with this type, message and fields."""
    fields = [FieldError(one["field"], one["message"]) for one in document["fields"]]
    return _CLASSES.get(document["type"], RequestError)(document["message"], fields)


def _submitted(document: Any) -> Submitted:
    job = Job.model_validate(document["data"])
    return Submitted(job.id, read_position(document["data"]["position"], "position"), job)


def _stats(document: Any) -> dict[str, Any]:
    return dict(document["data"].items())


def _delivered(document: Any) -> tuple[int, Submitted | RequestError]:
    return int(document["line"]), error_in(document["error"]) if "error" in document else _submitted(document)


_CLASSES = request_errors()


def _services(document: Any) -> list[dict[str, Any]]:
    return [ShownService.model_validate(one).model_dump(mode="json") for one in document["data"]]


JOB = Form('{"data": a job}', lambda document: Job.model_validate(document["data"]))
PROGRESS = Form('{"data": the progress of a job}', lambda document: Progress.model_validate(document["data"]))
SUBMITTED = Form('{"data": a job with its position}', _submitted)
TASK = Form('{"data": a task}', lambda document: TaskDetails.model_validate(document["data"]))
STATS = Form('{"data": {…}}', _stats)
SERVICES = Form('{"data": [services]}', _services)
DELIVERED = Form('{"line": …, "data": a job with its position} or {"line": …, "error": …}', _delivered)
EVENT = Form("an event of a job", JobEvent.model_validate)
ERROR = Form('{"error": {"type": …, "message": …, "fields": […]}}', lambda document: error_in(document["error"]))
MESSAGE = Form('{"message": …}', lambda document: str(document["message"]))
