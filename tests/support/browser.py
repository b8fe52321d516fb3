"""Chromium itself, spoken to over its DevTools protocol: a person who opens pages and is asked for a password."""

import asyncio
import itertools
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

from aiohttp import ClientSession, ClientWebSocketResponse

from jabba.concurrency.cancellation import cancel_and_wait
from tests.support.processes import ChildProcess, eventually, plain_environment

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

_SECONDS = 60

# Nothing but what the pages ask for, and no name is ever looked up.
_ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--remote-debugging-port=0",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
)


class Page:
    """One tab. ``requested`` has the URLs of all that it asked for, ``prompts`` counts the questions for a password."""

    def __init__(self, socket: ClientWebSocketResponse, password: str) -> None:
        self.requested: list[str] = []
        self.prompts = 0
        self.faults: list[str] = []
        self._socket = socket
        self._password = password
        self._session: dict[str, str] = {}
        self._numbers = itertools.count()
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._loaded = asyncio.Event()
        self._sent: set[asyncio.Task[Any]] = set()

    async def attach(self) -> Self:
        """Open the tab."""
        target = await self.send("Target.createTarget", url="about:blank")
        attached = await self.send("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = {"sessionId": attached["sessionId"]}
        for domain in ("Page", "Runtime", "Log"):
            await self.send(f"{domain}.enable")
        await self.send("Fetch.enable", handleAuthRequests=True)
        return self

    async def open(self, url: str) -> None:
        """Go to a URL, and wait until it is loaded."""
        self._loaded.clear()
        answer = await self.send("Page.navigate", url=url)
        assert "errorText" not in answer, answer
        async with asyncio.timeout(_SECONDS):
            await self._loaded.wait()

    async def evaluate(self, script: str) -> Any:
        """Return what an expression of JavaScript is in the page."""
        answer = await self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Give a command; return its result."""
        number = next(self._numbers)
        self._answers[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": parameters, **self._session})
        async with asyncio.timeout(_SECONDS):
            answer = await self._answers[number]
        assert "error" not in answer, (method, answer)
        result: dict[str, Any] = answer["result"]
        return result

    async def listen(self) -> None:
        """Take in what the browser says."""
        async for message in self._socket:
            said = message.json()
            if "id" in said:
                self._answers.pop(said["id"]).set_result(said)
            else:
                self._take(said["method"], said["params"])

    def _take(self, event: str, about: dict[str, Any]) -> None:
        match event:
            case "Page.loadEventFired":
                self._loaded.set()
            case "Fetch.requestPaused":
                self.requested.append(about["request"]["url"])
                self._later("Fetch.continueRequest", requestId=about["requestId"])
            case "Fetch.authRequired":
                self.prompts += 1
                given = {"response": "ProvideCredentials", "username": "anyone", "password": self._password}
                self._later("Fetch.continueWithAuth", requestId=about["requestId"], authChallengeResponse=given)
            case "Log.entryAdded":
                self.faults.append(about["entry"]["text"])

    def _later(self, method: str, **parameters: Any) -> None:
        task = asyncio.create_task(self.send(method, **parameters))
        self._sent.add(task)
        task.add_done_callback(self._sent.discard)


@asynccontextmanager
async def browsing(directory: Path, password: str) -> AsyncIterator[Page]:
    """Return a tab of a browser of its own, whose user knows one password."""
    assert PROGRAM is not None
    program = [PROGRAM, *_ARGUMENTS, f"--user-data-dir={directory}", "about:blank"]
    place = directory / "DevToolsActivePort"

    async def listens() -> bool:
        return place.exists() and "\n" in place.read_text()

    log = directory.parent / "browser.log"
    with ChildProcess("browser", program, environment=plain_environment(), log=log) as browser:
        browser.start()
        await eventually(listens, 20, "browser")
        port, path = place.read_text().split("\n")
        async with ClientSession() as http, http.ws_connect(f"ws://127.0.0.1:{port}{path}", max_msg_size=0) as socket:
            page = Page(socket, password)
            listening = asyncio.create_task(page.listen())
            try:
                yield await page.attach()
            finally:
                await cancel_and_wait([listening])
