"""Children of user code share nothing of their worker's fate, and a process that is told to end does."""

import os
import subprocess
import sys
import time

import pytest

CHILDREN = """
import asyncio, multiprocessing, signal, sys, time
from concurrent.futures import ThreadPoolExecutor
from jabba.concurrency.process import detach_children

def work():
    pass

def sleep():
    time.sleep(60)

def terminated():
    child = multiprocessing.get_context("fork").Process(target=sleep)
    child.start()
    time.sleep(0.2)
    child.terminate()
    child.join()
    return child.exitcode

def ended():
    child = multiprocessing.get_context("fork").Process(target=work)
    child.start()
    child.join()
    return child.exitcode

def pooled():
    with multiprocessing.get_context("fork").Pool(2) as pool:
        return pool.map(abs, [-1, 2])

async def main():
    detach_children()
    told = []
    loop = asyncio.get_running_loop()
    for one in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(one, told.append, one)
    with ThreadPoolExecutor(1) as threads:
        for function in (terminated, ended, pooled):
            print(function.__name__, await loop.run_in_executor(threads, function), flush=True)
    print("here", terminated(), ended(), pooled())
    await asyncio.sleep(0.2)
    print("told", told)

asyncio.run(main())
"""


def test_children_end_by_themselves() -> None:
    done = subprocess.run([sys.executable, "-c", CHILDREN], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.splitlines() == [
        "terminated -15",
        "ended 0",
        "pooled [1, 2]",
        "here -15 0 [1, 2]",
        "told []",
    ], done.stderr


HELD_UP = {
    "a thread that is left": "threading.Thread(target=time.sleep, args=(60,), name='left').start()",
    "a task that swallows its cancellation": "keep = asyncio.create_task(swallows(), name='swallows')",
    "a slow atexit": "atexit.register(time.sleep, 60)",
    "the default executor": "keep = asyncio.ensure_future(asyncio.to_thread(time.sleep, 60))",
    "a thread that holds the interpreter's lock": (
        "threading.Thread(target=lambda: re.match('(a+)+$', 'a' * 45 + 'b'), daemon=True).start()"
    ),
}


@pytest.mark.parametrize("what", HELD_UP.values(), ids=HELD_UP)
def test_a_process_ends_within_its_bound_and_says_what_held_it_up(what: str) -> None:
    program = f"""
import asyncio, atexit, logging, re, threading, time
from jabba.concurrency import process
process._LAST_SECONDS = 0.5
logging.basicConfig(format="%(message)s %(threads)s %(tasks)s")

async def swallows():
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            pass

async def main():
    process.exit_within(0.5)
    {what}
    await asyncio.sleep(0)

asyncio.run(main())
"""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=False, env={**os.environ}
    )
    assert time.monotonic() - began < 30
    if "re.match" in what:
        assert (done.returncode, "Timeout" in done.stderr) == (1, True), done.stderr
    else:
        assert done.returncode == 0, done.stderr
        assert "has not ended in time" in done.stderr
