"""Calls of a real HTTP service: submitted over HTTP, run by a worker, read back from PostgreSQL."""

import asyncio
import json
import subprocess
import sys
import threading
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from aiohttp import web

from jabba import Client, InvalidRequest
from jabba.callbacks.signature import secret_bytes, verify
from jabba.clock import SystemClock
from jabba.jobs.models import Job, TaskDetails
from jabba.local.ports import free_port
from tests.support.kafka import KafkaServer
from tests.support.keys import KEY, add_key
from tests.support.postgres import PostgresServer
from tests.support.processes import eventually, jabba_process, plain_environment

SECRET = "whsec_" + "A" * 43 + "="

RETRY = {"max_attempts": 3, "initial": 0.05, "max": 0.05}


@dataclass
class Billing:
    """A service whose function names say how it answers; it notes every call that is rightly signed."""

    port: int
    calls: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    effects: Counter[str] = field(default_factory=Counter)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        verify([secret_bytes(SECRET)], request.headers, body, SystemClock().now())
        call = json.loads(body)
        identity = request.headers["webhook-id"]
        self.calls[identity].append(call)
        answer: web.StreamResponse = await getattr(self, call["function"])(request, call, len(self.calls[identity]))
        return answer

    async def charge(self, request: web.Request, call: dict[str, Any], _: int) -> web.StreamResponse:
        self.effects[request.headers["webhook-id"]] += 1
        return web.json_response({"ok": {"charged": call["args"][0], "meta": call["meta"]}})

    async def flaky(self, _request: web.Request, _call: dict[str, Any], number: int) -> web.StreamResponse:
        return web.json_response({"ok": {"at": number}}) if number > 2 else web.Response(status=500, text="oops")

    async def declined(self, *_: Any) -> web.StreamResponse:
        return web.json_response({"error": {"code": "declined"}}, status=422)

    async def proxied(self, *_: Any) -> web.StreamResponse:
        return web.Response(text="<html>Welcome to nginx</html>", content_type="text/html")

    async def missing(self, *_: Any) -> web.StreamResponse:
        return web.Response(status=404)

    async def reset(self, request: web.Request, _call: dict[str, Any], number: int) -> web.StreamResponse:
        if number == 1:
            assert request.transport is not None
            request.transport.abort()
        return web.json_response({"ok": {"at": number}})

    async def slow(self, *_: Any) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    async def oversize(self, *_: Any) -> web.StreamResponse:
        return web.json_response({"ok": {"a": "x" * 3_000_000}}, headers={"jabba-answer": "1"})

    async def redirects(self, *_: Any) -> web.StreamResponse:
        return web.Response(status=307, headers={"location": "http://127.0.0.1:1/"})

    async def busy(self, _request: web.Request, _call: dict[str, Any], number: int) -> web.StreamResponse:
        if number == 1:
            return web.Response(status=503, headers={"retry-after": "0.1"})
        return web.json_response({"ok": {}})


@dataclass
class Services:
    """The services file, and the text of it that is right."""

    path: Path
    text: str

    def write(self, *more: str) -> None:
        self.path.write_text(self.text + "".join(more))


@pytest.fixture(scope="module")
def billing() -> Iterator[Billing]:
    """The service, in a thread with an event loop of its own."""
    service, loop, ready = Billing(free_port()), asyncio.new_event_loop(), threading.Event()

    async def serve() -> web.AppRunner:
        app = web.Application()
        app.router.add_post("/jabba", service.handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", service.port).start()
        return runner

    def run() -> None:
        runner = loop.run_until_complete(serve())
        ready.set()
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())

    thread = threading.Thread(target=run)
    thread.start()
    assert ready.wait(10)
    yield service
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory, billing: Billing) -> Services:
    """The services file."""
    made = Services(
        tmp_path_factory.mktemp("file") / "services.toml",
        f'[services.billing]\ntransport = "http"\nurl = "http://127.0.0.1:{billing.port}/jabba"\n'
        f'secrets = ["env:BILLING_SECRET"]\nretry = {json.dumps(RETRY).replace(":", " =").replace(chr(34), "")}\n',
    )
    made.write("")
    return made


