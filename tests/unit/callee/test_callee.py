"""What a callee answers to calls, whatever server they come through."""

import asyncio
import json
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from pydantic import BaseModel

from jabba.callee import (
    Accepted,
    Callee,
    Context,
    FinalError,
    InvalidCallback,
    MemoryStore,
    RetryTask,
    TaskError,
    current_context,
)
from jabba.callee.store import Busy, Claimed, Kept
from jabba.callee.wire import Request, Response
from tests.support.calls import NOW, OTHER_SECRET, SECRET, TASK, call_body, request, signed
from tests.support.clocks import HandClock


@pytest.fixture
def callee(clock: HandClock) -> Callee:
    clock.seconds = NOW
    return Callee("billing", [SECRET], clock=clock)


def body_of(response: Response) -> Any:
    return json.loads(response.body)


async def test_a_call_is_answered_with_what_its_function_returns(callee: Callee) -> None:
    @callee.callback("core.rpc.deactivate")
    async def deactivate(entity: int, *, hard: bool = False) -> dict[str, Any]:
        return {"entity": entity, "hard": hard}

    response = await callee.answer(request("core.rpc.deactivate", 17, kwargs={"hard": True}))

    assert (response.status, body_of(response)) == (200, {"ok": {"entity": 17, "hard": True}})
    assert response.all_headers["jabba-answer"] == "1"
    assert "jabba-retry" not in response.all_headers


async def test_a_function_that_is_not_async_runs_in_a_thread_with_its_context(callee: Callee) -> None:
    @callee.callback(module="shop", name="where")
    def where() -> dict[str, Any]:
        return {"main": threading.current_thread() is threading.main_thread(), "attempt": current_context().attempt}

    assert body_of(await callee.answer(request("shop.where", attempt=3))) == {"ok": {"main": False, "attempt": 3}}


async def test_the_context_tells_of_the_call(callee: Callee) -> None:
    seen: list[Context] = []

    @callee.callback("shop.look")
    async def look(context: Context, order: int) -> None:
        seen.append(context)

    sent = request("shop.look", 17, id="abc-0", run=2, attempt=4, meta={"tenant": "x"}, deadline="2026-01-01T00:00:00Z")
    assert (await callee.answer(sent)).status == 200

    [context] = seen
    assert (context.id, context.job_id, context.task_id) == ("abc-0", TASK, TASK)
    assert (context.run, context.attempt, context.timeout, context.meta) == (2, 4, 30.0, {"tenant": "x"})
    assert context.deadline is not None
    assert context.deadline.year == 2026
    assert not context.cancelled.is_set()


class Address(BaseModel):
    street: str


@pytest.mark.parametrize(
    "args, fields",
    [
        (["secret-17"], ["order"]),
        ([1, {"street": ["secret-17"]}], ["address.street"]),
        ([1, {"street": "a"}, "secret-17"], ["args[2]"]),
        ([], ["order"]),
    ],
)
async def test_wrong_arguments_are_named_without_their_values(callee: Callee, args: Any, fields: list[str]) -> None:
    @callee.callback("shop.send")
    async def send(order: int, address: Address | None = None) -> None:
        raise AssertionError

    response = await callee.answer(request("shop.send", *args))

    assert (response.status, response.all_headers["jabba-retry"]) == (422, "no")
    assert [one["field"] for one in body_of(response)["error"]["fields"]] == fields
    assert b"secret-17" not in response.body


async def test_arguments_become_what_the_annotations_want(callee: Callee) -> None:
    @callee.callback("shop.send")
    async def send(address: Address) -> dict[str, str]:
        return {"street": address.street}

    assert body_of(await callee.answer(request("shop.send", {"street": "a"}))) == {"ok": {"street": "a"}}


async def test_an_unknown_function_is_final(callee: Callee) -> None:
    response = await callee.answer(request("shop.nothing"))

    assert (response.status, response.all_headers["jabba-retry"]) == (404, "no")


@pytest.mark.parametrize(
    "error, shape, retry",
    [
        (TaskError({"reason": "declined"}), {"error": {"reason": "declined"}}, None),
        (FinalError({"reason": "stolen"}), {"error": {"reason": "stolen"}}, "no"),
        (RetryTask("later", after=2.5), {"error": {"error": "later"}}, "2.5"),
        (RetryTask("later"), {"error": {"error": "later"}}, "yes"),
    ],
)
async def test_errors_say_whether_to_try_again(callee: Callee, error: Exception, shape: Any, retry: str | None) -> None:
    @callee.callback("shop.fail")
    async def fail() -> None:
        raise error

    response = await callee.answer(request("shop.fail"))

    assert (response.status, body_of(response), response.headers.get("jabba-retry")) == (200, shape, retry)


async def test_what_is_raised_is_told_as_raised(callee: Callee) -> None:
    @callee.callback("shop.fail")
    def fail() -> None:
        raise ValueError("no such order")

    response = await callee.answer(request("shop.fail"))

    assert body_of(response)["raised"]["error"] == "ValueError: no such order"
    assert response.status == 200


Change = Callable[[Request], Request]


