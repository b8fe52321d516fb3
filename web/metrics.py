"""The process's own numbers, and what operators must be woken for, over HTTP; and the counting of requests."""

from aiohttp import web
from aiohttp.web import Request, Response

from jabba.auth.roles import Permission
from jabba.monitoring.metrics import CONTENT_TYPE
from web.api import HEADERS, ApiView, Handler, backends, caller
from web.operations import TEXT, Operation, operation


class Metrics(ApiView):
    """``GET /metrics``: the figures of this process, for Prometheus."""

    view_name = "metrics"
    view_path = "/metrics"

    @operation(
        Operation(
            "Get the metrics of this process",
            "In Prometheus's text format; beside its own what the stats tell of jobs, workers, projection and dead "
            "letters, as far as Kafka and PostgreSQL answer. Workers and projectors tell theirs on ports of their own.",
            answer=str,
            needs=Permission.SEARCH,
            content=TEXT,
            errors=(),
        )
    )
    async def get(self, request: Request) -> Response:
        """Return them; not to a key that is limited to some types, for they are about all."""
        caller(request).require_every_type()
        text = await backends(request).metrics()
        return Response(body=text, headers={**HEADERS, "Content-Type": CONTENT_TYPE})


@web.middleware
async def count_requests(request: Request, handler: Handler) -> web.StreamResponse:
    """Count what is answered."""
    behind = backends(request)
    began = behind.clock.monotonic()
    response = await handler(request)
    seconds = behind.clock.monotonic() - began if isinstance(response, Response) else None
    resource = request.match_info.route.resource
    behind.traffic.answered(
        request.method, resource.canonical if resource is not None else None, response.status, seconds
    )
    return response
