"""How many submissions a second one web process takes.

    python -m bench.submit
    python -m bench.submit --url http://127.0.0.1:8600 --connections 50 --seconds 60

Every connection is kept alive and sends the next submission as soon as the last is answered. Without ``--url``, Kafka
and a web process are started for the measurement. The client is a bare protocol, so that it takes little of the
processor from what it measures.
"""

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from jabba import installation
from jabba.embedded.ports import free_port
from jabba.settings import Settings
from tests.support.kafka import BENCHMARK_JVM, KafkaServer
from tests.support.processes import jabba_process

_WARM_UP_SECONDS = 8.0
"""A broker that has just started runs uncompiled code, at half its speed."""


@dataclass
class Tally:
    """What was answered: seconds per answer, and how many had each status."""

    latencies: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)

    def add(self, status: int, seconds: float) -> None:
        """Count one answer."""
        self.latencies.append(seconds)
        self.statuses[status] = self.statuses.get(status, 0) + 1


class Submitter(asyncio.Protocol):
    """One connection that submits again and again until ``deadline``."""

    def __init__(self, request: bytes, tally: Tally, deadline: float) -> None:
        self._request = request
        self._tally = tally
        self._deadline = deadline
        self._received = b""
        self._sent_at = 0.0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first submission."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        """Count an answer that is complete, and send the next submission."""
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end or len(body) < int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]):
            return
        self._received = b""
        self._tally.add(int(head[9:12]), time.perf_counter() - self._sent_at)
        if time.perf_counter() < self._deadline:
            self._send()
        else:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell that this connection is done, or was lost."""
        if exc is not None:
            self.done.set_exception(exc)
        else:
            self.done.set_result(None)

    def _send(self) -> None:
        self._sent_at = time.perf_counter()
        self._transport.write(self._request)


def request_of(url: str, tasks: int, args_bytes: int) -> bytes:
    """Answer the bytes of a submission."""
    callback = {"service": "local", "module": "bench", "function": "work", "args": ["x" * args_bytes]}
    document = {"tasks": [{"callback": callback}] * tasks, "type": "bench", "meta": {"request_id": "r-1"}}
    body = json.dumps(document).encode()
    head = f"POST /v1/jobs HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def measure(url: str, connections: int, seconds: float, request: bytes) -> tuple[Tally, float]:
    """Submit over some connections; answer the tally and how long it took."""
    tally, begin = Tally(), time.perf_counter()
    host, port = urlsplit(url).hostname or "", urlsplit(url).port or 80
    loop = asyncio.get_running_loop()
    opened = [
        await loop.create_connection(lambda: Submitter(request, tally, begin + seconds), host, port)
        for _ in range(connections)
    ]
    await asyncio.gather(*(protocol.done for _, protocol in opened))
    return tally, time.perf_counter() - begin


def row(connections: int, tally: Tally, seconds: float) -> str:
    """Answer a line of the table."""
    cuts = statistics.quantiles(tally.latencies, n=100)
    milliseconds = "".join(f"{cuts[p - 1] * 1000:10.1f}" for p in (50, 95, 99))
    return f"{connections:11d}{len(tally.latencies) / seconds:10.0f}{milliseconds}  {tally.statuses}"


@contextmanager
def own_web_process() -> Iterator[str]:
    """Start Kafka and a web process; answer its URL."""
    with tempfile.TemporaryDirectory() as scratch, KafkaServer(Path(scratch), jvm=BENCHMARK_JVM) as kafka:
        settings = Settings(kafka=kafka.bootstrap, web_port=free_port())
        asyncio.run(installation.install(settings))
        with jabba_process("web", environment=settings.as_environ(), log=Path(scratch, "web.log")) as web:
            web.start().wait_for_port(settings.web_port)
            yield f"http://127.0.0.1:{settings.web_port}"


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description="Measure submissions a second.")
    parser.add_argument("--url", help="a web process that runs already")
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 10, 50, 200])
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--tasks", type=int, default=1, help="tasks of a job")
    parser.add_argument("--args-bytes", type=int, default=20, help="size of a task's argument")
    given = parser.parse_args()
    with nullcontext(given.url) if given.url else own_web_process() as url:
        request = request_of(url, given.tasks, given.args_bytes)
        asyncio.run(measure(url, 50, _WARM_UP_SECONDS, request))
        print("connections    POST/s  p50 (ms)  p95 (ms)  p99 (ms)  answers")
        for connections in given.connections:
            print(row(connections, *asyncio.run(measure(url, connections, given.seconds, request))), flush=True)


if __name__ == "__main__":
    main()
