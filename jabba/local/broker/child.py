"""The broker as a process of its own."""

import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from time import sleep

from jabba.clock import Clock, SystemClock
from jabba.local.broker.server import HOST, BrokerFailed
from jabba.local.child import command_of_child
from jabba.local.ports import free_port

_POLL_SECONDS = 0.01
_START_SECONDS = 120  # it reads the headers of all its logs first
_STOP_SECONDS = 15
_LOG_TAIL_BYTES = 4000


class EmbeddedBroker:
    """A Kafka of one node in a child process, which keeps its data in a directory between runs.

    It listens on 127.0.0.1 only, at ``port``: when it is killed and started again, clients find it again. What it
    has acknowledged it still has then. One process at a time may use the directory.

    Call ``start`` from the main thread: on Linux the broker shuts down when the thread that started it ends. Or leave
    that to a supervisor, which runs ``command`` and waits until it ``answers``.
    """

    def __init__(self, directory: Path, *, port: int | None = None, clock: Clock | None = None) -> None:
        self.directory = directory.absolute()
        self.port = port or free_port()
        self.log = self.directory / "broker.log"
        self._clock = clock or SystemClock()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap(self) -> str:
        """The address to connect to, ``127.0.0.1:PORT``."""
        return f"{HOST}:{self.port}"

    @property
    def command(self) -> list[str]:
        """The program that is this broker, and its arguments."""
        arguments = ["--directory", str(self.directory), "--port", str(self.port)]
        return [sys.executable, "-m", "jabba.local.broker", *arguments]

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process id of the started broker; BrokerFailed when it was never started."""
        if self._process is None:
            raise BrokerFailed("the embedded broker was not started")
        return self._process.pid

    def answers(self) -> bool:
        """Whether it accepts connections now."""
        with suppress(OSError), socket.create_connection((HOST, self.port), timeout=1):
            return True
        return False

    def start(self) -> None:
        """Start the broker and return when it answers; raises BrokerFailed."""
        if self.answers():
            raise BrokerFailed(f"something else listens on port {self.port}")
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                command_of_child(self.command, when_orphaned=signal.SIGTERM),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # the terminal's Ctrl-C is for the one who started this
            )
        deadline = self._clock.monotonic() + _START_SECONDS
        while not self.answers():
            if not self.running or self._clock.monotonic() > deadline:
                self.stop()
                raise BrokerFailed(f"the embedded broker does not start; {self.log} ends with:\n{self._last_words()}")
            sleep(_POLL_SECONDS)

    def stop(self) -> None:
        """Stop it; harmless when it does not run."""
        if self._process is None:
            return
        for how in (signal.SIGTERM, signal.SIGKILL):
            self._process.send_signal(how)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_STOP_SECONDS)
                break

    def kill(self) -> None:
        """End it by SIGKILL; what it has acknowledged is there when it is started again."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _last_words(self) -> str:
        return self.log.read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace")
