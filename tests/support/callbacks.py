"""Callbacks that the tests' workers run."""

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import jabba
from jabba import TaskError

EXECUTIONS = "TEST_EXECUTIONS"
"""The variable with the file to which ``note`` appends a line per execution."""


@jabba.callback
async def echo(*args: Any) -> dict[str, Any]:
    return {"args": list(args)}


@jabba.callback
def threaded(*args: Any) -> dict[str, Any]:
    time.sleep(0.001)
    return {"args": list(args)}


@jabba.callback
async def nothing() -> None:
    return None


@jabba.callback
async def ignore(*_: Any) -> None:
    return None


@jabba.callback
async def ok() -> str:
    return "ok"


@jabba.callback
async def ok_map() -> tuple[str, dict[str, int]]:
    return "ok", {"n": 1}


@jabba.callback
async def number() -> int:
    return 42


@jabba.callback
async def error(why: str) -> tuple[str, dict[str, str]]:
    return "error", {"why": why}


@jabba.callback
async def task_error(why: str) -> None:
    raise TaskError({"why": why})


@jabba.callback
async def raises() -> None:
    raise ValueError("bad luck")


@jabba.callback
async def sleeps(seconds: float) -> None:
    await asyncio.sleep(seconds)


@jabba.callback
def waits_for(file: str) -> None:
    while not Path(file).exists():
        time.sleep(0.02)


@jabba.callback
async def large(size: int) -> dict[str, str]:
    return {"text": "x" * size}


@jabba.callback
async def not_json() -> dict[str, Any]:
    return {"number": float("nan")}


@jabba.callback
async def who() -> dict[str, Any]:
    task = jabba.current_task()
    return {"job_id": str(task.job_id), "task_id": str(task.task_id), "attempt": task.attempt}


@jabba.callback
def note(*args: Any) -> None:
    with Path(os.environ[EXECUTIONS]).open("a") as executions:
        executions.write(f"{' '.join(map(str, args))}\n")


@jabba.callback
async def flaky(fails: int) -> dict[str, int]:
    """Ask for another attempt so many times."""
    attempt = jabba.current_task().attempt
    if attempt <= fails:
        raise jabba.RetryTask(f"attempt {attempt} of {fails + 1}")
    return {"attempt": attempt}


@jabba.callback(retry=jabba.Retry(max_attempts=2, initial=0.01))
def raises_once() -> str:
    """Raise at the first attempt."""
    if jabba.current_task().attempt == 1:
        raise ValueError("the first time")
    return "ok"
