"""How it goes, over HTTP."""

from aiohttp.web import Request, Response

from jabba.auth.roles import Permission
from jabba.errors import Forbidden, Unavailable
from web import responses, schemas
from web.api import ApiView, backends, caller, respond
from web.operations import Operation, operation


class StatsNow(ApiView):
    """``GET /v1/stats``: how many jobs there are, what ended lately, and what waits for whom."""

    view_name = "stats"
    view_path = "/v1/stats"

    @operation(
        Operation(
            "Get how it goes",
            "How many jobs there are, what ended lately, what waits for workers and for PostgreSQL. A second old at "
            "most, and cheap however many jobs there are. What Kafka or PostgreSQL cannot tell is null, and 503 is "
            "answered only when that is all of it.",
            answer=schemas.Data[schemas.Stats],
            needs=Permission.SEARCH,
            errors=(Forbidden, Unavailable),
        )
    )
    async def get(self, request: Request) -> Response:
        """Return it; not to a key that is limited to some types, for it is about all."""
        caller(request).require_every_type()
        return respond(responses.of_data(await backends(request).stats.get()))
