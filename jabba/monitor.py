"""A small HTTP server for a process that serves nothing else: its metrics, and whether it lives."""

from collections.abc import Callable
from typing import Self

from aiohttp import web

from jabba.metrics import CONTENT_TYPE, Exposition

_STOP_SECONDS = 1.0


class Monitor:
    """``async with Monitor(host, port, …)``; answers ``GET /metrics`` and ``GET /health/live``.

    ``fault`` answers why the process should be started anew, empty while it should not.
    """

    def __init__(self, host: str, port: int, exposition: Exposition, fault: Callable[[], str]) -> None:
        self._place = host, port
        self._exposition = exposition
        self._fault = fault
        app = web.Application()
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/health/live", self._live)
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
        fault = self._fault()
        if fault:
            return web.json_response({"error": {"type": "unavailable", "message": fault, "fields": []}}, status=503)
        return web.json_response({"data": {"status": "live"}})
