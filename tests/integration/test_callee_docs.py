"""The examples of ``docs/callee.md`` run, and do what the page says."""

import ast
import inspect
import json
import re
import time
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from jabba.callee import Callee, checks
from jabba.callee.wire import Request
from tests.support.calls import SECRET, call_body, signed

PAGE = (Path(__file__).parents[2] / "docs" / "callee.md").read_text()
PROGRAMS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


async def run(number: int, **names: Any) -> dict[str, Any]:
    """Run one of the page's programs; return its names."""
    names |= {"secrets": [SECRET], "__name__": "documented"}
    running = eval(compile(PROGRAMS[number], "page", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names)  # noqa: S307 — ours
    if inspect.iscoroutine(running):
        await running
    return names


async def ask(callee: Callee, function: str, *args: Any, **other: Any) -> Any:

    made = signed(call_body(function, *args, **other), id="a-0", now=time.time())
    response = await callee.answer(Request("POST", made["headers"], made["data"]))
    if response.lines is not None:
        return [json.loads(line) async for line in response.lines]
    return json.loads(response.body)


async def test_the_first_program_serves(monkeypatch: pytest.MonkeyPatch) -> None:

    monkeypatch.setenv("BILLING_SECRETS", SECRET)
    app: web.Application = (await run(0))["app"]
    async with TestClient(TestServer(app)) as client:
        answers = {}
        for amount in (99.5, 5000):
            made = signed(call_body("invoices.charge", 17, amount, attempt=2), now=time.time())
            answer = await client.post("/jabba", **made)
            answers[amount] = await answer.json()
    assert answers == {
        99.5: {"ok": {"charged": 99.5, "attempt": 2}},
        5000: {"error": {"reason": "the card was declined"}},
    }


async def test_the_payment_happens_once(database: str) -> None:
    connection = await asyncpg.connect(database)
    await connection.execute("CREATE TABLE accounts (id int, credit int); INSERT INTO accounts VALUES (17, 100)")
    names = await run(1, database=database)
    async with names["pool"]:
        for _ in range(2):
            assert await ask(names["callee"], "accounts.pay", 17, 30) == {"ok": {"paid": 30}}
    assert await connection.fetchval("SELECT credit FROM accounts") == 70
    await connection.close()


async def test_the_export_tells_how_far_it_is() -> None:
    lines = await ask((await run(2))["callee"], "invoices.export", 2)
    assert lines == [
        {"progress": {"month": 1, "of": 2}},
        {"progress": {"month": 2, "of": 2}},
        {"ok": {"months": 2}},
    ]


async def test_the_approval_is_completed_later() -> None:
    seen = []

    async def completed(request: web.Request) -> web.Response:
        seen.append((request.path, await request.json()))
        return web.json_response({"data": {}})

    names = await run(3)
    app = web.Application()
    app.router.add_post("/v1/tasks/17/complete", completed)
    async with TestServer(app) as server:
        completion = {"url": str(server.make_url("/v1/tasks/17")), "token": "secret"}
        assert await ask(names["callee"], "invoices.approve", 17, completion=completion) == {}
        await names["approved"](17)
    assert seen == [("/v1/tasks/17/complete", {"token": "secret", "ok": {"approved": True}})]


async def test_the_mounted_application_is_one() -> None:
    assert callable((await run(4))["app"])
    assert len(PROGRAMS) == 5


def test_the_functions_of_the_check_are_those_that_the_sdk_offers() -> None:
    table = PAGE.partition("<!-- check functions -->\n")[2]
    named = set(re.findall(r"^\| `(jabba\.check\.\w+)\(", table, re.MULTILINE))
    callee = Callee("billing", [SECRET])
    callee.offer_checks()
    assert named == {f"{checks.MODULE}.{name}" for _, name in callee._functions}
