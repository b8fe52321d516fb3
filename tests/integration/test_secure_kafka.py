"""Every process and client on a Kafka that wants TLS and a user, or a certificate."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import psutil
import pytest

from jabba import Client, KafkaSecurity, Producer, Refused
from jabba.kafka import admin
from jabba.local.ports import free_port
from jabba.settings import Settings
from tests.support.callbacks import EXECUTIONS
from tests.support.certificates import Authority
from tests.support.kafka import PASSWORD, USER, KafkaServer
from tests.support.keys import AUTHORIZATION, KEY, add_key
from tests.support.live import listening
from tests.support.postgres import PostgresServer
from tests.support.processes import ChildProcess, jabba_process

MODULE = "tests.support.callbacks"
KEY_PASSWORD = "of-the-key"  # noqa: S105 — of a key that lives as long as a test
SECRETS = (PASSWORD, KEY_PASSWORD)


@dataclass(frozen=True)
class House:
    environment: dict[str, str]
    directory: Path
    security: KafkaSecurity
    processes: list[ChildProcess] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.environment['JABBA_WEB_PORT']}"

    def producer(self) -> Producer:
        return Producer(
            self.environment["JABBA_KAFKA"], prefix=self.environment["JABBA_PREFIX"], security=self.security
        )

    def command(self, name: str, *arguments: str, **changes: str) -> ChildProcess:
        log = self.directory / f"{name}.log"
        return jabba_process(*arguments, environment=self.environment | changes, log=log).start()


@pytest.fixture(scope="module")
def certificate(authority: Authority) -> Path:
    """A client's certificate and its encrypted key."""
    return authority.issue("client", password=KEY_PASSWORD)


