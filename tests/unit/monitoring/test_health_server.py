"""The health of a process without a web, over HTTP."""

from functools import partial

import pytest
from aiohttp import ClientSession

from jabba.monitoring.health_server import Monitor
from jabba.monitoring.metrics import Exposition
from tests.support.http import get


@pytest.mark.parametrize(
    "path, status, told",
    [("/health/live", "live", "it has stood still"), ("/health/ready", "ready", "not ready: it has stood still")],
)
async def test_health_is_red_while_there_is_a_fault(path: str, status: str, told: str, unused_tcp_port: int) -> None:
    wrong = {"/health/live": "another", "/health/ready": "another"} | {path: ""}
    ask_live, ask_ready = (partial(wrong.__getitem__, one) for one in ("/health/live", "/health/ready"))
    async with (
        Monitor("127.0.0.1", unused_tcp_port, Exposition((), {}), fault=ask_live, unready=ask_ready),
        ClientSession(f"http://127.0.0.1:{unused_tcp_port}") as http,
    ):
        assert await get(http, path) == (200, {"status": status})
        wrong[path] = "it has stood still"
        assert await get(http, path) == (503, {"type": "unavailable", "message": told, "fields": []})
        wrong[path] = ""
        assert await get(http, path) == (200, {"status": status})
