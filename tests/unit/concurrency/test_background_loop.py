"""The event loop in a thread of its own."""

import os
import signal

import pytest

from jabba.concurrency.background_loop import BackgroundLoop
from jabba.producer import SyncProducer

SECONDS = 10


async def answer() -> int:
    return 42


def test_after_a_fork_it_says_so_and_waits_for_nothing() -> None:
    loop, producer = BackgroundLoop("test"), SyncProducer("nowhere:1")
    child = os.fork()
    if not child:
        signal.alarm(SECONDS)
        code = 1
        try:
            with pytest.raises(RuntimeError, match="made before a fork"):
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
