"""All of Jabba, started for the demo in a directory of its own and stopped after it."""

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from demo import billing, callbacks
from jabba.local import data_directory
from jabba.local.child import command_of_child

CHECKOUT = Path(__file__).resolve().parents[1]
_STOP_SECONDS = 30
_LOG_LINES = 40


class HouseFailed(Exception):
    """Jabba did not come up; the message ends with what it said."""


@contextmanager
def running_jabba() -> Iterator[tuple[str, str | None]]:
    """Run ``jabba up`` with the demo's callbacks and service; return the URL of its web process, and the key."""
    with tempfile.TemporaryDirectory(prefix="jabba-demo-") as directory:
        log = Path(directory, "up.log")
        with (
            log.open("wb") as said,
            billing.running(Path(directory)) as services,
            _process(Path(directory, "data"), services, said) as process,
        ):
            try:
                yield _url(process, log), data_directory.read(Path(directory, "data"))
            finally:
                process.terminate()
                process.wait(_STOP_SECONDS)


def _process(data: Path, services: Path, log: IO[bytes]) -> "subprocess.Popen[str]":
    up = ["up", "--callbacks", callbacks.MODULE, "--port", "0", "--data", str(data)]
    # Settings meant for another installation are not for the demo's own.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("JABBA_")}
    environment["JABBA_SERVICES"] = str(services)
    return subprocess.Popen(  # noqa: S603 — starts this very Python
        command_of_child([sys.executable, "-m", "jabba", *up], when_orphaned=signal.SIGTERM),
        cwd=CHECKOUT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
        start_new_session=True,
    )


def _url(process: "subprocess.Popen[str]", log: Path) -> str:
    for line in process.stdout or ():
        if found := re.search(r"Jabba is up: (\S+)", line):
            return found[1]
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-_LOG_LINES:])
    raise HouseFailed(f"`jabba up` did not come up; it said:\n{tail}")
