"""PostgreSQL itself, the embedded one, for tests and benchmarks."""

import signal
from pathlib import Path
from typing import Self

from jabba.local.postgres import EmbeddedDatabase

# Survives the death of its process, not of the machine.
_QUICK = {"fsync": "off", "full_page_writes": "off"}


class PostgresServer:
    """A PostgreSQL with its data in ``directory``, on one port of 127.0.0.1 for life.

    ``stop`` or ``kill`` and ``start`` again keep port and data. Start it from the main thread: on Linux it shuts down
    when the thread that started it ends.
    """

    def __init__(self, directory: Path) -> None:
        self._server = EmbeddedDatabase(directory, settings=_QUICK)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def dsn(self) -> str:
        """The URL of the database ``postgres``."""
        return self._server.dsn()

    def start(self) -> Self:
        """Start the server and return when it answers."""
        self._server.start()
        return self

    def stop(self) -> None:
        """Shut down in order; harmless when it does not run."""
        self._server.stop()

    def kill(self) -> None:
        """End it by ``kill -9``."""
        self._server.send_signal(signal.SIGKILL)
        self._server.stop()

    def restart(self) -> Self:
        """Stop if it runs, and start on the same port with the same data."""
        self.stop()
        return self.start()

    def create_database(self, name: str, template: str = "template1", *options: str) -> str:
        """Create a database as a copy of ``template``; return its URL."""
        self._server.run("createdb", f"--template={template}", *options, name)
        return self._server.dsn(name)

    def drop_database(self, name: str) -> None:
        """Drop a database, disconnecting whoever is there."""
        self._server.run("dropdb", "--force", name)
