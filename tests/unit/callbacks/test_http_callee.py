"""Both ends of a call together: the transport, and a service made with ``jabba.callee``."""

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from aiohttp.test_utils import TestServer

from jabba import RetryTask, TaskError
from jabba.callbacks.http import HttpRunner
from jabba.callbacks.registry import TaskContext
from jabba.callbacks.results import Answer
from jabba.callbacks.services import KeyedService, Service
from jabba.callbacks.transport import Postponed, Unanswered
from jabba.callee import Callee, Context, FinalError
from jabba.clock import SystemClock
from jabba.jobs.lifecycle import TaskFailed, TaskRescued, TaskSucceeded
from jabba.jobs.models import Callback

KEY = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(KEY).decode()


class Pair:
    """A callee on loopback, and what calls it; ``effects`` are the calls that its functions ran."""

    def __init__(self) -> None:
        self.callee = Callee("billing", [SECRET])
        self.effects: list[Any] = []
        self.began, self.proceed = asyncio.Event(), asyncio.Event()
        self.runner = HttpRunner(SystemClock())
        self.url = ""

    async def call(self, function: str, *args: Any, key: bytes = KEY, context: TaskContext | None = None) -> Any:
        service = Service(transport="http", url=[self.url], secrets=[SECRET])
        callback = Callback(service="billing", module="invoices", function=function, args=list(args))
        return await self.runner.run(callback, KeyedService(service, (key,)), context or a_task())


def a_task() -> TaskContext:
    return TaskContext(uuid4(), uuid4(), 1)


@pytest_asyncio.fixture
async def pair() -> AsyncIterator[Pair]:
    made = Pair()

    @made.callee.callback("invoices.charge")
    async def charge(order: int) -> dict[str, int]:
        made.effects.append(order)
        return {"charged": order}

    @made.callee.callback("invoices.fail")
    async def fail(how: str) -> None:
        made.effects.append(how)
        raise {
            "error": TaskError({"code": "declined"}),
            "final": FinalError({"code": "gone"}),
            "retry": RetryTask("soon", after=7),
            "raise": KeyError("no"),
        }[how]

    @made.callee.callback("invoices.slow")
    async def slow(context: Context) -> dict[str, bool]:
        await context.progress({"done": 1})
        made.effects.append("slow")
        made.began.set()
        await made.proceed.wait()
        return {"slow": True}

    server = TestServer(made.callee.aiohttp_app(), host="127.0.0.1")
    await server.start_server()
    made.url = str(server.make_url("/"))
    yield made
    made.proceed.set()
    await made.runner.close()
    await server.close()


async def test_a_repeated_attempt_has_its_effect_once(pair: Pair) -> None:
    context = a_task()
    replies = [await pair.call("charge", 17, context=context) for _ in range(3)]
    assert [(reply.event, reply.result) for reply in replies] == [(TaskSucceeded, {"charged": 17})] * 3
    assert pair.effects == [17]


@pytest.mark.parametrize(
    "how, event, result, retry",
    [
        ("error", TaskFailed, {"code": "declined"}, None),
        ("final", TaskFailed, {"code": "gone"}, False),
        ("retry", TaskFailed, {"error": "soon"}, 7.0),
        ("raise", TaskRescued, {"error": "KeyError: 'no'"}, None),
    ],
)
async def test_what_a_function_raises_arrives(
    pair: Pair, how: str, event: type, result: dict[str, Any], retry: object
) -> None:
    reply = await pair.call("fail", how)
    assert isinstance(reply, Answer)
    assert (reply.event, reply.retry) == (event, retry)
    assert result.items() <= reply.result.items()


async def test_progress_comes_before_the_answer(pair: Pair) -> None:
    pair.proceed.set()
    reply = await pair.call("slow")
    assert isinstance(reply, Answer)
    assert reply.result == {"slow": True}


async def test_a_second_delivery_of_a_call_at_work_waits(pair: Pair) -> None:
    context = a_task()
    first = asyncio.create_task(pair.call("slow", context=context))
    await pair.began.wait()
    assert isinstance(await pair.call("slow", context=context), Postponed)
    pair.proceed.set()
    assert isinstance(await first, Answer)
    assert pair.effects == ["slow"]


async def test_a_wrong_secret_is_infrastructure(pair: Pair) -> None:
    reply = await pair.call("charge", 1, key=bytes(32))
    assert isinstance(reply, Unanswered)
    assert (reply.status_code, reply.final) == (401, False)
    assert pair.effects == []


async def test_wrong_arguments_and_functions_are_final(pair: Pair) -> None:
    for reply in (await pair.call("charge", "many"), await pair.call("nothing")):
        assert isinstance(reply, Answer)
        assert reply.event is TaskFailed
