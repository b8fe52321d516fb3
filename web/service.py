"""The web process, put together from settings."""

import asyncio
import logging
from collections.abc import Awaitable
from typing import cast

from jabba.clock import Clock
from jabba.database import migrations
from jabba.errors import Refused, Unavailable
from jabba.kafka.acls import check_acls, rights_of
from jabba.producer import producer_of
from jabba.settings import Settings
from web.api import BACKENDS, OPEN_ROUTES, VIEWS, answer_errors
from web.app import WebApp, WebServer, web_app
from web.backends import Backends
from web.dashboard.views import PAGES
from web.metrics import count_requests
from web.routes import VIEWS as ROUTES
from web.routes import open_routes

logger = logging.getLogger(__name__)

_CHECK_SECONDS = 5.0


async def check(settings: Settings) -> None:
    """Refuse to start without topics or on another schema; Kafka or PostgreSQL that is merely down may come back.

    Raises:
        NotReady: the message names the command to run.
        Refused: Kafka is there, and does not let us in, or not do what a web does.
    """
    _warn_if_open(settings)
    schema = asyncio.to_thread(migrations.check, settings.database.get_secret_value())
    await asyncio.gather(_unless_down(_check_topics(settings)), _unless_down(schema))


def build(settings: Settings, *, clock: Clock | None = None) -> WebApp:
    """Make the application that ``python -m jabba web`` runs; it starts with or without Kafka and PostgreSQL."""
    app = web_app(settings, [count_requests, answer_errors])
    backends = Backends(settings, clock=clock)
    app.beneath.append(backends)
    served = cast("WebServer", app.web).web_app
    served[BACKENDS] = backends
    served[VIEWS] = ROUTES
    served[OPEN_ROUTES] = open_routes(settings)
    served.on_shutdown.append(backends.let_go)
    for view in (*ROUTES, *PAGES):
        app.web.add_view(view)
    return app


def _warn_if_open(settings: Settings) -> None:
    if settings.access == "open":
        logger.warning(
            "NO ACCESS CONTROL: whoever reaches this address may submit, read and search all jobs",
            extra={"host": settings.web_host, "port": settings.web_port},
        )


async def _check_topics(settings: Settings) -> None:
    await check_acls(settings.kafka_access, rights_of("web", settings.topics))
    producer = producer_of(settings)
    try:
        await producer.check(within=_CHECK_SECONDS)
    except Refused:
        raise
    except Unavailable as error:
        # Also on a machine that is too busy to be refused in time.
        raise await settings.kafka_access.unavailable(error) from error
    finally:
        await producer.close()


async def _unless_down(checking: Awaitable[None]) -> None:
    try:
        await checking
    except Refused:
        raise
    except Unavailable as error:
        logger.warning("starting although a part does not answer", extra={"error": str(error)})
