"""The execution log: what workers really ran, told by the callbacks themselves.

Every process appends to a file of its own, a line at each start and each end. The kernel keeps what was written, so the
log also knows what a killed process had begun.
"""

import itertools
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

VARIABLE = "FAULT_EXECUTIONS"
"""The environment variable with the directory of the log."""


class Journal:
    """One process's part of the log."""

    def __init__(self, directory: Path) -> None:
        self._name = f"{os.getpid()}-{time.monotonic_ns()}"
        # Threads share it.
        self._numbers = itertools.count(1)
        self._file = os.open(directory / self._name, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    @classmethod
    def of_this_process(cls) -> "Journal":
        """Open the journal of a process that the environment gives a directory."""
        return cls(Path(os.environ[VARIABLE]))

    def start(self, job: str, index: int) -> str:
        """Note that a step starts; return the name of this execution."""
        execution = f"{self._name}-{next(self._numbers)}"
        self._write("start", job, index, execution)
        return execution

    def end(self, job: str, index: int, execution: str) -> None:
        """Note that a step has run to its end."""
        self._write("end", job, index, execution)

    def _write(self, what: str, job: str, index: int, execution: str) -> None:
        os.write(self._file, f"{what} {job} {index} {execution} {time.monotonic()}\n".encode())


@dataclass(slots=True)
class Execution:
    """One run of one step; ``started`` and ``ended`` are seconds of the machine's monotonic clock."""

    id: str
    job: str
    index: int
    started: float
    ended: float | None = None

    @property
    def pid(self) -> int:
        """The process that ran it."""
        return int(self.id.partition("-")[0])


class ExecutionLog:
    """Reads the journals of a directory; ``new`` answers what came since the last call."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._read: dict[Path, int] = {}
        self._unended: dict[str, Execution] = {}

    def new(self) -> list[Execution]:
        """Return the executions that have started since the last call.

        Those answered before go on to change: their ends are filled in as they are read.
        """
        started: list[Execution] = []
        for path in sorted(self._directory.iterdir()):
            for what, job, index, execution, moment in self._lines(path):
                if what == "start":
                    self._unended[execution] = Execution(execution, job, int(index), float(moment))
                    started.append(self._unended[execution])
                else:
                    self._unended.pop(execution).ended = float(moment)
        return started

    def _lines(self, path: Path) -> Iterator[list[str]]:
        with path.open("rb") as journal:
            journal.seek(self._read.get(path, 0))
            # A line that is being written has no end yet.
            complete, _, _ = journal.read().rpartition(b"\n")
        if complete:
            self._read[path] = self._read.get(path, 0) + len(complete) + 1
            yield from (line.split() for line in complete.decode().split("\n"))