@pytest.fixture(scope="module")
def url(
    kafka: KafkaServer, postgres: PostgresServer, file: Services, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    directory: Path = tmp_path_factory.mktemp("services")
    port = free_port()
    environment = {
        "JABBA_KAFKA": kafka.bootstrap,
        "JABBA_DATABASE": postgres.create_database(f"services_{uuid4().hex}"),
        "JABBA_PREFIX": f"s-{uuid4().hex[:8]}",
        "JABBA_PARTITIONS": "2",
        "JABBA_SERVICES": str(file.path),
        "JABBA_WEB_PORT": str(port),
        "BILLING_SECRET": SECRET,
    }
    with ExitStack() as running:
        init = jabba_process("init", environment=environment, log=directory / "init.log").start()
        assert init.wait_for_exit() == 0, init.account("failed")
        add_key(environment["JABBA_DATABASE"])
        worker, site, projector = (
            running.enter_context(jabba_process(role, environment=environment, log=directory / f"{role}.log").start())
            for role in ("worker", "web", "projector")
        )
        worker.wait_for_line("worker ready", 60)
        site.wait_for_port(port, 60)
        yield f"http://127.0.0.1:{port}"
        assert [process.terminate() for process in (worker, site, projector)] == [0, 0, 0]


@pytest.fixture
async def client(url: str) -> AsyncIterator[Client]:
    async with Client(url, key=KEY) as made:
        yield made


async def finished(client: Client, *tasks: Any, **options: Any) -> tuple[Job, list[TaskDetails]]:
    submitted = await client.create_job(list(tasks), "test", strategy="concurrent", **options)
    job = await client.wait(submitted, timeout=60)
    found = await client.get_tasks(job.id, cursor=(0, 1000))
    return job, [await client.get_task(task.id) for task in found]


def call(function: str, *args: Any, **options: Any) -> dict[str, Any]:
    return {"callback": ["billing", "Invoices", function, list(args)], **options}


async def test_a_job_calls_a_service(client: Client, billing: Billing) -> None:
    job, tasks = await finished(client, *(call("charge", n) for n in range(150)), meta={"tenant": "acme"})
    assert job.status == "PROCESSED"
    results = [task.result for task in tasks if isinstance(task.result, dict)]
    assert {one["charged"] for one in results} == set(range(150))
    assert all(one["meta"] == {"tenant": "acme"} for one in results)
    assert {billing.effects[f"{task.id}-0"] for task in tasks} == {1}


@pytest.mark.parametrize(
    "function, status, result, outcomes",
    [
        ("flaky", "PROCESSED", {"at": 3}, ["infrastructure", "infrastructure", "ok"]),
        ("declined", "FAILED", {"code": "declined"}, ["error"]),
        (
            "proxied",
            "FAILED",
            "HTTP 200 that is not an answer of the service: <html>",
            ["infrastructure"] * 3,
        ),
        ("missing", "FAILED", "HTTP 404 that is not an answer of the service", ["infrastructure"] * 3),
        ("reset", "PROCESSED", {"at": 2}, []),
        ("slow", "FAILED", "timeout", ["timeout"] * 3),
        ("oversize", "FAILED", "the answer is longer than 1,048,576 bytes", ["error"]),
        ("redirects", "FAILED", "a redirect to http://127.0.0.1:1/", ["infrastructure"]),
        ("busy", "PROCESSED", {}, ["ok"]),
    ],
)
async def test_a_failure_becomes_what_it_means(
    function: str, status: str, result: Any, outcomes: list[str], client: Client
) -> None:
    _, [task] = await finished(client, call(function, timeout=0.3 if function == "slow" else 20))
    assert task.status == status
    if isinstance(result, dict):
        assert task.result == result
    else:
        assert isinstance(task.result, dict)
        assert result in str(task.result["error"])
    if outcomes:
        assert [attempt.outcome for attempt in task.attempts] == outcomes
        assert {str(attempt.address).partition("127.0.0.1")[0] for attempt in task.attempts} == {"http://"}


async def test_attempts_say_what_was_called(client: Client, billing: Billing) -> None:
    _, [task] = await finished(client, call("flaky"))
    address = f"http://127.0.0.1:{billing.port}/jabba"
    assert [(one.status_code, one.address) for one in task.attempts] == [(500, address), (500, address), (200, address)]
    first, _, last = task.attempts
    assert (first.error, last.error) == ("HTTP 500 that is not an answer of the service: oops", None)
    assert last.ended_at is not None
    assert last.worker == first.worker


async def test_a_wait_is_no_attempt(client: Client) -> None:
    _, [task] = await finished(client, call("busy"))
    [attempt] = task.attempts
    assert (attempt.attempt, attempt.status_code, attempt.outcome) == (1, 200, "ok")
    # More than once if its breaker was open as well.
    assert attempt.waits >= 1


async def test_services_are_shown_without_their_secrets(client: Client, url: str, billing: Billing) -> None:
    local, found = sorted(await client.get_services(), key=lambda one: one["name"] != "local")
    assert (local["name"], local["timeout"], local["secrets"]) == ("local", None, 0)
    assert (found["name"], found["url"], found["secrets"]) == (
        "billing",
        [f"http://127.0.0.1:{billing.port}/jabba"],
        1,
    )
    assert "BILLING_SECRET" not in json.dumps(found)
    command = [sys.executable, "-m", "jabba", "services", "--url", url]
    shown = await asyncio.to_thread(
        subprocess.run,
        command,
        env=plain_environment() | {"JABBA_KEY": KEY},
        capture_output=True,
        text=True,
        check=True,
    )
    assert [line.split()[:2] for line in shown.stdout.splitlines()[1:]] == [["billing", "http"], ["local", "local"]]


async def test_a_changed_file_is_taken_up_and_a_broken_one_is_not(client: Client, url: str, file: Services) -> None:
    file.write('[services.more]\ntransport = "htt')
    assert (await finished(client, call("charge", 1)))[0].status == "PROCESSED"
    file.write('[services.again]\ntransport = "http"\n', file.text.split('"http"\n')[1])

    async def is_taken_up() -> bool:
        return [one["name"] for one in await client.get_services()] == ["again", "billing", "local"]

    await eventually(is_taken_up, what="changed file")

    async def is_called() -> bool:
        # The worker looks at the file within a second of a call: later than the web, perhaps.
        job, _ = await finished(client, {"callback": ["again", "Invoices", "charge", [3]]})
        return job.status == "PROCESSED"

    await eventually(is_called, what="call of the new service")
    file.write("")


async def test_an_unknown_service_is_refused_at_submission(client: Client) -> None:
    with pytest.raises(InvalidRequest) as raised:
        await client.create_job([["mars", "m", "f"]], "test")
    [error] = raised.value.fields
    assert error.field == "tasks[0].callback.service"
    assert error.message.startswith("unknown service 'mars': the services file (JABBA_SERVICES) has ")