def with_header(name: str, value: str) -> Change:
    return lambda sent: replace(sent, headers={**sent.headers, name: value})


def as_signed(document: Any, **other: Any) -> Change:
    made = signed(document, **other)
    return lambda _: Request("POST", made["headers"], made["data"])


REFUSED: dict[str, tuple[Change, int]] = {
    "another secret": (as_signed(call_body("shop.ok"), secret=OTHER_SECRET), 401),
    "another body": (lambda sent: replace(sent, body=sent.body + b" "), 401),
    "old": (as_signed(call_body("shop.ok"), now=NOW - 301), 401),
    "early": (as_signed(call_body("shop.ok"), now=NOW + 301), 401),
    "no headers": (lambda sent: replace(sent, headers={}), 401),
    "no comma": (with_header("webhook-signature", "v1"), 401),
    "only commas": (with_header("webhook-signature", ",,, ,"), 401),
    "not ASCII": (with_header("webhook-signature", "v1,\u00e4\udcff"), 401),
    "no base64": (with_header("webhook-signature", "v1,==="), 401),
    "long": (with_header("webhook-signature", "v1,a " * 50_000), 401),
    "timestamp": (with_header("webhook-timestamp", "1e9"), 401),
    "timestamp of other digits": (with_header("webhook-timestamp", "\u0661\u0662"), 401),
    "id": (with_header("webhook-id", "a\r\nb"), 401),
    "timeout": (with_header("jabba-timeout", "nan"), 400),
    "negative timeout": (with_header("jabba-timeout", "-1"), 400),
    "type": (with_header("jabba-type", "cancel"), 400),
    "unknown type": (as_signed({**call_body("shop.ok"), "type": "jabba.other"}), 400),
    "encoding": (with_header("content-encoding", "gzip"), 415),
    "method": (lambda sent: replace(sent, method="GET"), 405),
    "service": (as_signed(call_body("shop.ok", service="shop")), 403),
    "no JSON": (as_signed(b"{"), 400),
    "a list": (as_signed(b"[]"), 400),
    "wrong fields": (as_signed({**call_body("shop.ok"), "args": 5}), 400),
    "deep": (as_signed(b"[" * 100_000), 400),
    "not UTF-8": (as_signed(b'{"type": "\xff"}'), 400),
    "large": (as_signed(b" " * (2 << 20) + b" "), 413),
}


@pytest.mark.parametrize("change, status", REFUSED.values(), ids=REFUSED)
async def test_what_is_wrong_is_refused_and_runs_nothing(callee: Callee, change: Change, status: int) -> None:
    @callee.callback("shop.ok")
    async def ok() -> None:
        raise AssertionError

    response = await callee.answer(change(request("shop.ok")))

    assert response.status == status
    assert body_of(response)["error"]["error"]
    assert response.all_headers["jabba-answer"] == "1"


def test_a_header_that_came_twice_is_refused() -> None:
    with pytest.raises(Exception, match="webhook-id came twice"):
        Request.of("POST", [("Webhook-Id", "a"), ("webhook-id", "b")], b"")


async def test_a_signature_by_either_secret_is_good(clock: HandClock) -> None:
    clock.seconds = NOW
    callee = Callee("billing", [OTHER_SECRET, SECRET], clock=clock)

    assert (await callee.answer(request("shop.nothing"))).status == 404


async def test_a_repeated_call_gets_the_same_answer_and_runs_once(callee: Callee) -> None:
    runs: list[int] = []

    @callee.callback("shop.charge")
    async def charge() -> dict[str, int]:
        runs.append(1)
        return {"runs": len(runs)}

    answers = [body_of(await callee.answer(request("shop.charge", id="a-0", attempt=n))) for n in (1, 2)]
    other_run = body_of(await callee.answer(request("shop.charge", id="a-1", run=1)))

    assert answers == [{"ok": {"runs": 1}}, {"ok": {"runs": 1}}]
    assert other_run == {"ok": {"runs": 2}}


@pytest.mark.parametrize("error, runs", [(TaskError, 2), (RetryTask, 2), (ValueError, 2), (FinalError, 1)])
async def test_only_final_answers_are_given_again(callee: Callee, error: type[Exception], runs: int) -> None:
    seen: list[int] = []

    @callee.callback("shop.fail")
    async def fail() -> None:
        seen.append(1)
        raise error("why")

    first, second = [await callee.answer(request("shop.fail", id="a-0")) for _ in range(2)]

    assert len(seen) == runs
    assert first.headers == second.headers


async def test_a_delivery_meanwhile_is_told_to_wait_and_a_cancel_reaches_the_callback(callee: Callee) -> None:
    begun = asyncio.Event()

    @callee.callback("shop.slow")
    async def slow(context: Context) -> dict[str, bool]:
        begun.set()
        await context.cancelled.wait()
        return {"cancelled": True}

    first = asyncio.create_task(callee.answer(request("shop.slow", id="a-0")))
    await begun.wait()
    second = await callee.answer(request("shop.slow", id="a-0"))
    assert (second.status, second.headers["retry-after"]) == (409, "1")

    cancel = signed({**call_body("shop.slow"), "type": "jabba.cancel"}, id="a-0")
    cancelled = await callee.answer(Request("POST", cancel["headers"], cancel["data"]))
    assert body_of(cancelled) == {"ok": {"cancelled": True}}
    assert body_of(await first) == {"ok": {"cancelled": True}}

    again = await callee.answer(Request("POST", cancel["headers"], cancel["data"]))
    assert body_of(again) == {"ok": {"cancelled": False}}


