"""Keeps child processes alive, shows what they say under their names, and stops them in order."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass

from jabba.clock import Clock, SystemClock
from jabba.local.child import command_of_child

SUPERVISOR = "up"
"""The name under which the supervisor itself speaks."""

_LINE_BYTES = 64 * 1024
"""A longer line is shown in pieces."""

_LAST_WORDS_SECONDS = 0.5

Say = Callable[[str, str], None]
"""Shows one line under the name of who said it."""


@dataclass(frozen=True, slots=True)
class Program:
    """What to run, with which environment variables."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]


@dataclass(slots=True)
class BackOff:
    """How long to wait before the next start, in seconds: twice as long after every short life."""

    first: float = 1.0
    longest: float = 30.0
    healthy: float = 60.0
    _next: float = 0.0

    def after(self, lived: float) -> float:
        """Return the delay after a life of so many seconds."""
        delay = self.first if lived >= self.healthy or not self._next else self._next
        self._next = min(self.longest, 2 * delay)
        return delay


class Child:
    """One program that is started again whenever it ends, until it is stopped.

    On Linux it is killed as soon as this process ends, however that comes about.
    """

    def __init__(
        self, program: Program, say: Say, *, back_off: BackOff | None = None, clock: Clock | None = None
    ) -> None:
        self.name = program.name
        self._program = program
        self._say = say
        self._back_off = back_off or BackOff()
        self._clock = clock or SystemClock()
        self._process: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self._last_signal: signal.Signals | None = None

    @property
    def pid(self) -> int | None:
        """The id of the running process, None while there is none."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    def start(self) -> None:
        """Start the program, and keep it alive from now on."""
        self._keeper = asyncio.create_task(self._keep_alive())

    async def stop(self, seconds: float) -> None:
        """Ask it to end (SIGTERM), and kill it when it takes longer than ``seconds``."""
        if self._keeper is None:
            return
        if not self._stopping.is_set():
            self._end_with(signal.SIGTERM)
        done, _ = await asyncio.wait({self._keeper}, timeout=seconds)
        if not done:
            self._say(SUPERVISOR, f"{self.name} does not stop within {seconds:g} s and is killed")
            self.kill()
        await self._keeper

    def kill(self) -> None:
        """End it at once (SIGKILL)."""
        self._end_with(signal.SIGKILL)

    async def _keep_alive(self) -> None:
        while not self._stopping.is_set():
            started = self._clock.monotonic()
            ending = await self._live_once()
            if not self._stopping.is_set():
                delay = self._back_off.after(self._clock.monotonic() - started)
                self._say(SUPERVISOR, f"{self.name} {ending}; it starts again in {delay:g} s")
                await self._stopped_within(delay)

    async def _live_once(self) -> str:
        """Start the program and show what it writes; return how it ended."""
        # A pipe of our own: asyncio's would make us wait for whatever the program left behind with the pipe open.
        reading, writing = os.pipe()
        async with _lines_of(reading) as lines:
            try:
                self._process = await self._spawn(writing)
            except OSError as error:
                return f"cannot be started: {error}"
            finally:
                os.close(writing)
            if self._last_signal is not None:
                self._process.send_signal(self._last_signal)
            shown = asyncio.create_task(self._show(lines))
            code = await self._process.wait()
            await asyncio.wait({shown}, timeout=_LAST_WORDS_SECONDS)
            shown.cancel()
        return _ending(code)

    async def _show(self, lines: AsyncIterator[str]) -> None:
        async for line in lines:
            self._say(self.name, line)

    async def _spawn(self, output: int) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *command_of_child(self._program.command, when_orphaned=signal.SIGKILL),
            env=self._program.environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            # The terminal's Ctrl-C is for the supervisor, which stops its children in order.
            start_new_session=True,
        )

    async def _stopped_within(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)

    def _end_with(self, what: signal.Signals) -> None:
        self._last_signal = what
        self._stopping.set()
        if self._process is not None and self.pid is not None:
            self._process.send_signal(what)


class Supervisor:
    """Children that are started group by group, and stopped the other way round.

    ``stop_seconds`` is how long each may take to stop.
    """

    def __init__(self, say: Say, *, stop_seconds: float = 15.0) -> None:
        self._say = say
        self._stop_seconds = stop_seconds
        self._groups: list[list[Child]] = []

    def start(self, *programs: Program) -> None:
        """Start a group."""
        group = [Child(program, self._say) for program in programs]
        self._groups.append(group)
        for child in group:
            child.start()

    async def stop(self) -> None:
        """Stop all, the last group first; what was killed is only waited for."""
        for group in reversed(self._groups):
            await asyncio.gather(*(child.stop(self._stop_seconds) for child in group))

    def kill(self) -> None:
        """End all at once."""
        for group in self._groups:
            for child in group:
                child.kill()


@contextlib.asynccontextmanager
async def _lines_of(descriptor: int) -> AsyncIterator[AsyncIterator[str]]:
    """Read the lines that come out of a pipe; close it in the end."""
    reader = asyncio.StreamReader()
    pipe = os.fdopen(descriptor, "rb", buffering=0)
    protocol = asyncio.StreamReaderProtocol(reader)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, pipe)
    try:
        yield _lines(reader)
    finally:
        transport.close()


async def _lines(stream: asyncio.StreamReader) -> AsyncIterator[str]:
    rest = b""
    while chunk := await stream.read(_LINE_BYTES):
        *lines, rest = (rest + chunk).split(b"\n")
        if len(rest) >= _LINE_BYTES:
            lines, rest = [*lines, rest], b""
        for line in lines:
            yield line.decode(errors="replace")
    if rest:
        yield rest.decode(errors="replace")


def _ending(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"
