"""The event loop in a thread of its own."""

import asyncio
import gc
import logging
import os
import signal
import threading
import weakref
from collections.abc import AsyncGenerator, Iterator
from concurrent.futures import Future
from typing import Any

import pytest

from jabba.concurrency.background_loop import BackgroundLoop
from jabba.errors import Closed
from jabba.producer import SyncProducer

SECONDS = 10


async def answer() -> int:
    return 42


async def forever() -> None:
    await asyncio.Event().wait()


class Numbers:
    """An endless generator; ``closed`` is set when it has been closed."""

    def __init__(self) -> None:
        self.closed = threading.Event()

    async def read(self) -> AsyncGenerator[int]:
        number = 0
        try:
            while True:
                yield number
                await asyncio.sleep(0)
                number += 1
        finally:
            await asyncio.sleep(0)
            self.closed.set()


@pytest.fixture
def loop() -> Iterator[BackgroundLoop]:
    made = BackgroundLoop("jabba-test")
    yield made
    made.close()


def within_seconds(work: Any) -> None:
    """Run in a thread, and fail when that does not end: a test that hangs would say less."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 — raised below
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(SECONDS)
    assert not thread.is_alive()
    for error in errors:
        raise error


def test_after_a_fork_it_says_so_and_waits_for_nothing() -> None:
    loop, producer = BackgroundLoop("test"), SyncProducer("nowhere:1")
    child = os.fork()
    if not child:
        signal.alarm(SECONDS)
        code = 1
        try:
            with pytest.raises(Closed, match="made before a fork"):
                loop.run(answer())
            producer.close()
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert loop.run(answer()) == 42
    producer.close()
    loop.close()


class Node:
    """One of a reference cycle, which only the garbage collector ends."""

    def __init__(self, items: Iterator[int]) -> None:
        self.items = items
        self.itself = self


async def collect() -> None:
    gc.collect()


def test_an_iterator_may_be_collected_in_the_thread_of_the_loop(loop: BackgroundLoop) -> None:
    numbers = Numbers()

    def drop() -> None:
        gc.disable()
        try:
            node = Node(loop.iterate(numbers.read()))
            assert next(node.items) == 0
            del node
            loop.run(collect())
        finally:
            gc.enable()

    within_seconds(drop)
    assert numbers.closed.wait(SECONDS)
    assert loop.run(answer()) == 42


def test_an_iterator_may_be_dropped_while_the_loop_waits_for_its_thread(loop: BackgroundLoop) -> None:
    """As in a handler of logging, whose lock the loop wants, too."""
    numbers, lock, log = Numbers(), threading.RLock(), logging.getLogger("any")

    async def speak() -> None:
        with lock:
            log.debug("spoken")

    def drop() -> None:
        items = loop.iterate(numbers.read())
        assert next(items) == 0
        with lock:
            asyncio.run_coroutine_threadsafe(speak(), loop._loop)
            del items

    within_seconds(drop)
    assert numbers.closed.wait(SECONDS)


def test_a_dropped_iterator_is_closed_and_an_ended_one_stays_ended(loop: BackgroundLoop) -> None:
    numbers = Numbers()
    for number in loop.iterate(numbers.read()):
        if number == 3:
            break
    assert numbers.closed.wait(SECONDS)

    numbers = Numbers()
    items = loop.iterate(numbers.read())
    assert next(items) == 0
    items.close()
    assert numbers.closed.is_set()
    assert list(items) == []
    items.close()


def test_an_interrupted_iterator_is_cancelled_and_can_be_closed(
    loop: BackgroundLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, cancelled = threading.Event(), threading.Event()

    async def silent() -> AsyncGenerator[int]:
        begun.set()
        try:
            await forever()
            yield 1
        finally:
            await asyncio.sleep(0)
            cancelled.set()

    def interrupted(_: Future[int]) -> int:
        assert begun.wait(SECONDS)
        raise KeyboardInterrupt

    items = loop.iterate(silent())
    monkeypatch.setattr(Future, "result", interrupted)
    with pytest.raises(KeyboardInterrupt):
        next(items)
    monkeypatch.undo()
    items.close()
    assert cancelled.is_set()


def test_from_its_own_thread_it_refuses_to_wait_for_itself(loop: BackgroundLoop) -> None:
    async def misuse() -> None:
        loop.run(answer())

    def use() -> None:
        with pytest.raises(RuntimeError, match="called from the thread"):
            loop.run(misuse())

    within_seconds(use)


def test_a_destructor_in_its_own_thread_may_close_it() -> None:
    finished = threading.Event()

    async def finish() -> None:
        finished.set()

    loop = BackgroundLoop("jabba-test", finish)

    async def end() -> None:
        loop.close()

    def use() -> None:
        loop.run(end())
        loop.close()

    within_seconds(use)
    assert finished.is_set()
    assert not loop._thread.is_alive()


def test_who_waits_when_it_is_closed_hears_of_that(loop: BackgroundLoop) -> None:
    begun = threading.Event()

    async def begin() -> None:
        begun.set()
        await forever()

    def wait() -> None:
        with pytest.raises(Closed, match="this test is closed"):
            loop.run(begin())

    thread = threading.Thread(target=within_seconds, args=(wait,))
    thread.start()
    assert begun.wait(SECONDS)
    loop.close()
    thread.join(SECONDS)
    assert not thread.is_alive()
    for use in (lambda: loop.run(answer()), lambda: loop.iterate(Numbers().read())):
        with pytest.raises(Closed, match="this test is closed"):
            use()


def test_closing_closes_what_is_left_of_iterators() -> None:
    loop, numbers = BackgroundLoop("jabba-test"), Numbers()
    items = loop.iterate(numbers.read())
    assert next(items) == 0
    loop.close()
    assert numbers.closed.is_set()
    with pytest.raises(Closed):
        next(items)
    gone = weakref.ref(items)
    del items
    assert gone() is None
