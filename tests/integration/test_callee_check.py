"""``jabba callee check`` passes callees that keep to the protocol, and names what others do wrong."""

import asyncio
import json
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from jabba.callbacks.signature import secret_bytes
from jabba.callee import Callee, MemoryStore
from jabba.callee.contract import Contract, Result
from jabba.callee.store import Claimed, Kept
from jabba.callee.wire import Final
from jabba.errors import Unavailable
from jabba.local.ports import free_port
from tests.support.calls import SECRET

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
STREAM = "Progress comes as lines, and the last one is the answer"
CANCEL = "A cancel reaches a call that is at work"
CHECKS = 18


@asynccontextmanager
async def serving(app: web.Application) -> AsyncIterator[str]:
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


async def checked(url: str) -> list[Result]:
    return [one async for one in Contract(url, secret_bytes(SECRET), "billing").run()]


async def failed(app: web.Application) -> set[str]:
    """Return the beginnings of what the checks of an application complain about."""
    async with serving(app) as url:
        return {one.name for one in await checked(url) if one.outcome == "failed"}


def complete(**options: Any) -> Callee:
    callee = Callee("billing", [SECRET], **options)
    callee.offer_checks()
    return callee


async def test_a_callee_with_the_sdk_passes_every_check() -> None:
    async with serving(complete().aiohttp_app()) as url:
        results = await checked(url)
    assert [one for one in results if one.outcome != "passed"] == []
    assert len(results) == CHECKS


async def test_a_callee_without_the_functions_is_checked_without_them() -> None:
    async with serving(Callee("billing", [SECRET]).aiohttp_app()) as url:
        results = await checked(url)
    assert {one.outcome for one in results} == {"passed", "skipped"}
    assert sum(one.outcome == "passed" for one in results) == 10


class Forgetful(MemoryStore):
    """Claims every call, and keeps nothing."""

    async def claim(self, id: str) -> Claimed | Kept:  # noqa: A002
        return Claimed("")


class Clinging(MemoryStore):
    """Keeps every answer."""

    async def release(self, id: str, claim: str) -> None:  # noqa: A002
        kept = Final(200, b'{"error":{"runs":1}}').encode()
        await self.keep(id, claim, kept)


class EveryService(str):
    """The name of every service."""

    __slots__ = ()

    def __ne__(self, _: object) -> bool:
        return False

    __hash__ = str.__hash__


@web.middleware
async def without_mark(request: web.Request, handler: Any) -> web.StreamResponse:
    response: web.StreamResponse = await handler(request)
    response.headers.pop("jabba-answer", None)
    return response


def unmarked() -> web.Application:
    app = complete().aiohttp_app()
    app.middlewares.append(without_mark)
    return app


def of_proxy() -> web.Application:
    async def page(_: web.Request) -> web.Response:
        return web.Response(text="<html>Welcome</html>")

    app = web.Application(client_max_size=1 << 30)
    app.router.add_route("*", "/", page)
    return app


def any_service() -> web.Application:
    return _named(EveryService("billing"))


def _named(service: str) -> web.Application:
    callee = Callee(service, [SECRET])
    callee.offer_checks()
    return callee.aiohttp_app()


ONCE = {
    "A repeated call gets the same answer, and runs once",
    "The same bytes sent twice run once",
    "An error that says jabba-retry: no is kept",
    "A delivery while another one is at work is answered with 409",
}
WRONG: dict[str, tuple[Any, set[str]]] = {
    "old calls": (
        lambda: complete(replay_seconds=3600).aiohttp_app(),
        {"A call of ten minutes ago is refused, and one from the future"},
    ),
    "no store": (lambda: complete(store=Forgetful()).aiohttp_app(), {*ONCE, CANCEL}),
    "every answer kept": (
        lambda: complete(store=Clinging()).aiohttp_app(),
        {"An error that may be tried again is not kept"},
    ),
    "any service": (any_service, {"A call that is meant for another service is refused"}),
    "no limit": (
        lambda: complete(most_request_bytes=1 << 30).aiohttp_app(),
        {"A call of 17 MiB is refused"},
    ),
    "no mark": (
        unmarked,
        {
            "A call of an unknown function is answered with 404 and jabba-answer: 1",
            "A call is answered with its result and jabba-answer: 1",
        },
    ),
}


@pytest.mark.parametrize("make, names", WRONG.values(), ids=WRONG)
async def test_what_a_callee_does_wrong_is_named(make: Any, names: set[str]) -> None:
    assert await failed(make()) == names


async def test_a_page_of_a_proxy_fails_all_but_rotation() -> None:
    assert len(await failed(of_proxy())) == CHECKS - 1


async def test_nothing_there_is_no_callee() -> None:
    with pytest.raises(Unavailable, match="nothing answers"):
        await checked(f"http://127.0.0.1:{free_port()}/")


@contextmanager
def example(*command: str) -> Iterator[str]:
    """Run an example of the documentation as a server; return its URL."""
    port = free_port()
    with subprocess.Popen([*command, str(port), "billing", SECRET], stderr=subprocess.DEVNULL) as process:
        try:
            while True:
                assert process.poll() is None, "the example ended"
                with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                    break
            yield f"http://127.0.0.1:{port}/"
        finally:
            process.terminate()


async def test_the_example_in_python_keeps_to_the_protocol() -> None:
    with example(sys.executable, str(EXAMPLES / "callee.py")) as url:
        results = await checked(url)
    assert [one for one in results if one.outcome == "failed"] == []
    assert {one.name for one in results if one.outcome == "skipped"} == {STREAM, CANCEL}


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not on PATH")
async def test_the_example_in_javascript_keeps_to_the_protocol() -> None:
    with example("node", str(EXAMPLES / "callee.mjs")) as url:
        results = await checked(url)
    assert [one for one in results if one.outcome == "failed"] == []
    assert {one.name for one in results if one.outcome == "skipped"} == {STREAM}


def command(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "jabba", "callee", "check", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


async def test_the_command_reports_in_words_and_by_its_exit_code() -> None:
    async with serving(complete().aiohttp_app()) as url:
        good = await asyncio.to_thread(command, url, "--secret", SECRET, "--service", "billing")
        bad = await asyncio.to_thread(command, url, "--secret", SECRET, "--service", "shop", "--json")
    assert (good.returncode, good.stdout.splitlines()[-1]) == (0, "18 passed, 0 failed, 0 skipped")
    assert bad.returncode == 1
    assert {one["outcome"] for one in json.loads(bad.stdout)} == {"passed", "failed"}

    away = await asyncio.to_thread(
        command, f"http://127.0.0.1:{free_port()}/", "--secret", SECRET, "--service", "billing"
    )
    wrong = await asyncio.to_thread(command, url, "--secret", "whsec_x", "--service", "billing")
    assert (away.returncode, wrong.returncode) == (3, 2)
