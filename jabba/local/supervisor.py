"""Keeps child processes alive, shows what they say under their names, and stops them in order."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jabba.clock import Clock, SystemClock
from jabba.errors import JabbaError
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
    """What to run, with which environment variables, and how to start and end it.

    ``before_start`` is called in a thread before each start. What the program writes is shown, or goes to ``log``.
    ``never_root_in`` is that of ``command_of_child``.
    """

    name: str
    command: Sequence[str | Path]
    environment: Mapping[str, str]
    before_start: Callable[[], None] | None = None
    log: Path | None = None
    never_root_in: Path | None = None
    stop_with: signal.Signals = signal.SIGTERM
    when_orphaned: signal.Signals = signal.SIGKILL


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
        self.lives = 0
        """How often the program has ended."""

    @property
    def pid(self) -> int | None:
        """The id of the running process, None while there is none."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    def start(self) -> None:
        """Start the program, and keep it alive from now on."""
        self._keeper = asyncio.create_task(self._keep_alive())

    async def stop(self, seconds: float) -> None:
        """Ask it to end, and kill it when it takes longer than ``seconds``."""
        if self._keeper is None:
            return
        if not self._stopping.is_set():
            self._end_with(self._program.stop_with)
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
            self.lives += 1
            if not self._stopping.is_set():
                delay = self._back_off.after(self._clock.monotonic() - started)
                self._say(SUPERVISOR, f"{self.name} {ending}; it starts again in {delay:g} s")
                await self._stopped_within(delay)

    async def _live_once(self) -> str:
        """Start the program and wait for its end; return how it ended."""
        try:
            if self._program.before_start is not None:
                await asyncio.to_thread(self._program.before_start)
            return _ending(await (self._shown() if self._program.log is None else self._logged(self._program.log)))
        except (JabbaError, OSError) as error:
            return f"cannot be started: {error}"

    async def _logged(self, path: Path) -> int:
        with path.open("ab") as log:
            process = await self._spawn(log.fileno())
        return await process.wait()

    async def _shown(self) -> int:
        # A pipe of our own: asyncio's would make us wait for whatever the program left behind with the pipe open.
        reading, writing = os.pipe()
        async with _lines_of(reading) as lines:
            try:
                process = await self._spawn(writing)
            finally:
                os.close(writing)
            shown = asyncio.create_task(self._show(lines))
            code = await process.wait()
            await asyncio.wait({shown}, timeout=_LAST_WORDS_SECONDS)
            shown.cancel()
        return code

    async def _show(self, lines: AsyncIterator[str]) -> None:
        async for line in lines:
            self._say(self.name, line)

    async def _spawn(self, output: int) -> asyncio.subprocess.Process:
        program = self._program
        self._process = process = await asyncio.create_subprocess_exec(
            *command_of_child(
                program.command, when_orphaned=program.when_orphaned, never_root_in=program.never_root_in
            ),
            env=program.environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            # The terminal's Ctrl-C is for the supervisor, which stops its children in order.
            start_new_session=True,
        )
        if self._last_signal is not None:
            process.send_signal(self._last_signal)
        return process

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

    def start(self, *programs: Program) -> list[Child]:
        """Start a group, and return it."""
        group = [Child(program, self._say) for program in programs]
        self._groups.append(group)
        for child in group:
            child.start()
        return group

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
