"""The examples in ``docs`` run as they stand: the Python, and every command of ``jabba``."""

import ast
import inspect
import json
import re
import shlex
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from jabba import Callback, Client, TaskContext, outbox
from jabba.callbacks.local import LocalRunner
from jabba.callbacks.results import Answer
from tests.support.processes import CHECKOUT, plain_environment
from tests.support.up import Up

SECONDS = 60
# The tutorial has tests of its own, since its examples build on each other.
PAGES = sorted(page for page in (CHECKOUT / "docs").glob("*.md") if page.name != "tutorial.md")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
EXAMPLES = [(page.name, *found) for page in PAGES for found in BLOCK.findall(page.read_text())]
PROGRAMS = [
    pytest.param(text, id=f"{page} {number}")
    for number, (page, language, text) in enumerate(EXAMPLES)
    # Those of callbacks are one module, callees have tests of their own; the broker is somebody else's.
    if language == "python" and page not in ("callbacks.md", "callee.md") and "kafka-1.example" not in text
]
CALLBACKS = "\n".join(text for page, language, text in EXAMPLES if language == "python" and page == "callbacks.md")
COMMANDS = [
    line
    for _, language, text in EXAMPLES
    for line in text.splitlines()
    if language == "sh" and line.startswith("jabba ") and "watch" not in line  # which goes on until Ctrl-C
]


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with Up(tmp_path_factory.mktemp("docs"), callbacks="demo.shop") as running:
        yield running


@pytest.fixture
async def client(up: Up) -> AsyncIterator[Client]:
    async with Client(up.url, key=up.key) as made:
        yield made


@pytest.fixture
def database(up: Up) -> str:
    """The URL of a database with an outbox and a table of orders."""
    dsn = (up.data / "database").read_text().strip()
    with psycopg.connect(dsn) as connection:
        connection.execute(outbox.DDL)
        connection.execute("CREATE TABLE IF NOT EXISTS orders (number integer, job uuid)")
    return dsn


@pytest.mark.parametrize("program", PROGRAMS)
async def test_python_runs(program: str, client: Client, database: str) -> None:
    names: dict[str, Any] = {"client": client, "database": database}
    running = eval(compile(program, "example", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names)  # noqa: S307 — ours
    if inspect.iscoroutine(running):
        await running


async def test_callbacks_do_what_is_told(up: Up, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    exec(CALLBACKS, {"__name__": "documented"})  # noqa: S102 — ours
    monkeypatch.setenv("SHOP_DATABASE", database)
    task = TaskContext(uuid4(), uuid4(), 1)
    runner = LocalRunner(1)

    async def result(function: str, *args: Any) -> Any:
        callback = Callback(service="local", module="documented", function=function, args=list(args))
        reply = await runner.run(callback, task)
        assert isinstance(reply, Answer)
        return reply.result

    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("CREATE TABLE charged (task uuid PRIMARY KEY)")
        connection.execute("CREATE TABLE accounts (id integer, credit numeric)")
        connection.execute("INSERT INTO accounts VALUES (17, 100)")
        assert [await result("charge", 17, 30) for _ in range(2)] == [{"charged": True}] * 2
        assert connection.execute("SELECT credit FROM accounts").fetchall() == [(70,)]

    assert await result("reserve", 17) == {"reserved": 17}
    assert await result("notify", f"{up.url}/health/live") == {"status": 401}  # it has no key
    runner.close()


def test_commands_run_in_the_order_in_which_they_are_told(up: Up) -> None:
    """``ID`` is a job, or a key where one is asked for."""
    document = json.dumps({"type": "order", "tasks": ["local", "demo.shop", "reserve", [17]]})
    job = json.loads(run(up, "submit", "-", "--wait", "--json", given=document))["id"]
    key = json.loads(run(up, "keys", "create", "--role", "reader", "--json"))["id"]

    assert len(COMMANDS) >= 14
    for line in COMMANDS:
        _, *words = shlex.split(line, comments=True)
        about = key if "keys" in words or "--key" in words else job
        run(up, *(about if word == "ID" else word for word in words))


def run(up: Up, *words: str, given: str | None = None) -> str:
    environment = {**plain_environment(), "JABBA_DATA": str(up.data), "JABBA_URL": up.url}
    command = [sys.executable, "-m", "jabba", *words]
    own: dict[str, Any] = {"cwd": CHECKOUT, "env": environment, "input": given, "timeout": SECONDS}
    done = subprocess.run(command, **own, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{words}: {done.stderr}"
    return str(done.stdout)
