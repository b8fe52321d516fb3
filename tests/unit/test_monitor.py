"""The health of a process without a web, over HTTP."""

from aiohttp import ClientSession

from jabba.metrics import Exposition
from jabba.monitor import Monitor
from tests.support.http import get


async def test_health_is_red_while_there_is_a_fault(unused_tcp_port: int) -> None:
    fault = ""
    async with (
        Monitor("127.0.0.1", unused_tcp_port, Exposition((), {}), lambda: fault),
        ClientSession(f"http://127.0.0.1:{unused_tcp_port}") as http,
    ):
        assert await get(http, "/health/live") == (200, {"status": "live"})
        fault = "nothing was done for 60 s"
        told = {"type": "unavailable", "message": fault, "fields": []}
        assert await get(http, "/health/live") == (503, told)
        fault = ""
        assert await get(http, "/health/live") == (200, {"status": "live"})
