"""An event loop in a thread of its own: what the synchronous twins of the async classes stand on."""

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import CancelledError
from typing import Any, Generic, Self, TypeVar

from jabba.errors import Closed

Answer = TypeVar("Answer")


class BackgroundLoop:
    """Runs coroutines for callers that have no event loop; safe to share between threads, but not between processes.

    In a process that was forked from the one that made it there is no such thread. ``name`` is the thread's, and
    ``finish`` the last that runs in it.
    """

    def __init__(self, name: str, finish: Callable[[], Awaitable[None]] | None = None) -> None:
        self._process = os.getpid()
        self._finish = finish
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._stopping = False
        # The garbage collector may run a caller's clean-up, which comes here, at any moment of the same thread.
        self._lock = threading.RLock()
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        """Run a coroutine to its end and return what it answers; an interrupted caller cancels it.

        Raises:
            Closed: the loop is closed, or was made before a fork.
            RuntimeError: this is the loop's own thread, which would wait for itself.
        """
        try:
            self.check()
            with self._lock:
                self.check()
                future = asyncio.run_coroutine_threadsafe(work, self._loop)
        except BaseException:
            work.close()
            raise
        try:
            return future.result()
        except CancelledError:
            self.check()
            raise
        except BaseException:
            future.cancel()
            raise

    def iterate(self, answers: AsyncGenerator[Answer]) -> "LoopIterator[Answer]":
        """Return one by one what an async generator answers.

        Raises:
            Closed, RuntimeError: as ``run``.
        """
        self.check()
        return LoopIterator(self, answers)

    def check(self) -> None:
        """Raise what ``run`` would."""
        if self._is_foreign:
            raise Closed("made before a fork: every process needs its own")
        if self._stopping:
            raise Closed(f"this {self._thread.name.removeprefix('jabba-')} is closed")
        if threading.current_thread() is self._thread:
            raise RuntimeError("called from the thread that would have to do the work, as by a destructor")

    @property
    def closed(self) -> bool:
        """Whether the thread ends, or is in another process."""
        return self._is_foreign or self._stopping

    @property
    def _is_foreign(self) -> bool:
        return self._process != os.getpid()

    def close(self) -> None:
        """Run ``finish``, cancel what still runs and end the thread; called from that thread, do not wait for it."""
        if self._is_foreign:
            return
        with self._lock:
            if not self._stopping:
                self._stopping = True
                self._loop.call_soon_threadsafe(self._stop.set)
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _serve(self) -> None:
        # It cancels what is left, and closes generators that nobody reads any more.
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._until_stopped())

    async def _until_stopped(self) -> None:
        await self._stop.wait()
        if self._finish is not None:
            await self._finish()


class LoopIterator(Iterator[Answer], Generic[Answer]):
    """What an async generator on a background loop answers.

    One that is dropped before its end needs no more than the generator itself: asyncio then closes it in its loop.
    Waiting for that here could wait for ever, since garbage is collected in any thread, the loop's own among them.
    """

    def __init__(self, background: BackgroundLoop, answers: AsyncGenerator[Answer]) -> None:
        self._background = background
        self._answers = answers
        # A step that was interrupted is still ending when the next one, or the close, comes.
        self._turn = asyncio.Lock()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Answer:
        # Beside the answer, since a coroutine must not raise StopIteration.
        if found := self._background.run(_next(self._answers, self._turn)):
            return found[0]
        raise StopIteration

    def close(self) -> None:
        """Stop before the end, and wait until that is done."""
        if not self._background.closed:
            self._background.run(_close(self._answers, self._turn))


async def _next(answers: AsyncGenerator[Answer], turn: asyncio.Lock) -> tuple[Answer] | None:
    async with turn:
        async for answer in answers:
            return (answer,)
    return None


async def _close(answers: AsyncGenerator[Answer], turn: asyncio.Lock) -> None:
    async with turn:
        await answers.aclose()
