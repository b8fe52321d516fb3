"""Every error Jabba raises on purpose, as one tree.

Each class names the HTTP status that the web answers with and the stable ``type`` word that clients may switch on.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

# The answer to a wrong request must not be larger than the request.
_TOLD_FIELDS = 100
_TOLD_CHARACTERS = 4000


class JabbaError(Exception):
    """The root of the tree: ``except JabbaError`` catches all that Jabba raises on purpose.

    Whatever its class takes, an error can be copied and pickled, and so passed on to another process.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args), vars(self)


def _rebuild(cls: type[JabbaError], args: tuple[Any, ...]) -> JabbaError:
    """Make an error without its ``__init__``, which may take other arguments than those it hands to ``Exception``."""
    error = cls.__new__(cls, *args)
    error.args = args
    return error


class InvalidArgument(JabbaError, ValueError):
    """An argument given in Python has a wrong value; ``field`` is its name."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


class Closed(JabbaError, RuntimeError):
    """A client or producer was used after ``close()``, after a fork, or in another event loop than its own."""


@dataclass(frozen=True, slots=True)
class FieldError:
    """One mistake in a request.

    ``field`` is a path from the request's root, such as ``tasks[3].callback.module``; empty for the request itself.
    """

    field: str
    message: str


class RequestError(JabbaError):
    """A request that was refused; ``status`` is its HTTP status, ``type`` its stable name."""

    status: ClassVar[int] = 400
    type: ClassVar[str] = "bad_request"

    def __init__(self, message: str, fields: list[FieldError] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.fields = fields or []

    def as_json(self) -> dict[str, Any]:
        """Return the body of the HTTP error: ``{"type", "message", "fields": [{"field", "message"}]}``.

        It names the first hundred fields; the message tells how many there are.
        """
        fields = [{"field": error.field, "message": error.message} for error in self.fields[:_TOLD_FIELDS]]
        return {"type": self.type, "message": self.message[:_TOLD_CHARACTERS], "fields": fields}


class InvalidRequest(RequestError):
    """The request is understood but wrong; every wrong field is named."""

    status = 422
    type = "invalid_request"

    @classmethod
    def at(cls, field: str, message: str) -> "InvalidRequest":
        """Make the error of a single field."""
        return cls(f"{field}: {message}" if field else message, [FieldError(field, message)])


class LimitExceeded(InvalidRequest):
    """The request is larger than a limit in the settings."""

    status = 413
    type = "limit_exceeded"


class MessageTooLarge(LimitExceeded):
    """What Kafka was asked to keep is larger than a message of that topic may be."""


class Unauthorized(RequestError):
    """There is no key with the request, or it is unknown, expired or revoked."""

    status = 401
    type = "unauthorized"


class TooExpensive(InvalidRequest):
    """The search takes longer than one may; a narrower one will not."""

    type = "too_expensive"


class Forbidden(RequestError):
    """The key's role or types do not allow this; the message names what is missing."""

    status = 403
    type = "forbidden"


class NotFound(RequestError):
    """Nothing is known under that id."""

    status = 404
    type = "not_found"


class MethodNotAllowed(RequestError):
    """There is such a path, but not with this method."""

    status = 405
    type = "method_not_allowed"


class RequestTimeout(RequestError):
    """The request did not come in time."""

    status = 408
    type = "request_timeout"


class Conflict(RequestError):
    """The id already belongs to another job."""

    status = 409
    type = "conflict"


class Unavailable(RequestError):
    """Kafka did not acknowledge, or PostgreSQL did not answer; try again, with a submission only if it has an `id`."""

    status = 503
    type = "unavailable"


class Refused(Unavailable):
    """Waiting will not help: Kafka or the web process cannot be trusted, cannot be spoken to, or does not let us in.

    That is a wrong password or a missing right at Kafka, a certificate that is not valid, or a URL at which nothing
    speaks HTTP or that needs another scheme.
    """


class InternalError(RequestError):
    """The web process met a defect; its log has it."""

    status = 500
    type = "internal_error"


def request_errors(root: type[RequestError] = RequestError) -> dict[str, type[RequestError]]:
    """Return the class of each ``type``; one that has none of its own is told as the one above it."""
    found = {root.type: root} if "type" in vars(root) else {}
    for cls in root.__subclasses__():
        found |= request_errors(cls)
    return found


class TaskError(JabbaError):
    """Raised by a callback to fail its task: the task becomes FAILED with ``result`` stored as it is."""

    def __init__(self, result: Any = None) -> None:
        super().__init__(result)
        self.result = result


class RetryTask(JabbaError):
    """Raised by a callback that wants to be called again: ``after`` seconds at the earliest.

    It counts as an attempt, and the retry policy bounds their number: 3 by default. The last one fails the task with
    ``reason``.
    """

    def __init__(self, reason: str = "the callback asked for another attempt", *, after: float | None = None) -> None:
        super().__init__(reason)
        self.after = after


class WrongSecurity(InvalidArgument):
    """How to reach Kafka is described wrongly; ``field`` is the field of ``KafkaSecurity`` that is to blame."""


class NotReady(JabbaError):
    """Topics or schema are missing or old; the message names the command to run."""


class MissingExtra(JabbaError):
    """An optional part of Jabba is not installed; the message says how to install it."""
