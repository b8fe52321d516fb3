"""Health over HTTP: whether the process lives, and whether it can do its work."""

from collections.abc import Mapping
from datetime import datetime

from aiohttp.web import Request, Response

from jabba.errors import FieldError, Unavailable
from web import responses, schemas
from web.api import ApiView, backends, respond
from web.operations import Operation, operation


class Live(ApiView):
    """``GET /health/live``: the process answers."""

    view_name = "live"
    view_path = "/health/live"

    @operation(
        Operation(
            "Is the process alive", "It answers, so it is.", answer=schemas.Data[schemas.Live], needs=None, errors=()
        )
    )
    async def get(self, _request: Request) -> Response:
        """Return 200."""
        return respond(responses.of_data({"status": "live"}))


class ReadyToSubmit(ApiView):
    """``GET /health/submit``: Kafka takes submissions, whatever PostgreSQL does."""

    view_name = "ready_to_submit"
    view_path = "/health/submit"

    @operation(
        Operation(
            "Can the process take submissions",
            "Whether Kafka takes them, whatever PostgreSQL does: for load balancers, which would otherwise keep "
            "submissions away while only reads fail.",
            answer=schemas.Data[schemas.ReadyToSubmit],
            needs=None,
            errors=(Unavailable,),
        )
    )
    async def get(self, request: Request) -> Response:
        """Return 200 when Kafka is there, else 503."""
        return _told(await backends(request).readiness.look("kafka"))


class Ready(ApiView):
    """``GET /health/ready``: Kafka takes submissions and PostgreSQL answers reads."""

    view_name = "ready"
    view_path = "/health/ready"

    @operation(
        Operation(
            "Can the process do its work",
            "Whether Kafka takes submissions and PostgreSQL answers; what does not is named, and since when.",
            answer=schemas.Data[schemas.Ready],
            needs=None,
            errors=(Unavailable,),
        )
    )
    async def get(self, request: Request) -> Response:
        """Return 200 when both are there, else 503 naming what is not."""
        return _told(await backends(request).readiness.look())


def _told(parts: Mapping[str, datetime | None]) -> Response:
    red = [FieldError(part, f"red since {since:%Y-%m-%dT%H:%M:%SZ}") for part, since in parts.items() if since]
    if red:
        raise Unavailable(f"not ready: {', '.join(one.field for one in red)}", red)
    return respond(responses.of_data(dict.fromkeys(parts, "ok")))
