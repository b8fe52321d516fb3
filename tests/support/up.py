"""``jabba up`` with its embedded parts, as a user runs it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import psutil

from tests.support.callbacks import EXECUTIONS
from tests.support.processes import ChildProcess, jabba_process

CALLBACKS = "tests.support.callbacks"


class Up:
    """``python -m jabba up`` on a free port with its data in ``directory``; may be started again after it has ended."""

    def __init__(
        self,
        directory: Path,
        *options: str,
        callbacks: str = CALLBACKS,
        services: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.data = directory / "data"
        self.executions = directory / "executions"
        arguments = ("up", "--port", "0", "--data", str(self.data), "--callbacks", callbacks, *options)
        variables = {**(environment or {}), EXECUTIONS: str(self.executions)}
        if services is not None:
            variables["JABBA_SERVICES"] = str(services)
        self.process: ChildProcess = jabba_process(*arguments, environment=variables, log=directory / "up.log")
        self.url = self.kafka = ""

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exception: object) -> None:
        self.process.__exit__()

    def start(self) -> Self:
        """Start it and return when it says that it is up."""
        self.process.start()
        self.url, self.kafka = self.process.wait_for_line(r"Jabba is up: (\S+)  \(broker (\S+);", 60).groups()
        return self

    @property
    def key(self) -> str:
        """The key that it made."""
        return (self.data / "key").read_text().strip()

    def child(self, role: str) -> psutil.Process:
        """Return the child process with this role."""
        (found,) = (child for child in self.children() if role in child.cmdline())
        return found

    def children(self) -> list[psutil.Process]:
        """Return the child processes."""
        return psutil.Process(self.process.pid).children()

    def lines_of_executions(self) -> list[str]:
        """Return what ``note`` has written."""
        return self.executions.read_text().splitlines() if self.executions.exists() else []


def call(function: str, *args: Any) -> list[Any]:
    """Return the task that calls one of its callbacks."""
    return ["local", CALLBACKS, function, list(args)]
