"""An event loop in a thread of its own: what the synchronous twins of the async classes stand on."""

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, Coroutine, Iterator
from typing import Any, TypeVar

Answer = TypeVar("Answer")


class BackgroundLoop:
    """Runs coroutines for callers that have no event loop; safe to share between threads, but not between processes.

    In a process that was forked from the one that made it there is no such thread.
    """

    def __init__(self, name: str) -> None:
        self._process = os.getpid()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        """Run a coroutine to its end and return what it answers; an interrupted caller cancels it.

        Raises:
            RuntimeError: the loop is closed, or was made before a fork.
        """
        if self.closed:
            work.close()
            raise RuntimeError("made before a fork: every process needs its own" if self._is_foreign else "closed")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def iterate(self, answers: AsyncGenerator[Answer]) -> Iterator[Answer]:
        """Return one by one what an async generator answers; it is closed with the iterator."""
        try:
            while found := self.run(_next(answers)):
                yield found[0]
        finally:
            if not self.closed:
                self.run(answers.aclose())

    @property
    def closed(self) -> bool:
        """Whether the thread has ended, or is in another process."""
        return self._is_foreign or self._loop.is_closed()

    @property
    def _is_foreign(self) -> bool:
        return self._process != os.getpid()

    def close(self) -> None:
        """End the thread; nothing may be running."""
        if not self.closed:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()


async def _next(answers: AsyncGenerator[Answer]) -> tuple[Answer] | None:
    async for answer in answers:
        return (answer,)
    return None
