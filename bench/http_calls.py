"""What a call of a service over HTTP costs the worker, beside a callback of its own.

    python -m bench.http_calls
    python -m bench.http_calls --calls 20000 --concurrency 100

The service is another process on loopback that answers at once, so that what is measured is the caller: request, body,
two signatures, connection, answer. Neither Kafka nor an engine takes part; `bench.worker` has those.
"""

import argparse
import asyncio
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from uuid import UUID, uuid4

from aiohttp import web

import jabba
from jabba.callbacks.http import HttpRunner
from jabba.callbacks.local import LocalRunner
from jabba.callbacks.registry import TaskContext
from jabba.callbacks.results import Answer
from jabba.callbacks.services import KeyedService, Service
from jabba.callbacks.transport import Reply
from jabba.clock import SystemClock
from jabba.jobs.lifecycle import TaskSucceeded
from jabba.jobs.models import Callback
from jabba.local.ports import free_port
from tests.support.processes import is_listening

JOB = UUID(int=1)
KEYS = (bytes(32), bytes(range(32)))

Call = Callable[[TaskContext], Awaitable[Reply]]


@jabba.callback(module="bench", name="nothing")
async def nothing() -> dict[str, int]:
    """Do nothing."""
    return {"done": 1}


async def answer(request: web.Request) -> web.Response:
    """Return at once."""
    await request.read()
    return web.Response(body=b'{"ok":{"done":1}}', content_type="application/json")


def serve(port: int) -> None:
    """Be the service."""
    app = web.Application()
    app.router.add_post("/jabba", answer)
    web.run_app(app, host="127.0.0.1", port=port, access_log=None, print=None)


@contextmanager
def service() -> Iterator[str]:
    """Run the service beside this process; yield its URL."""
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "bench.http_calls", "--serve", str(port)])
    try:
        while not is_listening(port):
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}/jabba"
    finally:
        process.terminate()
        process.wait()


async def measure(name: str, call: Call, calls: int, concurrency: int) -> None:
    """Make so many calls and print what they took."""
    left = iter(range(calls))

    async def caller() -> None:
        for _ in left:
            context = TaskContext(JOB, uuid4(), 1)
            reply = await call(context)
            assert isinstance(reply, Answer), reply
            assert reply.event is TaskSucceeded, reply

    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(caller() for _ in range(concurrency)))
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    print(f"| {name} | {calls / seconds:,.0f} | {1e6 * cpu / calls:,.0f} |")


async def main(calls: int, concurrency: int) -> None:
    """Measure calls of a service, and those of a callback in the worker."""
    local, http = LocalRunner(1), HttpRunner(SystemClock())
    own = Callback(service="local", module="bench", function="nothing")
    remote = Callback(service="noop", module="bench", function="nothing")
    print("| callback | calls a second | µs of CPU a call |\n| --- | --- | --- |")
    await measure("local", partial(local.run, own), calls, concurrency)
    with service() as url:
        entry = Service(transport="http", url=[url], secrets=["whsec_"], concurrency=concurrency)
        for size, keys in ((concurrency, KEYS[:1]), (concurrency, KEYS), (1, KEYS)):
            keyed = KeyedService(entry, keys)
            name = f"http, {len(keys)} signature{'s' if len(keys) > 1 else ''}, {size} at a time"
            await measure(name, partial(http.run, remote, keyed), calls, size)
    local.close()
    await http.close()


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--calls", type=int, default=5000)
    options.add_argument("--concurrency", type=int, default=50)
    options.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.serve:
        serve(given.serve)
    else:
        asyncio.run(main(given.calls, given.concurrency))