async def test_progress_makes_the_answer_a_stream_whose_last_line_is_the_answer(callee: Callee) -> None:
    @callee.callback("shop.import")
    async def stream(context: Context) -> None:
        for done in range(2):
            await context.progress({"done": done})
        raise FinalError({"reason": "broken"})

    response = await callee.answer(request("shop.import"))

    assert response.all_headers["content-type"] == "application/x-ndjson"
    assert response.lines is not None
    lines = [json.loads(line) async for line in response.lines]
    assert lines == [
        {"progress": {"done": 0}},
        {"progress": {"done": 1}},
        {"error": {"reason": "broken"}, "retry": "no"},
    ]


async def test_an_accepted_call_is_answered_with_202_and_not_kept(callee: Callee) -> None:
    tokens: list[str] = []

    @callee.callback("shop.later")
    async def later(context: Context) -> Accepted:
        assert context.completion is not None
        tokens.append(context.completion.token)
        return context.accept()

    for token in ("a", "b"):
        completion = {"url": "http://127.0.0.1:1/v1/tasks/17", "token": token}
        response = await callee.answer(request("shop.later", id="a-0", completion=completion))
        assert (response.status, response.all_headers["jabba-answer"]) == (202, "1")

    assert tokens == ["a", "b"]


async def test_nothing_is_accepted_that_cannot_be_completed(callee: Callee) -> None:
    @callee.callback("shop.later")
    async def later(context: Context) -> Accepted:
        return context.accept()

    assert "no completion" in body_of(await callee.answer(request("shop.later")))["raised"]["error"]


async def test_once_needs_the_store_of_a_database(callee: Callee) -> None:
    @callee.callback("shop.charge")
    async def charge(context: Context) -> None:
        context.once(None)

    assert "PostgresStore" in body_of(await callee.answer(request("shop.charge")))["raised"]["error"]


async def test_a_store_that_cannot_be_used_makes_the_caller_wait(clock: HandClock) -> None:
    class Broken:
        lease = None

        async def claim(self, id: str) -> Any:  # noqa: A002
            raise OSError("down")

    clock.seconds = NOW
    callee = Callee("billing", [SECRET], store=Broken(), clock=clock)  # type: ignore[arg-type]
    callee.callback("shop.ok")(lambda: None)

    response = await callee.answer(request("shop.ok"))
    assert (response.status, response.headers["retry-after"]) == (503, "1")


def generator() -> Any:
    yield 1


def unknown_annotation(order: "NoSuchType") -> None:  # type: ignore[name-defined]  # noqa: F821
    pass


@pytest.mark.parametrize("target", [generator, unknown_annotation])
def test_what_cannot_be_a_callback_is_refused_when_it_is_registered(callee: Callee, target: Any) -> None:
    with pytest.raises(InvalidCallback):
        callee.callback("shop.x")(target)


def test_a_name_is_taken_once(callee: Callee) -> None:
    callee.callback("shop.x")(lambda: None)
    with pytest.raises(InvalidCallback, match="registered twice"):
        callee.callback("shop.x")(lambda: None)


def test_a_callee_has_a_secret() -> None:
    with pytest.raises(ValueError, match="needs a secret"):
        Callee("billing", [])


async def test_the_context_may_stand_anywhere(callee: Callee) -> None:
    async def first(context: Context, order: int = 5, *rest: int) -> dict[str, Any]:
        return {"id": context.id, "order": order, "rest": rest}

    async def last(order: int = 5, *rest: int, context: Context) -> dict[str, Any]:
        return {"id": context.id, "order": order, "rest": rest}

    functions: list[Callable[..., Any]] = [first, last]
    for number, function in enumerate(functions):
        callee.callback(f"shop.f{number}")(function)
        for args in ([], [1], [1, 2, 3]):
            answered = body_of(await callee.answer(request(f"shop.f{number}", *args, id=f"{number}{len(args)}-0")))
            order = args[0] if args else 5
            assert answered == {"ok": {"id": f"{number}{len(args)}-0", "order": order, "rest": args[1:]}}


async def test_two_deliveries_at_work_are_both_answered(clock: HandClock) -> None:
    class Forgetful(MemoryStore):
        async def claim(self, id: str) -> Claimed | Busy | Kept:  # noqa: A002
            return Claimed("")

    clock.seconds = NOW
    callee = Callee("billing", [SECRET], store=Forgetful(), clock=clock)
    both = asyncio.Barrier(2)

    @callee.callback("shop.meet")
    async def meet() -> None:
        await both.wait()

    answers = await asyncio.gather(*(callee.answer(request("shop.meet", id="a-0")) for _ in range(2)))
    assert [answer.status for answer in answers] == [200, 200]
