"""How many submissions a second one web process takes.

    python -m bench.submit
    python -m bench.submit --url http://127.0.0.1:8600 --key KEY --connections 50 --seconds 60
    python -m bench.submit --rate 2000 --connections 200 --seconds 60
    python -m bench.submit --bulk 100000

Every connection is kept alive and sends the next submission as soon as the last is answered. With ``--rate``, so many
are due a second, whatever is answered: the time that one waits for a connection counts. With ``--bulk``, so many jobs
are sent in one request, and compared with one POST each. Without ``--url``, Kafka, PostgreSQL and a web process are
started for the measurement; with ``--access open``, it asks for no key. The client is a bare protocol, so that it takes
little of the processor from what it measures.
"""

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import psutil
from aiohttp import ClientSession
from pydantic import SecretStr

from jabba.database import migrations
from jabba.kafka import admin
from jabba.local.ports import free_port
from jabba.settings import Settings
from tests.support.kafka import BENCHMARK_JVM, KafkaServer
from tests.support.keys import KEY, add_key
from tests.support.postgres import PostgresServer
from tests.support.processes import jabba_process

_WARM_UP_SECONDS = 8.0
"""A broker that has just started runs uncompiled code, at half its speed."""


_LINES_AT_ONCE = 500


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
    """One connection: tells ``at_rest`` whenever it may send, at first and after each answer."""

    def __init__(self, request: bytes, tally: Tally, at_rest: Callable[["Submitter"], None]) -> None:
        self._request = request
        self._tally = tally
        self._at_rest = at_rest
        self._received = b""
        self._due = 0.0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Be ready to send."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._at_rest(self)

    def data_received(self, data: bytes) -> None:
        """Count an answer that is complete."""
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end or len(body) < int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]):
            return
        self._received = b""
        self._tally.add(int(head[9:12]), time.perf_counter() - self._due)
        self._at_rest(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell that this connection is done, or was lost."""
        if exc is not None:
            self.done.set_exception(exc)
        else:
            self.done.set_result(None)

    def send(self, due: float) -> None:
        """Send a submission that was due at a moment, from which its time counts."""
        self._due = due
        self._transport.write(self._request)

    def close(self) -> None:
        """Send no more."""
        self._transport.close()


class Pace:
    """So many submissions a second, sent by whichever connection rests."""

    def __init__(self, rate: float, seconds: float) -> None:
        self._rate = rate
        self._seconds = seconds
        self._due: deque[float] = deque()
        self._resting: list[Submitter] = []
        self._over = False

    def at_rest(self, one: Submitter) -> None:
        """Give a connection what is due, or let it rest."""
        if self._due:
            one.send(self._due.popleft())
        elif self._over:
            one.close()
        else:
            self._resting.append(one)

    async def run(self) -> None:
        """Let submissions become due, and let the connections close when the last is sent."""
        begin, made = time.perf_counter(), 0
        while made < self._rate * self._seconds:
            while made < (time.perf_counter() - begin) * self._rate:
                self._due.append(begin + made / self._rate)
                made += 1
                if self._resting:
                    self.at_rest(self._resting.pop())
            await asyncio.sleep(0.001)
        self._over = True
        for one in self._resting:
            one.close()


def job_of(tasks: int, args_bytes: int) -> bytes:
    """Return a job as JSON."""
    callback = {"service": "local", "module": "bench", "function": "work", "args": ["x" * args_bytes]}
    document = {"tasks": [{"callback": callback}] * tasks, "type": "bench", "meta": {"request_id": "r-1"}}
    return json.dumps(document).encode()


def request_of(url: str, key: str, body: bytes) -> bytes:
    """Return the bytes of a submission with a key."""
    head = f"POST /v1/jobs HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\nContent-Type: application/json\r\n"
    head += f"Authorization: Bearer {key}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def measure(url: str, connections: int, seconds: float, request: bytes, rate: float = 0) -> tuple[Tally, float]:
    """Submit over some connections; return the tally and how long it took."""
    tally, begin, pace = Tally(), time.perf_counter(), Pace(rate, seconds)

    def at_once(one: Submitter) -> None:
        now = time.perf_counter()
        if now < begin + seconds:
            one.send(now)
        else:
            one.close()

    host, port = urlsplit(url).hostname or "", urlsplit(url).port or 80
    loop = asyncio.get_running_loop()
    opened = [
        await loop.create_connection(lambda: Submitter(request, tally, pace.at_rest if rate else at_once), host, port)
        for _ in range(connections)
    ]
    await asyncio.gather(pace.run(), *(protocol.done for _, protocol in opened))
    return tally, time.perf_counter() - begin


async def measure_bulk(url: str, key: str, jobs: int, job: bytes, memory: Callable[[], float]) -> tuple[float, float]:
    """Submit many jobs in one request; return how many a second, and the most memory that the process had."""

    async def body() -> AsyncIterator[bytes]:
        for start in range(0, jobs, _LINES_AT_ONCE):
            yield job * min(_LINES_AT_ONCE, jobs - start)

    begin, answered, peak = time.perf_counter(), 0, 0.0
    headers = {"Authorization": f"Bearer {key}"}
    async with ClientSession(headers=headers) as session, session.post(f"{url}/v1/jobs/bulk", data=body()) as response:
        async for chunk in response.content.iter_any():
            answered += chunk.count(b'"position"')
            peak = max(peak, memory())
    # A position may have been cut in two.
    assert jobs * 0.99 < answered <= jobs, answered
    return jobs / (time.perf_counter() - begin), peak


def row(connections: int, tally: Tally, seconds: float) -> str:
    """Return a line of the table."""
    cuts = statistics.quantiles(tally.latencies, n=100)
    milliseconds = "".join(f"{cuts[p - 1] * 1000:10.1f}" for p in (50, 95, 99))
    return f"{connections:11d}{len(tally.latencies) / seconds:10.0f}{milliseconds}  {tally.statuses}"


@contextmanager
def own_web_process(access: Literal["keys", "open"]) -> Iterator[tuple[str, Callable[[], float]]]:
    """Start Kafka, PostgreSQL and a web process; return its URL, and what tells its memory in MB."""
    with (
        tempfile.TemporaryDirectory() as scratch,
        KafkaServer(Path(scratch, "kafka"), jvm=BENCHMARK_JVM) as kafka,
        PostgresServer(Path(scratch, "postgres")) as postgres,
    ):
        database = SecretStr(postgres.dsn)
        settings = Settings(kafka=kafka.bootstrap, database=database, web_port=free_port(), access=access)
        asyncio.run(admin.create_topics(settings.cluster))
        migrations.upgrade(postgres.dsn)
        add_key(postgres.dsn)
        with jabba_process("web", environment=settings.as_environ(), log=Path(scratch, "web.log")) as web:
            web.start().wait_for_port(settings.web_port)
            memory = psutil.Process(web.pid).memory_info
            yield f"http://127.0.0.1:{settings.web_port}", lambda: memory().rss / 1e6


def report(given: argparse.Namespace, url: str, memory: Callable[[], float]) -> None:
    """Measure and print the table."""
    job = job_of(given.tasks, given.args_bytes)
    request = request_of(url, given.key, job)
    asyncio.run(measure(url, 50, _WARM_UP_SECONDS, request))
    if given.bulk:
        tally, seconds = asyncio.run(measure(url, 50, given.seconds, request))
        single, before = len(tally.latencies) / seconds, memory()
        many, peak = asyncio.run(measure_bulk(url, given.key, given.bulk, job + b"\n", memory))
        print("one request each (jobs/s)  in one request (jobs/s)  ratio  RSS before (MB)  most (MB)")
        print(f"{single:25.0f}{many:25.0f}{many / single:7.1f}{before:17.0f}{peak:11.0f}")
        return
    print("connections    POST/s  p50 (ms)  p95 (ms)  p99 (ms)  answers")
    for connections in given.connections:
        measured = asyncio.run(measure(url, connections, given.seconds, request, given.rate))
        print(row(connections, *measured), flush=True)


def main() -> None:
    """Read the options, measure and print."""
    parser = argparse.ArgumentParser(description="Measure submissions a second.")
    parser.add_argument("--url", help="a web process that runs already")
    parser.add_argument("--key", default=KEY, help="its key")
    parser.add_argument("--access", choices=["keys", "open"], default="keys", help="access control of one of its own")
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 10, 50, 200])
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rate", type=float, default=0.0, help="submissions that are due a second")
    parser.add_argument("--bulk", type=int, default=0, help="jobs to send in one request")
    parser.add_argument("--tasks", type=int, default=1, help="tasks of a job")
    parser.add_argument("--args-bytes", type=int, default=20, help="size of a task's argument")
    given = parser.parse_args()
    own = nullcontext((given.url, lambda: 0.0)) if given.url else own_web_process(given.access)
    with own as (url, memory):
        report(given, url, memory)


if __name__ == "__main__":
    main()
