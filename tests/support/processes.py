"""Real child processes: start one, wait for what it does, end it, read its log."""

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self, TypeVar

from jabba.local.child import command_of_child

CHECKOUT = Path(__file__).resolve().parents[2]
_POLL_SECONDS = 0.02
_TAIL_LINES = 60

Answer = TypeVar("Answer")


class ChildProcess:
    """A program that runs beside the tests and dies with them.

    Start it from the main thread: on Linux it is killed when the thread that started it ends.
    The log collects both output streams of every start.
    """

    def __init__(self, name: str, program: Sequence[str | Path], *, environment: Mapping[str, str], log: Path) -> None:
        self.name = name
        self.log = log
        self._program = program
        self._environment = dict(environment)
        self._logged_before = 0
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.running:
            self.kill()

    def start(self) -> Self:
        """Start the program, from the root of the checkout."""
        assert not self.running, f"{self.name} already runs"
        with self.log.open("ab") as log:
            self._logged_before = log.tell()
            self._process = subprocess.Popen(
                command_of_child(self._program, when_orphaned=signal.SIGKILL),
                cwd=CHECKOUT,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process id of the program itself."""
        return self._started().pid

    def output(self) -> str:
        """What it wrote since its last start."""
        with self.log.open("rb") as log:
            log.seek(self._logged_before)
            return log.read().decode(errors="replace")

    def wait_for_line(self, pattern: str, seconds: float = 30) -> re.Match[str]:
        """Wait until it has written something that matches ``pattern``; return the match."""
        self.wait_until(lambda: re.search(pattern, self.output()) is not None, seconds, f"a line like {pattern!r}")
        found = re.search(pattern, self.output())
        assert found is not None
        return found

    def wait_for_port(self, port: int, seconds: float = 30) -> None:
        """Wait until something listens on ``port`` at 127.0.0.1."""
        self.wait_until(lambda: is_listening(port), seconds, f"port {port}")

    def wait_until(self, condition: Callable[[], bool], seconds: float = 30, what: str = "the condition") -> None:
        """Wait until ``condition()`` holds; fail with the log's tail when the process ends first, or too late."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert self.running, self.account(f"ended with {self._started().returncode} before {what}")
            assert time.monotonic() < deadline, self.account(f"did not reach {what} within {seconds} s")
            time.sleep(_POLL_SECONDS)

    def wait_for_exit(self, seconds: float = 30) -> int:
        """Wait until it ends by itself; return its exit code, negative for a signal."""
        try:
            return self._started().wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(self.account(f"did not end within {seconds} s")) from None

    def terminate(self, seconds: float = 30) -> int:
        """Ask it to end (SIGTERM); return its exit code."""
        self.send_signal(signal.SIGTERM)
        return self.wait_for_exit(seconds)

    def kill(self) -> None:
        """End it by ``kill -9``."""
        self.send_signal(signal.SIGKILL)
        self._started().wait()

    def send_signal(self, what: signal.Signals) -> None:
        """Send it a signal."""
        self._started().send_signal(what)

    def account(self, message: str) -> str:
        """Return ``message`` with the tail of the log, for a failure that explains itself."""
        tail = "\n".join(self.output().splitlines()[-_TAIL_LINES:])
        return f"{self.name} {message}; {self.log} ends with:\n{tail}"

    def _started(self) -> "subprocess.Popen[bytes]":
        assert self._process is not None, f"{self.name} was never started"
        return self._process


def plain_environment() -> dict[str, str]:
    """Return this process's environment without any setting of Jabba's."""
    return {name: value for name, value in os.environ.items() if not name.startswith("JABBA_")}


def jabba_process(*arguments: str, environment: Mapping[str, str], log: Path) -> ChildProcess:
    """Return ``python -m jabba ARGUMENTS``, not yet started, with these variables and no others of ``JABBA_*``."""
    return ChildProcess(
        f"jabba {' '.join(arguments)}",
        [sys.executable, "-m", "jabba", *arguments],
        environment={**plain_environment(), "PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1", **environment},
        log=log,
    )


def is_listening(port: int) -> bool:
    """Whether something accepts connections on ``port`` at 127.0.0.1."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


async def eventually(ask: Callable[[], Awaitable[Answer]], seconds: float = 30, what: str = "a true answer") -> Answer:
    """Ask again and again until the answer is true; return it, or fail with the last one."""
    deadline = time.monotonic() + seconds
    while not (answer := await ask()):
        assert time.monotonic() < deadline, f"no {what} within {seconds} s; the last was {answer!r}"
        await asyncio.sleep(_POLL_SECONDS)
    return answer
