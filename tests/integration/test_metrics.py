"""``/metrics`` and health of real processes that do real work."""

import re
import signal
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from aiohttp import ClientConnectorError, ClientSession
from prometheus_client.parser import text_string_to_metric_families

from jabba import Producer, outbox
from jabba.kafka.writer import Log
from jabba.local.ports import free_port
from jabba.monitoring.metrics import PROJECTOR, RELAY, WEB, WORKER, Shown
from jabba.settings import Settings
from tests.support.http import get, post, serving
from tests.support.kafka import KafkaServer
from tests.support.postgres import PostgresServer
from tests.support.processes import ChildProcess, eventually, jabba_process

MODULE = "tests.support.callbacks"
SLOTS = 7

Samples = dict[tuple[str, ...], float]


@dataclass(frozen=True)
class House:
    settings: Settings
    worker: str
    projector: str


@pytest.fixture
def options() -> dict[str, Any]:
    return {"partitions": 2, "callbacks": [MODULE], "slots": SLOTS}


@pytest.fixture
def house(settings: Settings, tmp_path: Path) -> Iterator[House]:
    with ExitStack() as running:
        urls = {}
        for role in ("worker", "projector"):
            port = free_port()
            child = running.enter_context(process(role, settings, port, tmp_path).start())
            running.callback(child.terminate)
            child.wait_for_line(f"{role} ready", 60)
            urls[role] = f"http://127.0.0.1:{port}"
        yield House(settings, urls["worker"], urls["projector"])


def process(role: str, settings: Settings, port: int, directory: Path, **more: str) -> ChildProcess:
    environment = {**settings.as_environ(), "JABBA_METRICS_PORT": str(port), **more}
    return jabba_process(role, environment=environment, log=directory / f"{role}.log")


async def scraped(http: ClientSession, url: str, metrics: tuple[Shown, ...]) -> Samples:
    async with http.get(f"{url}/metrics") as response:
        assert (response.status, response.content_type) == (200, "text/plain")
        families = list(text_string_to_metric_families(await response.text()))
    known = {one.name.removesuffix("_total"): one.kind for one in metrics}
    assert {one.name: one.type for one in families if one.name.startswith("jabba_")} == known
    return {(one.name, *one.labels.values()): one.value for family in families for one in family.samples}


async def test_a_worker_and_a_projector_tell_of_their_work_and_that_they_live(house: House) -> None:
    tasks: list[Any] = [["local", MODULE, name, args] for name, args in (("echo", [1]), ("raises", []), ("echo", [2]))]
    settings = house.settings
    async with (
        ClientSession() as http,
        Log(settings.kafka_access) as log,
        Producer(settings.kafka, prefix=settings.prefix) as producer,
    ):
        await producer.create_job(tasks, "test", strategy="concurrent")
        await producer.create_job(["local", MODULE, "error", ["why"]], "test")
        await log.append(settings.topics.tasks, 0, b"no JSON")

        async def work_is_told() -> bool:
            worker = await scraped(http, house.worker, WORKER)
            # More, if a step takes so long that its start is told.
            told = worker["jabba_events_acknowledged_total",] >= 4 and not worker["jabba_events_waiting",]
            ended = worker["jabba_step_seconds_count",] == 4
            return told and ended and not lag(worker, "jabba_lag_messages")

        async def projection_is_told() -> bool:
            projector = await scraped(http, house.projector, PROJECTOR)
            messages = projector.get(("jabba_projected_messages_total", settings.topics.tasks), 0)
            return messages == 5 and not lag(projector, "jabba_projection_lag_messages")

        await eventually(work_is_told, what="work told")
        await eventually(projection_is_told, what="projection told")
        worker = await scraped(http, house.worker, WORKER)
        projector = await scraped(http, house.projector, PROJECTOR)
        assert await get(http, f"{house.worker}/health/live") == (200, {"status": "live"})
        assert await get(http, f"{house.projector}/health/live") == (200, {"status": "live"})
        assert await get(http, f"{house.worker}/health/ready") == (200, {"status": "ready"})
        assert await get(http, f"{house.projector}/health/ready") == (200, {"status": "ready"})
    outcomes = {word: worker["jabba_steps_total", word] for word in ("succeeded", "failed", "rescued", "cancelled")}
    assert outcomes == {"succeeded": 2, "failed": 1, "rescued": 1, "cancelled": 0}
    assert worker["jabba_step_seconds_count",] == 4
    assert worker["jabba_slots",] == SLOTS
    assert worker["jabba_records_written_total",] >= 4
    assert worker["jabba_partitions_owned",] == worker["jabba_epochs_taken_total",] == 2
    assert worker["jabba_rebalances_total",] >= 1
    assert worker["jabba_steps_running",] == worker["jabba_events_waiting",] == 0
    assert projector["jabba_projection_faults_total",] == 1
    assert projector["jabba_projection_batch_seconds_count",] >= 1


