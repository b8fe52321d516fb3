"""What a relay counts of its work and sees in its outbox, and where it is looked at."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from jabba.concurrency.cancellation import cancel_and_wait
from jabba.database.connection import Database
from jabba.errors import JabbaError
from jabba.monitoring.health_server import Fault, Monitor
from jabba.monitoring.metrics import RELAY, Exposition
from jabba.outbox.table import OutboxRows, Waiting
from jabba.settings import Settings

_LOOK_SECONDS = 5.0


@dataclass(slots=True)
class Figures:
    """Jobs that left the outbox or were set aside by this relay, and what is in it, None when that is not known."""

    relayed: int = 0
    refused: int = 0
    waiting: Waiting | None = None


@asynccontextmanager
async def monitored(
    settings: Settings, figures: Figures, rows: OutboxRows, database: Database, unready: Fault
) -> AsyncIterator[None]:
    """Tell the figures meanwhile, if the settings name a port; a relay is always alive, it waits however long."""
    if not settings.metrics_port:
        yield
        return
    looking = asyncio.create_task(_look(figures, rows, database), name="outbox figures")
    try:
        place, exposition = (settings.metrics_host, settings.metrics_port), _exposition(figures)
        async with Monitor(*place, exposition, fault=lambda: "", unready=unready):
            yield
    finally:
        await cancel_and_wait([looking])


async def _look(figures: Figures, rows: OutboxRows, database: Database) -> None:
    """Look into the outbox now and then; what PostgreSQL does not tell is not shown."""
    while True:
        try:
            figures.waiting = await rows.waiting(database)
        except JabbaError:
            figures.waiting = None
        await asyncio.sleep(_LOOK_SECONDS)


def _exposition(figures: Figures) -> Exposition:
    def seen(name: str) -> dict[tuple[str, ...], float]:
        return {} if figures.waiting is None else {(): getattr(figures.waiting, name)}

    return Exposition(
        RELAY,
        {
            "jabba_outbox_relayed_total": lambda: figures.relayed,
            "jabba_outbox_refused_total": lambda: figures.refused,
            "jabba_outbox_waiting": lambda: seen("jobs"),
            "jabba_outbox_oldest_seconds": lambda: seen("oldest"),
            "jabba_outbox_set_aside": lambda: seen("set_aside"),
        },
    )
