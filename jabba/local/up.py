"""All of Jabba on one machine: broker, database, projector, workers and web under one supervisor."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import aiohttp

from jabba.auth.api_keys import id_of, new_key
from jabba.auth.roles import EVERY_TYPE, Role
from jabba.callbacks import registry
from jabba.clock import SystemClock
from jabba.database import api_keys, migrations
from jabba.database.connection import Database
from jabba.kafka import admin
from jabba.local import data_directory, ports
from jabba.local.broker import EmbeddedBroker
from jabba.local.ports import check_port, is_free
from jabba.local.postgres import EmbeddedDatabase
from jabba.local.reconcile import reconcile
from jabba.local.supervisor import SUPERVISOR, Program, Say, Supervisor
from jabba.settings import Settings, SettingsError, remove_libpq_variables

Announce = Callable[[str, Settings], None]
"""Told the URL and the settings that everything runs on once the web process is ready."""

_READY_POLL_SECONDS = 0.1
_DATABASE = "jabba"
_STARTS = 3
"""So often PostgreSQL may fail to start at first: what a killed one left behind takes a moment to go."""

_NAME_OF_KEY = "jabba up"


@dataclass(frozen=True, slots=True)
class House:
    """What ``jabba up`` was asked to run, and whether it brings a broker and a database along."""

    settings: Settings
    workers: int = 1
    own_broker: bool = True
    own_database: bool = True


def run(house: House, say: Say, announce: Announce) -> None:
    """Run all of it until SIGINT or SIGTERM; a second signal ends it at once.

    Raises:
        NotReady: the port is taken, the data directory cannot be written, or a module with callbacks is missing.
        SettingsError: the embedded broker is to be reached in a way that it does not know, or the services file
            is wrong.
        DatabaseFailed: the embedded database does not start.
    """
    if house.own_broker and house.settings.kafka_protocol != "plaintext":
        raise SettingsError("JABBA_KAFKA_PROTOCOL: the embedded broker speaks plaintext; --kafka names another one")
    registry.check(house.settings.callbacks)
    house.settings.open_services(SystemClock().monotonic)
    check_port(house.settings.web_host, house.settings.web_port)
    data_directory.prepare(house.settings.data)
    say(SUPERVISOR, f"starting Jabba at {url_of(house.settings)}; it keeps its data in {house.settings.data}")
    with _embedded(house, say) as embedded:
        asyncio.run(_Running(embedded, house.workers, say, announce).until_signal())


@dataclass(frozen=True, slots=True)
class Embedded:
    """The embedded parts, the settings that lead to them, and what only the callbacks of workers have to do with.

    ``libpq`` are the variables that this process's environment had for the user's own PostgreSQL.
    """

    settings: Settings
    broker: EmbeddedBroker | None = None
    database: EmbeddedDatabase | None = None
    libpq: Mapping[str, str] = field(default_factory=dict)


@contextlib.contextmanager
def _embedded(house: House, say: Say) -> Iterator[Embedded]:
    """Prepare the embedded parts; nobody else can use their directory meanwhile."""
    # Workers of one machine: no two of them may have the same name.
    found: dict[str, object] = {"instance": ""}
    broker = _broker(house.settings.data) if house.own_broker else None
    if broker is not None:
        found["kafka"] = broker.bootstrap
    database, libpq = None, {}
    with contextlib.ExitStack() as prepared:
        if house.own_database:
            say(SUPERVISOR, f"starting PostgreSQL in {house.settings.data}")
            libpq = remove_libpq_variables()
            database = EmbeddedDatabase(house.settings.data)
            database.prepare()
            prepared.callback(database.release)
            found["database"] = database.dsn(_DATABASE)
        settings = Settings.model_validate(house.settings.model_dump(exclude_unset=True) | found)
        yield Embedded(settings, broker, database, libpq)
        say(SUPERVISOR, "stopped")


class _Running:
    """The child processes, from the first to the last signal."""

    def __init__(self, embedded: Embedded, workers: int, say: Say, announce: Announce) -> None:
        self._settings = embedded.settings
        self._workers = workers
        self._broker = embedded.broker
        self._database = embedded.database
        self._libpq = embedded.libpq
        self._say = say
        self._announce = announce
        self._supervisor = Supervisor(say)
        self._stopping = asyncio.Event()

    async def until_signal(self) -> None:
        """Bring all up, and stop it in order on a signal or when something does not come up."""
        loop = asyncio.get_running_loop()
        for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # `nohup` ignores the one that a closed terminal sends.
            if one != signal.SIGHUP or signal.getsignal(one) != signal.SIG_IGN:
                loop.add_signal_handler(one, self._signalled)
        coming = asyncio.create_task(self._bring_up())
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({coming, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if coming.done():
                coming.result()
                await stopping
        finally:
            coming.cancel()
            stopping.cancel()
            await self._supervisor.stop()

    def _signalled(self) -> None:
        if self._stopping.is_set():
            self._supervisor.kill()
        else:
            self._say(SUPERVISOR, "stopping; a second Ctrl-C ends everything at once")
            self._stopping.set()

    async def _bring_up(self) -> None:
        """Start everything; the web last, when there is someone for whom it can take jobs."""
        if self._database is not None:
            await self._start_database(self._database)
        if self._broker is not None:
            await self._start_broker(self._broker)
        await self._initialise()
        await self._keep_a_key()
        self._supervisor.start(self._program("projector", "projector"))
        names = [f"worker-{number}" for number in range(1, self._workers + 1)] if self._workers > 1 else ["worker"]
        self._supervisor.start(*(self._program(name, "worker", number) for number, name in enumerate(names, 1)))
        self._supervisor.start(self._program("web", "web"))
        await self._web_is_ready()
        data_directory.write_places(self._settings.data, url_of(self._settings), self._settings)
        self._announce(url_of(self._settings), self._settings)

    async def _start_database(self, database: EmbeddedDatabase) -> None:
        """Start PostgreSQL, first of all and so the last to be stopped; when it dies it comes back with its data."""
        (child,) = self._supervisor.start(database.program)
        while not await asyncio.to_thread(database.answers):
            if child.lives >= _STARTS:
                raise database.failure("PostgreSQL does not start")
            await asyncio.sleep(_READY_POLL_SECONDS)
        await asyncio.to_thread(database.ensure_database, _DATABASE)

    async def _start_broker(self, broker: EmbeddedBroker) -> None:
        """Start the broker, before all that need it; when it dies it comes back with its data."""
        if not broker.directory.exists():
            broker.directory.parent.mkdir(parents=True, exist_ok=True)
            _mark_of_new_log(broker).touch()
        self._supervisor.start(Program("broker", broker.command, self._settings.environ_of_child()))
        while True:
            if await asyncio.to_thread(broker.answers):
                return
            await asyncio.sleep(_READY_POLL_SECONDS)

    async def _initialise(self) -> None:
        await admin.create_topics(self._settings.cluster)
        await asyncio.to_thread(migrations.upgrade, self._settings.database.get_secret_value())
        if self._broker is not None and _mark_of_new_log(self._broker).exists():
            count = await reconcile(self._settings)
            if count:
                self._say(
                    SUPERVISOR, f"the log is new: {count} unfinished {'job' if count == 1 else 'jobs'} go on in it"
                )
            _mark_of_new_log(self._broker).unlink()

    async def _keep_a_key(self) -> None:
        """Make an admin's key, unless the one that is kept is valid in this database."""
        data = self._settings.data
        async with Database(self._settings.database.get_secret_value(), size=1) as database:
            if not await _is_valid(database, data_directory.read(data)):
                now = datetime.fromtimestamp(SystemClock().now(), UTC)
                key, text = new_key(Role.ADMIN, now, types=EVERY_TYPE, name=_NAME_OF_KEY)
                await api_keys.create(database, key)
                data_directory.write(data, text)
        self._say(SUPERVISOR, f"the key is in {data_directory.path_of(data)}")

    async def _web_is_ready(self) -> None:
        async with aiohttp.ClientSession() as session:
            while True:
                if await _answers(session, f"{url_of(self._settings)}/health/ready"):
                    return
                await asyncio.sleep(_READY_POLL_SECONDS)

    def _program(self, name: str, role: str, number: int = 0) -> Program:
        own = self._libpq if role == "worker" else {}
        environment = {**own, **self._settings.environ_of_child(), "PYTHONUNBUFFERED": "1"}
        if self._settings.metrics_port:
            environment["JABBA_METRICS_PORT"] = str(self._settings.metrics_port + number)
        return Program(name, [sys.executable, "-m", "jabba", role], environment)


def _broker(data: Path) -> EmbeddedBroker:
    """Make the broker, at its port of the last time if that is free: services need not be told anew where it is."""
    last = (data_directory.kafka(data) or "").rpartition(":")[2]
    return EmbeddedBroker(data / "broker", port=int(last) if last.isdecimal() and is_free(int(last)) else None)


def _mark_of_new_log(broker: EmbeddedBroker) -> Path:
    """Return the file that is there from before a log begins until it holds what PostgreSQL has unfinished."""
    return broker.directory.with_suffix(".new")


def url_of(settings: Settings) -> str:
    """Return where this machine finds the web process."""
    return ports.url_of(settings.web_host, settings.web_port)


async def _is_valid(database: Database, text: str | None) -> bool:
    key_id = id_of(text or "")
    if text is None or key_id is None:
        return False
    found = (await api_keys.find(database, [key_id])).get(key_id)
    return found is not None and found.is_text(text) and not found.is_over(SystemClock().now())


async def _answers(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(url) as response:
            return response.status == 200  # noqa: PLR2004 — HTTP's OK
    except (aiohttp.ClientError, TimeoutError, OSError):
        return False
