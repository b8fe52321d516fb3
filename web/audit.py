"""The audit over HTTP."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

from aiohttp.web import Request, Response
from pydantic import AwareDatetime, BaseModel, Field, ValidationError

from jabba.auth.roles import Permission
from jabba.database import audit
from jabba.jobs.models import AuditEntry, ShortText, invalid
from jabba.search import DEFAULT_LIMIT
from web import responses, schemas
from web.api import ApiView, backends, caller, respond
from web.operations import Example, Operation, Parameter, operation
from web.parameters import LIMIT, OFFSET

_FIRST, _LAST = datetime(2000, 1, 1, tzinfo=UTC), datetime(3000, 1, 1, tzinfo=UTC)


class Asked(BaseModel):
    """What is asked for."""

    job: UUID | None = None
    key: ShortText | None = None
    since: Annotated[AwareDatetime | None, Field(ge=_FIRST, le=_LAST)] = None
    offset: schemas.Offset = 0
    limit: schemas.Limit = DEFAULT_LIMIT


class Audit(ApiView):
    """``GET /v1/audit?job=…&key=…&since=…`` answers who changed what, the newest first."""

    view_name = "audit"
    view_path = "/v1/audit"

    @operation(
        Operation(
            "Read the audit",
            "Who changed what, the newest first; submissions stand in it as soon as PostgreSQL has them.",
            answer=schemas.Data[list[AuditEntry]],
            needs=Permission.ADMINISTER,
            parameters=(
                Parameter("job", schemas.Id, "What was done to this job."),
                Parameter("key", schemas.Text, "What was done with this key, or to it, by its id."),
                Parameter("since", datetime, "From this moment on.", "2026-11-01T00:00:00Z"),
                OFFSET,
                LIMIT,
            ),
            example=Example({"since": "2026-11-01T00:00:00Z", "limit": "10"}),
        )
    )
    async def get(self, request: Request) -> Response:
        """Return a page of it."""
        caller(request).require_every_type()
        asked = read_asked(request.query)
        since = None if asked.since is None else asked.since.astimezone(UTC)
        found = await audit.entries(backends(request).database, **asked.model_dump() | {"since": since})
        return respond(responses.of_data(found))


def read_asked(query: Mapping[str, str]) -> Asked:
    """Read the parameters.

    Raises:
        InvalidRequest: names them.
    """
    try:
        return Asked.model_validate(dict(query))
    except ValidationError as error:
        raise invalid(error) from error
