"""What many open live streams cost one web process.

    python -m bench.streams
    python -m bench.streams --streams 1000 5000 --events 500 --seconds 10
    python -m bench.streams --filter "type:bench status:PROCESSED"
    python -m bench.streams --filter "job.meta.tenant:x"

Submits jobs and opens a stream of each, with a filter that all events meet if one is given; ten more streams hear
everything. Then events of those jobs are written to
Kafka at a steady rate. Told are the process's memory, its processor time while nothing and while something happens,
and how long an event takes from its writing to its readers.
"""

import argparse
import asyncio
import json
import resource
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from urllib.parse import urlencode
from uuid import UUID

import psutil
from pydantic import SecretStr

from jabba.client import Client
from jabba.client.sse import SentEvents
from jabba.database import migrations
from jabba.jobs import ids
from jabba.jobs.lifecycle import TaskSucceeded, Version
from jabba.kafka import admin
from jabba.kafka.writer import Emitter, Log
from jabba.local.ports import free_port
from jabba.messages.events import encode_event
from jabba.producer import Producer
from jabba.settings import Settings
from tests.support.kafka import BENCHMARK_JVM, KafkaServer
from tests.support.postgres import PostgresServer
from tests.support.processes import ChildProcess, jabba_process

_OF_ALL = 10
_OPENED_AT_ONCE = 100
_QUIET_SECONDS = 5.0


@dataclass
class Heard:
    """What the streams have told: how many events, and seconds from their writing."""

    events: int = 0
    latencies: list[float] = field(default_factory=list)


class Listener(asyncio.Protocol):
    """One stream."""

    def __init__(self, request: bytes, heard: Heard) -> None:
        self._request = request
        self._heard = heard
        self._events = SentEvents()
        self.open: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the stream."""
        assert isinstance(transport, asyncio.Transport)
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Take events in; the lengths of HTTP's chunks are lines that mean nothing to the parser."""
        if not self.open.done():
            assert data.startswith(b"HTTP/1.1 200"), data
            self.open.set_result(None)
        for one in self._events.feed(data):
            self._heard.events += 1
            self._heard.latencies.append(time.time() - json.loads(one.data)["result"]["at"])


async def open_streams(port: int, jobs: Sequence[UUID | None], heard: Heard, query: str) -> None:
    """Open a stream of each job, or of all."""
    loop = asyncio.get_running_loop()
    for start in range(0, len(jobs), _OPENED_AT_ONCE):
        opened = await asyncio.gather(
            *(
                loop.create_connection(partial(Listener, request_of(job, query), heard), "127.0.0.1", port)
                for job in jobs[start : start + _OPENED_AT_ONCE]
            )
        )
        await asyncio.gather(*(listener.open for _, listener in opened))


def request_of(job: UUID | None, query: str) -> bytes:
    """Return the bytes that ask for a stream."""
    asked = urlencode({name: text for name, text in (("job", job), ("q", query)) if text})
    return f"GET /v1/events?{asked} HTTP/1.1\r\nHost: bench\r\n\r\n".encode()


async def emit(settings: Settings, jobs: Sequence[UUID], rate: float, seconds: float) -> int:
    """Write events of these jobs, one after the other, at a steady rate; return how many."""
    async with Log(settings.kafka_access) as log:
        emitter = Emitter(partial(log.append, settings.topics.events), settings.partitions)
        # The connection is not what is measured.
        await emitter.send(ids.new_job_id(time.time()), b"[]")
        begin, sent = time.perf_counter(), 0
        while (elapsed := time.perf_counter() - begin) < seconds:
            while sent < elapsed * rate:
                job = jobs[sent % len(jobs)]
                event = TaskSucceeded(job, 0, Version(0, 1, sent), result={"at": time.time()}, type="bench")
                emitter.send(job, encode_event(event))
                sent += 1
            await asyncio.sleep(0.01)
        await asyncio.sleep(1.0)
        await emitter.close()
    return sent


