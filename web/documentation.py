"""The documentation of the interface, served by itself: for programs and for people."""

from aiohttp.web import Request, Response
from pydantic_core import to_json

from jabba.auth.roles import Permission
from web import docs_page, openapi, schemas
from web.api import HEADERS, VIEWS, ApiView
from web.operations import HTML, JSON, Operation, operation

_CACHED = {**HEADERS, "Cache-Control": "private, max-age=60"}


class OpenApi(ApiView):
    """``GET /openapi.json``: the description of the interface, OpenAPI 3.1."""

    view_name = "openapi"
    view_path = "/openapi.json"

    @operation(
        Operation(
            "Get the description of this interface",
            "OpenAPI 3.1.",
            answer=schemas.Document,
            needs=Permission.READ,
            errors=(),
        )
    )
    async def get(self, request: Request) -> Response:
        """Return the document."""
        body = to_json(openapi.document(request.app[VIEWS]))
        return Response(body=body, content_type=JSON, headers=_CACHED)


class Docs(ApiView):
    """``GET /docs``: the same as a page, which loads nothing from elsewhere."""

    view_name = "docs"
    view_path = "/docs"

    @operation(
        Operation(
            "Read the documentation",
            "This page. A browser asks for a name and a password: the key is the password, the name may be any.",
            answer=str,
            needs=Permission.READ,
            content=HTML,
            errors=(),
        )
    )
    async def get(self, request: Request) -> Response:
        """Return the page."""
        page = docs_page.render(openapi.document(request.app[VIEWS]))
        headers = {**_CACHED, "Content-Security-Policy": docs_page.POLICY}
        return Response(text=page, content_type=HTML, headers=headers)
