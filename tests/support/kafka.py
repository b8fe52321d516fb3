"""Apache Kafka itself, one broker in KRaft mode, for tests and benchmarks."""

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self, get_args

from jabba.kafka.acls import Process
from jabba.local.ports import free_port
from tests.support.certificates import Authority
from tests.support.processes import ChildProcess
from tests.support.rights import user_of

VERSION = "4.3.1"
# The quick compiler alone: up in 1.8 s instead of 2.6.
TEST_JVM = ("-Xmx512m", "-XX:TieredStopAtLevel=1")
BENCHMARK_JVM = ("-Xmx1g",)

_HERE = Path(__file__).parent
_CLUSTER_ID = "SmFiYmFUZXN0Q2x1c3RlcQ"
_INSTALL = "apt-get install -y openjdk-17-jdk-headless maven"
USER = "shop"
PASSWORD = "horse-battery-staple"  # noqa: S105 — of a broker that lives as long as a test
_LISTENERS = {"PLAINTEXT": "PLAINTEXT", "CONTROLLER": "PLAINTEXT"}
_SECURE_LISTENERS = {"NAMED": "SASL_PLAINTEXT", "SECURE": "SASL_SSL", "MUTUAL": "SSL"}
_MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
_PROPERTIES = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "auto.create.topics.enable": "false",
    "group.initial.rebalance.delay.ms": "0",
    "offsets.topic.num.partitions": "5",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.num.partitions": "5",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "log.cleaner.dedupe.buffer.size": str(16 * 1024 * 1024),
    # A broker that was killed may register again once its old session is over.
    "broker.session.timeout.ms": "2000",
    "broker.heartbeat.interval.ms": "500",
}


class KafkaServer:
    """One broker with its data in ``directory``, at ``bootstrap`` (``127.0.0.1:PORT``).

    ``stop`` or ``kill`` and ``start`` again keep port and data. Start it from the main thread: on Linux it is killed
    when the thread that started it ends. ``properties`` are added to the broker's own.

    With an ``authority`` it has more listeners: ``named`` wants ``USER`` and ``PASSWORD``, ``secure`` the same over
    TLS, ``mutual`` a certificate of the authority's. These may do all. By SASL ``plain`` there is a user of each
    process too, with the same password, who may do nothing until an ACL says so.
    """

    def __init__(
        self,
        directory: Path,
        *,
        jvm: Sequence[str] = TEST_JVM,
        properties: Mapping[str, str] | None = None,
        authority: Authority | None = None,
    ) -> None:
        listeners = _LISTENERS | (_SECURE_LISTENERS if authority else {})
        places = {name: f"127.0.0.1:{free_port()}" for name in listeners}
        self.bootstrap = places["PLAINTEXT"]
        self.named, self.secure, self.mutual = (places.get(name, "") for name in _SECURE_LISTENERS)
        self._directory = directory
        self._users = authority is not None
        self._jvm = jvm
        self._properties = {
            **_PROPERTIES,
            **(_security(authority) if authority else {}),
            "controller.quorum.voters": f"1@{places['CONTROLLER']}",
            "listener.security.protocol.map": ",".join(f"{name}:{protocol}" for name, protocol in listeners.items()),
            "listeners": ",".join(f"{name}://{place}" for name, place in places.items()),
            "advertised.listeners": ",".join(f"{name}://{places[name]}" for name in places if name != "CONTROLLER"),
            "log.dirs": str(directory / "data"),
            **(properties or {}),
        }
        self._process: ChildProcess | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def process(self) -> ChildProcess:
        """The broker's process."""
        assert self._process is not None, "Kafka was never started"
        return self._process

    def start(self) -> Self:
        """Start the broker and return when it serves; the data directory is made at the first start."""
        if self._process is None:
            self._process = self._prepare()
        self._process.start()
        self._process.wait_for_line("Kafka Server started", 60)
        return self

    def stop(self) -> None:
        """Shut down in order; harmless when it does not run."""
        if self._process is not None and self._process.running:
            self._process.terminate()

    def kill(self) -> None:
        """End it by ``kill -9``."""
        self.process.kill()

    def restart(self) -> Self:
        """Stop if it runs, and start on the same port with the same data."""
        self.stop()
        return self.start()

    def _prepare(self) -> ChildProcess:
        jars = kafka_jars()
        self._directory.mkdir(parents=True, exist_ok=True)
        config = self._directory / "server.properties"
        config.write_text("".join(f"{name}={value}\n" for name, value in self._properties.items()))
        tool = [*_java("-XX:TieredStopAtLevel=1", jars=jars), "kafka.tools.StorageTool", "format"]
        users = [part for one in _MECHANISMS[1:] for part in ("--add-scram", _scram(one))] if self._users else []
        _run([*tool, "--cluster-id", _CLUSTER_ID, "--config", str(config), "--ignore-formatted", *users])
        server = [*_java(*self._jvm, jars=jars), "kafka.Kafka", str(config)]
        return ChildProcess("kafka", server, environment=os.environ, log=self._directory / "kafka.log")


def _security(authority: Authority) -> dict[str, str]:
    login = "org.apache.kafka.common.security"
    users = " ".join(f'user_{one}="{PASSWORD}"' for one in (USER, *map(user_of, get_args(Process))))
    plain = f"{login}.plain.PlainLoginModule required {users};"
    logins = dict.fromkeys(_MECHANISMS, f"{login}.scram.ScramLoginModule required;") | {"PLAIN": plain}
    store = {"type": "PEM", "location": str(authority.issue("broker"))}
    trust = {"type": "PEM", "location": str(authority.ca)}
    return {
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "allow.everyone.if.no.acl.found": "false",
        "super.users": f"User:ANONYMOUS;User:{USER};User:CN=client",
        **{f"ssl.keystore.{name}": value for name, value in store.items()},
        **{f"ssl.truststore.{name}": value for name, value in trust.items()},
        "listener.name.mutual.ssl.client.auth": "required",
        "sasl.enabled.mechanisms": ",".join(_MECHANISMS),
        **{
            f"listener.name.{listener}.{one.lower()}.sasl.jaas.config": how
            for listener in ("named", "secure")
            for one, how in logins.items()
        },
    }


def _scram(mechanism: str) -> str:
    return f"{mechanism}=[name={USER},password={PASSWORD}]"


def kafka_jars() -> Path:
    """Return the directory of the broker's jars, fetched once per user with Maven into the user's cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jabba"
    jars = cache / f"kafka-{VERSION}"
    cache.mkdir(parents=True, exist_ok=True)
    with _locked(cache / f"kafka-{VERSION}.lock"):
        if not jars.exists():
            _fetch_jars(jars)
    return jars


def _fetch_jars(jars: Path) -> None:
    with tempfile.TemporaryDirectory(dir=jars.parent) as scratch:
        shutil.copy(_HERE / "kafka-pom.xml", Path(scratch, "pom.xml"))
        goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={scratch}/jars"]
        _run([_tool("mvn"), "-q", "-B", f"-Dkafka.version={VERSION}", "-f", f"{scratch}/pom.xml", *goal])
        Path(scratch, "jars").rename(jars)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _java(*options: str, jars: Path) -> list[str]:
    logging = f"-Dlog4j2.configurationFile={_HERE / 'kafka-log4j2.properties'}"
    return [_tool("java"), *options, logging, "-cp", f"{jars}/*"]


def _tool(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise RuntimeError(f"the tests run Apache Kafka and need {name}; on Debian: {_INSTALL}")
    return path


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
