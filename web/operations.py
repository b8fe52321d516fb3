"""What each route is, beside its handler: the documentation is made from it, and so is the check of parameters."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, Literal, TypeVar

from aiohttp.web import Request, RequestKey, StreamResponse

from jabba.auth.roles import Caller, Permission
from jabba.errors import InvalidRequest, RequestError, Unavailable
from web import requests

JSON = "application/json"
NDJSON = "application/x-ndjson"
EVENT_STREAM = "text/event-stream"
TEXT = "text/plain"
HTML = "text/html"

CALLER = RequestKey("caller", Caller)
"""Where a request has the one who sends it, once that is known."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter; ``type`` is what Pydantic makes its schema of, or the field that it is compared with.

    One that may be ``repeated`` adds to itself; any other is there once, or nobody knows which of them is meant.
    """

    name: str
    type: Any
    what: str
    example: str | None = None
    place: Literal["query", "path", "header"] = "query"
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class Example:
    """A request that works; a path's ``{id}`` is that of a job, and ``{task}`` that of a task."""

    query: Mapping[str, str] = field(default_factory=dict)
    body: Any = None


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path.

    ``needs`` is the permission without which a caller gets 403; None stands for a route that is open to everyone.
    ``needs_without`` names, for a query parameter, what a request without it needs beside that.
    ``answer`` and ``body`` are types that Pydantic makes schemas of, or a collection for its search; ``item`` and
    ``body_item`` are what a stream carries. ``errors`` are those that a caller should expect.
    """

    summary: str
    what: str
    answer: Any
    needs: Permission | None
    status: int = 200
    content: str = JSON
    item: Any = None
    body: Any = None
    body_content: str = JSON
    body_item: Any = None
    parameters: tuple[Parameter, ...] = ()
    errors: tuple[type[RequestError], ...] = (InvalidRequest, Unavailable)
    example: Example = field(default_factory=Example)
    more_parameters: bool = False
    needs_without: Mapping[str, Permission] = field(default_factory=dict)

    def require(self, request: Request) -> None:
        """Refuse a caller who may not ask this.

        Raises:
            Forbidden: names the permission that is missing.
        """
        if self.needs is not None:
            request[CALLER].require(self.needs)
        for name, permission in self.needs_without.items():
            if name not in request.query:
                request[CALLER].require(permission)


View = TypeVar("View")
Handler = Callable[..., Awaitable[StreamResponse]]


def operation(described: Operation) -> Callable[[Handler], Handler]:
    """Describe a handler; it then refuses callers without the permission, and query parameters without a description.

    With ``more_parameters`` the handler decides itself about those.
    """
    known = frozenset(one.name for one in described.parameters if one.place == "query")
    single = known - frozenset(one.name for one in described.parameters if one.repeated)

    def describe(handler: Handler) -> Handler:
        @wraps(handler)
        async def checked(view: Any, request: Request, **path: str) -> StreamResponse:
            described.require(request)
            if not described.more_parameters:
                requests.refuse_unknown(request.query, known)
            requests.refuse_repeated(request.query.items(), single)
            return await handler(view, request, **path)

        checked.operation = described  # type: ignore[attr-defined]  # a function takes any attribute
        return checked

    return describe


def operations_of(view: type) -> dict[str, Operation]:
    """Return the described methods of a view, by their names on the wire, such as ``POST``."""
    methods = {name: getattr(view, name, None) for name in ("get", "post", "put", "patch", "delete")}
    described = {name.upper(): getattr(method, "operation", None) for name, method in methods.items()}
    return {name: found for name, found in described.items() if found is not None}
