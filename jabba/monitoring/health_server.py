"""A small HTTP server for a process that serves nothing else: its metrics, whether it lives, and whether it works."""

from collections.abc import Callable
from typing import Self

from aiohttp import web

from jabba.monitoring.metrics import CONTENT_TYPE, Exposition

_STOP_SECONDS = 1.0

Fault = Callable[[], str]
"""Answers what is wrong, empty while nothing is."""


class Monitor:
    """``async with Monitor(host, port, …)``; answers ``GET /metrics``, ``/health/live`` and ``/health/ready``.

    ``fault`` answers why the process should be started anew, ``unready`` why it does not do its work yet, or no more.
    """

    def __init__(self, host: str, port: int, exposition: Exposition, *, fault: Fault, unready: Fault) -> None:
        self._place = host, port
        self._exposition = exposition
        self._fault = fault
        self._unready = unready
        app = web.Application()
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/health/live", self._live)
        app.router.add_get("/health/ready", self._ready)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=_STOP_SECONDS)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, *self._place).start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=self._exposition.text(), headers={"Content-Type": CONTENT_TYPE})

    async def _live(self, _: web.Request) -> web.Response:
        return _told("live", self._fault())

    async def _ready(self, _: web.Request) -> web.Response:
        reason = self._unready()
        return _told("ready", reason and f"not ready: {reason}")


def _told(status: str, wrong: str) -> web.Response:
    if wrong:
        return web.json_response({"error": {"type": "unavailable", "message": wrong, "fields": []}}, status=503)
    return web.json_response({"data": {"status": status}})