async def test_a_worker_is_not_ready_while_it_hands_over_nor_who_waits_for_it(
    settings: Settings, tmp_path: Path
) -> None:
    end, ports = tmp_path / "end", (free_port(), free_port())
    patient = {"JABBA_HANDOVER_SECONDS": "60"}
    old, new = (process("worker", settings, port, tmp_path, **patient) for port in ports)
    new.log = tmp_path / "new.log"
    async with ClientSession() as http:

        async def tells(port: int, expected: str) -> bool:
            return re.fullmatch(expected, await readiness(http, port)) is not None

        with old.start(), new:
            await eventually(lambda: tells(ports[0], "ready"), what="readiness")
            assert "worker ready" in old.output()
            async with Producer(settings.kafka, prefix=settings.prefix) as producer:
                await producer.create_job(["local", MODULE, "waits_for", [str(end)]], "test")

            async def runs() -> bool:
                return (await scraped(http, f"http://127.0.0.1:{ports[0]}", WORKER))["jabba_steps_running",] == 1

            await eventually(runs, what="a running step")
            old.send_signal(signal.SIGTERM)
            await eventually(lambda: tells(ports[0], "not ready: it hands its partitions over"), what="a hand-over")
            new.start()
            # The other one has nothing to wait for.
            await eventually(lambda: tells(ports[1], "not ready: it loads partition [01]"), what="a loading")
            assert "worker ready" not in new.output()
            end.touch()
            await eventually(lambda: tells(ports[1], "ready"), what="readiness")
            assert "worker ready partitions=2" in new.output()
            assert old.wait_for_exit() == 0
            assert new.terminate() == 0


async def readiness(http: ClientSession, port: int) -> str:
    """Return what a process says of its readiness, nothing while it does not answer."""
    with suppress(ClientConnectorError):
        status, told = await get(http, f"http://127.0.0.1:{port}/health/ready")
        return str(told["status"] if status == 200 else told["message"])
    return ""


_SEEN = ("jabba_outbox_waiting", "jabba_outbox_set_aside")


async def test_a_relay_tells_of_its_outbox(settings: Settings, postgres: PostgresServer, tmp_path: Path) -> None:
    port, source = free_port(), postgres.create_database(f"shop_{uuid4().hex}")
    with psycopg.connect(source) as connection:
        connection.execute(outbox.DDL)
        jobs = [outbox.add(connection, ["local", "shop", "ship"], "t").id for _ in range(4)]
        connection.execute("UPDATE jabba_outbox SET job = '[]' WHERE id = %s", [jobs[0]])
        # It rests: nobody knows whether it was sent, and it is not looked for yet.
        late = "UPDATE jabba_outbox SET added_at = added_at - interval '1 hour', sent_at = now() - interval '245 s'"
        connection.execute(late + " WHERE id = %s", [jobs[1]])
    environment = {"JABBA_OUTBOX": source}
    with process("outbox", settings, port, tmp_path, **environment).start() as child:
        child.wait_for_line("outbox relay ready", 60)
        async with ClientSession() as http:

            async def seen() -> Samples | None:
                found = await scraped(http, f"http://127.0.0.1:{port}", RELAY)
                told = [value for (name, *_), value in found.items() if name in _SEEN]
                return found if told == [1, 1] else None

            found = await eventually(seen, what="empty outbox but for two") or {}
            assert await get(http, f"http://127.0.0.1:{port}/health/live") == (200, {"status": "live"})
            assert await get(http, f"http://127.0.0.1:{port}/health/ready") == (200, {"status": "ready"})
        assert child.terminate() == 0
    assert (found["jabba_outbox_relayed_total",], found["jabba_outbox_refused_total",]) == (2, 1)
    assert 3600 <= found["jabba_outbox_oldest_seconds",] < 3700


def lag(samples: Samples, name: str) -> float:
    """Return how many messages wait in all partitions, each of which must have told."""
    found = [value for key, value in samples.items() if key[0] == name]
    return sum(found) if len(found) >= 2 else 1


async def test_the_web_tells_of_requests_submissions_and_streams(settings: Settings) -> None:
    async with serving(settings) as http:
        await post(http, "/v1/jobs", {"tasks": ["local", "shop", "ship"], "type": "t"})
        await post(http, "/v1/jobs", {"tasks": [], "type": "t"})
        await get(http, "/v1/jobs")
        async with http.request("PURGE", "/nowhere") as nowhere:
            assert nowhere.status == 404
        async with http.get("/v1/events") as stream:
            await stream.content.readany()
            found = await scraped(http, str(http._base_url).rstrip("/"), WEB)
        again = await scraped(http, str(http._base_url).rstrip("/"), WEB)
    assert found["jabba_http_requests_total", "POST", "/v1/jobs", "201"] == 1
    assert found["jabba_http_requests_total", "POST", "/v1/jobs", "422"] == 1
    assert found["jabba_http_request_seconds_count", "GET", "/v1/jobs"] == 1
    assert found["jabba_http_requests_total", "other", "other", "404"] == 1
    assert (found["jabba_submissions_total", "accepted"], found["jabba_submissions_total", "invalid_request"]) == (1, 1)
    assert found["jabba_live_streams",] == 1
    assert found["jabba_database_connections", "idle"] >= 1
    assert again["jabba_http_requests_total", "GET", "/metrics", "200"] == 1


@pytest.mark.parametrize("role", ["worker", "projector", "outbox"])
def test_a_port_that_is_taken_is_told_at_once(
    role: str, settings: Settings, kafka: KafkaServer, tmp_path: Path
) -> None:
    taken = int(kafka.bootstrap.rpartition(":")[2])
    with process(role, settings, taken, tmp_path, JABBA_OUTBOX=settings.database.get_secret_value()).start() as child:
        assert child.wait_for_exit(60) == 3
        assert f"port {taken} of 127.0.0.1 cannot be used" in child.output()
        assert "choose another one with JABBA_METRICS_PORT" in child.output()
