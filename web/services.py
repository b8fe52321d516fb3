"""Services that callbacks may call, over HTTP."""

from aiohttp.web import Request, Response

from jabba.auth.roles import Permission
from jabba.callbacks.services import ShownService
from jabba.errors import Forbidden
from web import responses, schemas
from web.api import ApiView, backends, caller, respond
from web.operations import Operation, operation


class ListOfServices(ApiView):
    """``GET /v1/services``: the services of the file that this web process reads, without their secrets."""

    view_name = "services"
    view_path = "/v1/services"

    @operation(
        Operation(
            "List services",
            "The services of the file that this web process reads (`JABBA_SERVICES`), without their secrets; `local` "
            "is always there. The workers read their own file.",
            answer=schemas.Data[list[ShownService]],
            needs=Permission.SEARCH,
            errors=(Forbidden,),
        )
    )
    async def get(self, request: Request) -> Response:
        """Return them by name; not to a key that is limited to some types, for they are of all."""
        caller(request).require_every_type()
        services = backends(request).services()
        return respond(
            responses.of_data([ShownService.of(name, one.service) for name, one in sorted(services.items())])
        )
