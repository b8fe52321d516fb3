"""The broker itself: its directory, its endpoints, and the work that goes on beside the requests."""

import asyncio
import fcntl
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Protocol, Self, TypeVar

from jabba.clock import Clock, SystemClock
from jabba.errors import JabbaError
from jabba.local.broker import upkeep
from jabba.local.broker.administration import Administration
from jabba.local.broker.api import Api
from jabba.local.broker.connections import Connections
from jabba.local.broker.coordination import Coordination
from jabba.local.broker.memberships import Memberships
from jabba.local.broker.messages import Messages
from jabba.local.broker.offsets import Offsets
from jabba.local.broker.producer_ids import ProducerIds
from jabba.local.broker.topics import Topics

HOST = "127.0.0.1"
FLUSH_SECONDS = 0.05
TIDY_SECONDS = 30.0

_LOCK_SECONDS = 5.0
_LOCK_POLL_SECONDS = 0.02


class _Closable(Protocol):
    def close(self) -> object: ...


Opened = TypeVar("Opened", bound=_Closable)


class BrokerFailed(JabbaError):
    """The embedded broker does not start; the message says why."""


class BrokerServer:
    """A Kafka of one node that keeps everything in ``directory`` and serves this machine at ``port``.

    What it acknowledges outlives the process, and ``flush_seconds`` later a power failure, too. Every
    ``tidy_seconds`` it deletes what has expired and compacts. One process at a time may use the directory.
    """

    def __init__(
        self,
        directory: Path,
        port: int,
        *,
        flush_seconds: float = FLUSH_SECONDS,
        tidy_seconds: float = TIDY_SECONDS,
        clock: Clock | None = None,
    ) -> None:
        self.bootstrap = f"{HOST}:{port}"
        self._directory = directory
        self._port = port
        self._flush_seconds = flush_seconds
        self._tidy_seconds = tidy_seconds
        self._clock = clock or SystemClock()
        self._running = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Open the logs and listen.

        Raises:
            BrokerFailed: another process uses the directory, or the port.
        """
        try:
            await self._start()
        except OSError as error:
            await self.stop()
            raise BrokerFailed(f"the embedded broker cannot serve {self._directory}: {error}") from error
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """End the connections and write everything to the disk; harmless when it does not run."""
        await self._running.aclose()

    async def _start(self) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        await self._take_directory()
        topics = self._opened(Topics(self._directory, self._clock))
        offsets = self._opened(Offsets(self._directory))
        producer_ids = self._opened(ProducerIds(self._directory))
        memberships = self._opened(Memberships(self._directory, self._clock))
        coordination = self._opened(Coordination(topics, offsets, memberships, self._clock))
        administration = Administration(topics, producer_ids, HOST, self._port)
        flush = partial(upkeep.flush, (topics, offsets, memberships, producer_ids))
        self._running.push_async_callback(flush)
        self._repeat(flush, self._flush_seconds)
        self._repeat(partial(upkeep.tidy, topics, self._clock), self._tidy_seconds)
        connections = Connections(Api(Messages(topics), coordination, administration))
        self._running.push_async_callback(connections.close)
        await connections.listen(HOST, self._port)

    async def _take_directory(self) -> None:
        """Lock the directory, as soon as a broker that was killed a moment ago lets go of it."""
        lock = self._opened((self._directory / "lock").open("w"))
        deadline = self._clock.monotonic() + _LOCK_SECONDS
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if self._clock.monotonic() > deadline:
                    raise BrokerFailed(f"another process uses {self._directory}") from None
                await asyncio.sleep(_LOCK_POLL_SECONDS)
            else:
                return

    def _opened(self, part: Opened) -> Opened:
        """Have a part closed in the end."""
        self._running.callback(part.close)
        return part

    def _repeat(self, what: Callable[[], Awaitable[None]], seconds: float) -> None:
        task = asyncio.create_task(upkeep.repeat(what, seconds))
        self._running.push_async_callback(_cancel, task)


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
