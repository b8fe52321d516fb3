"""What the workers of the fault suite run: every execution stands in the log, and is named in its result."""

import asyncio
import os
import time
from pathlib import Path
from typing import Any

from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.errors import GroupAuthorizationFailedError

import jabba
from jabba.engine.engine import Engine
from tests.fault.executions import Journal

_journal = Journal.of_this_process()
_POLL_SECONDS = 0.02

Returned = dict[str, Any] | tuple[str, dict[str, Any]]


class Broken(Exception):
    """What a step raises whose plan says so."""


@jabba.callback
async def step(index: int, seconds: float, ending: str) -> Returned:
    """Take some time, and end as planned."""
    execution = _start(index)
    if seconds:
        await asyncio.sleep(seconds)
    return _end(index, execution, ending)


@jabba.callback
def threaded(index: int, seconds: float, ending: str) -> Returned:
    """Do the same in a thread."""
    execution = _start(index)
    time.sleep(seconds)
    return _end(index, execution, ending)


@jabba.callback
async def blocking(index: int, seconds: float, ending: str) -> Returned:
    """Hold the event loop up all the time."""
    execution = _start(index)
    time.sleep(seconds)  # noqa: ASYNC251 — that is the fault
    return _end(index, execution, ending)


@jabba.callback
async def waiting(index: int, file: str) -> Returned:
    """Run until there is a file."""
    execution = _start(index)
    while not _there(file):  # noqa: ASYNC110 — a file is all that a test and this process share
        await asyncio.sleep(_POLL_SECONDS)
    return _end(index, execution, "ok")


@jabba.callback
def waiting_thread(index: int, file: str) -> Returned:
    """Do the same in a thread, which cannot be cancelled."""
    execution = _start(index)
    while not _there(file):
        time.sleep(_POLL_SECONDS)
    return _end(index, execution, "ok")


@jabba.callback
async def poison(index: int, *_: Any) -> None:
    """End the whole process."""
    _start(index)
    os._exit(3)


@jabba.callback
async def deafen(index: int) -> Returned:
    """Let this process take no more messages in, as if its consumer were stuck."""

    async def never(*_: Any, **__: Any) -> None:
        await asyncio.Event().wait()

    Engine.accept = never  # type: ignore[method-assign]
    return _end(index, _start(index), "ok")


@jabba.callback
async def disobey(index: int) -> Returned:
    """Let this process take no more commands in."""

    def ignore(*_: Any) -> None:
        pass

    Engine.apply = ignore  # type: ignore[assignment,method-assign]
    return _end(index, _start(index), "ok")


@jabba.callback
async def outlaw(index: int) -> Returned:
    """Let Kafka refuse this process its place in the group, when it joins once more."""
    outlaw_at_once()
    return _end(index, _start(index), "ok")


def outlaw_at_once() -> None:
    """Let Kafka refuse this process its place in the group from now on."""
    fail_to_join(GroupAuthorizationFailedError("no right"))


def fail_to_join(error: Exception) -> None:
    """Let Kafka's client meet this error whenever it joins the group, once its partitions are revoked."""

    async def fail(*_: Any) -> None:
        raise error

    GroupCoordinator._do_rejoin_group = fail


@jabba.callback
async def quiet(*_: Any) -> None:
    """Do nothing, without a line in the log."""


def _there(file: str) -> bool:
    return Path(file).exists()


def _start(index: int) -> str:
    return _journal.start(str(jabba.current_task().job_id), index)


def _end(index: int, execution: str, ending: str) -> Returned:
    _journal.end(str(jabba.current_task().job_id), index, execution)
    if ending == "raise":
        raise Broken(execution)
    result = {"index": index, "execution": execution}
    return ("error", result) if ending == "error" else result
