"""The dashboard's files. They hold no data, so they need no key: the page asks the API for everything."""

import gzip
import hashlib
from functools import cache
from pathlib import Path
from typing import NamedTuple

from aiohttp.web import Request, Response
from faust.web import View

from jabba.errors import NotFound
from web.api import HEADERS, ApiView

STATIC = Path(__file__).parent / "static"

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)

_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
_HEADERS = {
    **HEADERS,
    # A name is revalidated by its hash, so that a new version is never mixed with an old one.
    "Cache-Control": "no-cache",
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


class File(NamedTuple):
    """A file as it is sent, plain and compressed; ``tag`` is the hash of its content."""

    content_type: str
    tag: str
    plain: bytes
    packed: bytes


@cache
def files() -> dict[str, File]:
    """Return every file of the dashboard, by its path below ``static``."""
    return {
        path.relative_to(STATIC).as_posix(): _file(path) for path in sorted(STATIC.rglob("*")) if path.suffix in _TYPES
    }


def _file(path: Path) -> File:
    plain = path.read_bytes()
    tag = f'"{hashlib.sha256(plain).hexdigest()[:32]}"'
    return File(_TYPES[path.suffix], tag, plain, gzip.compress(plain, 9, mtime=0))


class Page(ApiView):
    """``GET /``: the dashboard; which of its pages is shown stands behind the ``#`` of the address."""

    view_name = "dashboard"
    view_path = "/"

    async def get(self, request: Request) -> Response:
        """Return the one HTML file."""
        return _send(request, "index.html")


class Asset(ApiView):
    """``GET /assets/…``: its scripts and styles."""

    view_name = "asset"
    view_path = "/assets/{path:.+}"

    async def get(self, request: Request, path: str) -> Response:
        """Return a file."""
        return _send(request, path)


PAGES: tuple[type[View], ...] = (Page, Asset)


def _send(request: Request, path: str) -> Response:
    found = files().get(path)
    if found is None:
        raise NotFound(f"there is no file {path!r}")
    headers = {**_HEADERS, "ETag": found.tag, "Vary": "Accept-Encoding"}
    if request.headers.get("If-None-Match") == found.tag:
        return Response(status=304, headers=headers)
    if "gzip" in request.headers.get("Accept-Encoding", ""):
        headers["Content-Encoding"] = "gzip"
        return Response(body=found.packed, content_type=found.content_type, charset="utf-8", headers=headers)
    return Response(body=found.plain, content_type=found.content_type, charset="utf-8", headers=headers)