class Meter:
    """Memory and processor time of the web process."""

    def __init__(self, process: ChildProcess) -> None:
        self._process = psutil.Process(process.pid)
        self.megabytes_at_first = self.megabytes

    @property
    def megabytes(self) -> float:
        """Its memory."""
        return float(self._process.memory_info().rss) / 1e6

    @property
    def cpu_seconds(self) -> float:
        """The processor time it has used so far."""
        times = self._process.cpu_times()
        return float(times.user + times.system)


async def submit(settings: Settings, count: int) -> list[UUID]:
    """Submit jobs, and wait until PostgreSQL shows them."""
    async with Producer(settings.kafka) as producer, Client(f"http://127.0.0.1:{settings.web_port}") as client:
        jobs = [{"tasks": [["local", "bench", "work"]] * 2, "type": "bench", "meta": {"tenant": "x"}}] * count
        submitted = [one.result() async for one in producer.create_jobs(jobs)]
        position: dict[int, int] = {}
        for one in submitted:
            position |= {p: max(offset, position.get(p, 0)) for p, offset in one.position.items()}
        await client.get_job(submitted[0].id, after=position)
    return [one.id for one in submitted]


async def measure(settings: Settings, meter: Meter, streams: int, given: argparse.Namespace) -> str:
    """Open so many streams and write events; return a line of the table."""
    jobs = await submit(settings, streams)
    heard = Heard()
    await open_streams(settings.web_port, [*jobs, *[None] * _OF_ALL], heard, given.filter)
    memory, before = meter.megabytes, meter.cpu_seconds
    await asyncio.sleep(_QUIET_SECONDS)
    quiet, before = (meter.cpu_seconds - before) / _QUIET_SECONDS, meter.cpu_seconds
    sent = await emit(settings, jobs, given.events, given.seconds)
    busy = (meter.cpu_seconds - before) / (given.seconds + 1)
    assert heard.events == sent * (1 + _OF_ALL), (heard.events, sent)
    cuts = statistics.quantiles(heard.latencies, n=100)
    each = (memory - meter.megabytes_at_first) * 1000 / streams
    cells = f"{streams:8d}{memory:10.0f}{each:14.1f}{meter.megabytes:12.0f}{quiet:10.1%}{busy:9.1%}"
    return cells + "".join(f"{cuts[p - 1] * 1000:10.1f}" for p in (50, 99))


@contextmanager
def running(settings: Settings, scratch: Path) -> Iterator[Meter]:
    """Start a web process and a projector."""
    processes = (
        jabba_process(role, environment=settings.as_environ(), log=scratch / f"{role}.log")
        for role in ("projector", "web")
    )
    with next(processes) as projector, next(processes) as web:
        projector.start()
        web.start().wait_for_port(settings.web_port)
        yield Meter(web)


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description="Measure open live streams.")
    parser.add_argument("--streams", type=int, nargs="+", default=[1000, 5000])
    parser.add_argument("--events", type=float, default=200.0, help="events a second")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--filter", default="", help="a filter of all streams, as a text")
    given = parser.parse_args()
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    with (
        tempfile.TemporaryDirectory() as scratch,
        KafkaServer(Path(scratch, "kafka"), jvm=BENCHMARK_JVM) as kafka,
        PostgresServer(Path(scratch, "postgres")) as postgres,
    ):
        settings = Settings(
            kafka=kafka.bootstrap, database=SecretStr(postgres.dsn), web_port=free_port(), access="open"
        )
        asyncio.run(admin.create_topics(settings.cluster))
        migrations.upgrade(postgres.dsn)
        print(" streams  RSS (MB)  each (kB)  RSS after (MB)  CPU quiet  CPU busy  p50 (ms)  p99 (ms)")
        for streams in given.streams:
            with running(settings, Path(scratch)) as meter:
                print(asyncio.run(measure(settings, meter, streams, given)), flush=True)


if __name__ == "__main__":
    main()
