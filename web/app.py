"""The Faust application of a web process: an HTTP server without agents, built from settings."""

import logging
from collections.abc import Iterable
from typing import Any, ClassVar

import faust
import faust.app
from aiohttp.typedefs import Middleware
from faust.web.drivers.aiohttp import Web as AiohttpWeb
from mode import ServiceT

from jabba.faust_app import JabbaApp, common_options
from jabba.settings import Settings
from web.http_errors import Runner

logger = logging.getLogger(__name__)

_FINISH_REQUESTS_SECONDS = 3.0
"""How long a stopping web process lets requests finish."""

_LINGER_SECONDS = 2.0
"""How long the rest of a refused body is taken and thrown away, so that its sender sees the answer."""

_REQUEST_LINE_BYTES = 64 * 1024
"""A position of a job that is spread over a thousand partitions fits in a URL, and the mark of a live stream too."""


class WebServer(AiohttpWeb):
    """Faust's web server without its own pages, which would tell of tables and other workers to anyone."""

    default_blueprints: ClassVar = ()
    production_blueprints: ClassVar = ()
    debug_blueprints: ClassVar = ()
    optional_blueprints: ClassVar = ()

    def __init__(self, app: faust.App, **options: Any) -> None:
        super().__init__(app, **options)
        self._runner = Runner(self.web_app, access_log=None, shutdown_timeout=_FINISH_REQUESTS_SECONDS)

    async def start_server(self) -> None:
        """Listen, and say where."""
        await super().start_server()
        logger.info("web ready", extra={"host": self.app.conf.web_bind, "port": self.app.conf.web_port})


class WebBoot(faust.app.BootStrategy):
    """Starts no consumer: Faust's would demand topics to subscribe to, and a web process has no agent."""

    app: "WebApp"
    enable_kafka = False
    enable_kafka_consumer = False

    def web_components(self) -> list[ServiceT]:
        """Return what starts before the web server and stops after it."""
        return self.app.beneath


class WebApp(JabbaApp):
    """A Faust application that only serves HTTP."""

    BootStrategy = WebBoot

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.beneath: list[ServiceT] = []
        super().__init__(*arguments, **options)

    def _new_web(self) -> WebServer:
        return WebServer(self)


def web_app(settings: Settings, middlewares: Iterable[Middleware] = ()) -> WebApp:
    """Make the application of a web process: no agents, no pages of Faust's own, no route yet."""
    return WebApp(
        f"{settings.prefix}-web",
        **common_options(settings),
        web_bind=settings.web_host,
        web_port=settings.web_port,
        web_application_options={
            "middlewares": list(middlewares),
            "client_max_size": settings.request_bytes,
            "handler_args": {
                "max_line_size": _REQUEST_LINE_BYTES,
                "max_field_size": _REQUEST_LINE_BYTES,
                "lingering_time": _LINGER_SECONDS,
            },
        },
    )