@pytest.fixture(scope="module")
def house(
    kafka: KafkaServer,
    authority: Authority,
    certificate: Path,
    postgres: PostgresServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[House]:
    """A web, a projector and a worker that show a user's password, and a worker that shows a certificate."""
    directory = tmp_path_factory.mktemp("secure")
    user: dict[str, Any] = {
        "protocol": "sasl_ssl",
        "sasl": "scram-sha-512",
        "user": USER,
        "password": PASSWORD,
        "ca": authority.ca,
    }
    environment = {
        "JABBA_KAFKA": kafka.secure,
        **variables(**user),
        "JABBA_DATABASE": postgres.create_database(f"secure_{uuid4().hex}"),
        "JABBA_PREFIX": f"s-{uuid4().hex[:8]}",
        "JABBA_PARTITIONS": "4",
        "JABBA_CALLBACKS": MODULE,
        "JABBA_WEB_PORT": str(free_port()),
        "JABBA_LOG_LEVEL": "debug",
        EXECUTIONS: str(directory / "executions"),
    }
    mutual = variables(protocol="ssl", sasl="", user="", password="", ca=authority.ca, cert=certificate)
    mutual |= variables(cert_key_password=KEY_PASSWORD) | {"JABBA_KAFKA": kafka.mutual}
    mutual[EXECUTIONS] = str(directory / "executions-2")
    made = House(environment, directory, KafkaSecurity(**user))
    init = made.command("init", "init")
    assert init.wait_for_exit(60) == 0, init.account("failed")
    add_key(environment["JABBA_DATABASE"])
    with ExitStack() as running:
        for name, changes in {"worker": {}, "worker-2": mutual, "web": {}, "projector": {}}.items():
            process = made.command(name, name.partition("-")[0], **changes)
            made.processes.append(running.enter_context(process))
        for process, ready in zip(made.processes, ["worker ready"] * 2 + ["web ready", "projector ready"], strict=True):
            process.wait_for_line(ready, 60)
        yield made
        assert [process.terminate() for process in made.processes] == [0] * 4


def variables(**given: Any) -> dict[str, str]:
    return {f"JABBA_KAFKA_{name.upper()}": str(value) for name, value in given.items()}


async def test_jobs_are_submitted_run_and_told(house: House) -> None:
    note = ["local", MODULE, "note"]
    async with (
        house.producer() as producer,
        Client(house.url, key=KEY) as client,
        aiohttp.ClientSession(house.url, headers=AUTHORIZATION) as http,
    ):
        jobs = [await producer.create_job([*note, [n]], "secure") for n in range(40)]
        jobs.append(await client.create_job([*note, ["http"]], "secure"))
        ended = [await client.wait(one, timeout=60) for one in jobs]
        async with listening(http, job=str(jobs[-1].id), **{"from": "beginning"}) as stream:
            events = [one.kind async for one in stream]
        async with http.get("/v1/stats") as statistics:
            assert statistics.status == 200, await statistics.text()

    assert {job.status for job in ended} == {"PROCESSED"}
    assert events == ["task_succeeded", "job_ended"]
    lines = [(house.directory / name).read_text().splitlines() for name in ("executions", "executions-2")]
    assert all(lines), "each worker has run some"
    assert len(lines[0] + lines[1]) == len(jobs)


def test_commands_reach_it_too(house: House) -> None:
    letters = house.command("letters", "dead-letters", "list", "--json")
    assert letters.wait_for_exit(60) == 0, letters.account("failed")
    assert letters.output().strip() == "[]"
    reconcile = house.command("reconcile", "reconcile")
    assert reconcile.wait_for_exit(60) == 3
    assert "the log holds all that is projected" in reconcile.output()


@pytest.mark.parametrize(
    "listener, given",
    [
        ("named", {"protocol": "sasl_plaintext", "sasl": "scram-sha-256", "user": USER, "password": PASSWORD}),
        ("secure", {"protocol": "sasl_ssl", "sasl": "plain", "user": USER, "password": PASSWORD}),
        ("mutual", {"protocol": "ssl", "cert_key_password": KEY_PASSWORD}),
    ],
)
async def test_each_way_in_is_open(
    listener: str, given: dict[str, Any], kafka: KafkaServer, authority: Authority, certificate: Path
) -> None:
    files: dict[str, Any] = {"ca": authority.ca} if given["protocol"].endswith("ssl") else {}
    files |= {"cert": certificate} if listener == "mutual" else {}
    environ = variables(**given, **files) | {"JABBA_KAFKA": getattr(kafka, listener), "JABBA_PREFIX": f"w-{listener}"}
    settings = Settings.from_environ(environ, partitions=1)
    await admin.create_topics(settings.cluster)

    assert await admin.check_topics(settings.cluster) == 1
    security = KafkaSecurity(**given, **files)
    async with Producer(settings.kafka, prefix=settings.prefix, security=security) as producer:
        assert (await producer.create_job(["local", "m", "f", []], "t")).position == {0: 1}


def test_whoever_is_not_let_in_says_so_and_ends(house: House, tmp_path: Path) -> None:
    """At once, on every way to Kafka; nothing hangs, and web does not start all the same."""
    wrong_password = variables(password="wrong"), "SaslAuthenticationFailed"  # noqa: S106 — wrong
    wrong_authority = variables(ca=Authority(tmp_path).ca), "its certificate is not valid for us"
    web = "web", "--port", str(free_port())
    commands = [("init",), ("worker",), web, ("projector",), ("dead-letters", "list")]
    tried = [(command, *wrong_password) for command in commands] + [(web, *wrong_authority)]
    started = [
        (house.command(f"refused-{number}", *command, **changes), reason)
        for number, (command, changes, reason) in enumerate(tried)
    ]
    for process, reason in started:
        assert process.wait_for_exit(60) == 3, process.account("did not exit with 3")
        # At level debug the traceback stands before it.
        said = [line for line in process.output().splitlines() if line.startswith("Error: ")]
        assert len(said) == 1, said
        assert said[0].startswith(f"Error: Kafka at {house.environment['JABBA_KAFKA']} does not let us in: ")
        assert reason in said[0]


async def test_a_producer_that_is_not_let_in_says_so(kafka: KafkaServer, authority: Authority) -> None:
    for security, reason in [
        (KafkaSecurity(protocol="ssl", ca=authority.ca), "TLS fails"),
        (KafkaSecurity(protocol="ssl"), "its certificate is not valid for us"),
    ]:
        with pytest.raises(Refused, match=reason):
            async with Producer(kafka.mutual, security=security):
                pass


def test_no_password_is_told_to_anyone(house: House) -> None:
    """At level debug; nor does one stand where every user of the machine may read it."""
    written = [path.read_text(errors="replace") for path in house.directory.glob("*.log")]
    arguments = [" ".join(psutil.Process(one.pid).cmdline()) for one in house.processes]

    assert len(written) > 5
    assert sum("Authenticated as shop" in text for text in written) > 2
    assert [secret for secret in SECRETS for text in written + arguments if secret in text] == []
