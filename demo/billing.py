"""A service of its own beside the shop, which Jabba calls over HTTP.

``python -m demo.billing COMMAND…`` runs a command with the service beside it, and with a services file that names it.
"""

import asyncio
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aiohttp import web

from jabba.callee import Callee, Context, FinalError, RetryTask
from jabba.local.ports import free_port

SERVICE = "billing"
CREDIT = 100
BUSY_EVERY = 3

_SERVICES = """\
[services.billing]
transport = "http"
url = ["http://127.0.0.1:{port}/jabba"]
secrets = ["{secret}"]
retry = {{ max_attempts = 4, initial = 0.2, factor = 2.0, max = 2.0 }}
"""


def callee_of(secret: str) -> Callee:
    """Return the service: ``["billing", "invoices", "charge", [17, 99.5]]`` is a call of it."""
    callee = Callee(SERVICE, [secret])

    @callee.callback("invoices.charge")
    async def charge(order: int, amount: float, context: Context) -> dict[str, float]:
        """Charge a card. The bank is busy at the first attempt for every third order, and declines large amounts."""
        if order % BUSY_EVERY == 0 and context.attempt == 1:
            raise RetryTask("the bank is busy", after=0.2)
        if amount > CREDIT:
            raise FinalError({"order": order, "reason": "the card was declined"})
        return {"order": order, "charged": amount}

    @callee.callback("invoices.remind")
    def remind(order: int) -> dict[str, int]:
        """Functions that are not async run in threads."""
        return {"reminded": order}

    return callee


@contextmanager
def running(directory: Path) -> Iterator[Path]:
    """Serve on a free port, in a thread; return the services file that names the service, in ``directory``."""
    secret = "whsec_" + b64encode(secrets.token_bytes(32)).decode()
    port = free_port()
    ready, loop = threading.Event(), asyncio.new_event_loop()
    stop = asyncio.Event()
    serving = threading.Thread(target=loop.run_until_complete, args=(_serve(callee_of(secret), port, ready, stop),))
    serving.start()
    try:
        ready.wait()
        file = directory / "services.toml"
        file.write_text(_SERVICES.format(port=port, secret=secret))
        yield file
    finally:
        loop.call_soon_threadsafe(stop.set)
        serving.join()
        loop.close()


async def _serve(callee: Callee, port: int, ready: threading.Event, stop: asyncio.Event) -> None:
    app = web.Application()
    app.add_subapp("/jabba", callee.aiohttp_app())
    runner = web.AppRunner(app)
    try:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        ready.set()
        await stop.wait()
    finally:
        ready.set()
        await runner.cleanup()


def main(command: list[str]) -> int:
    """Run a command beside the service, until it ends; return its exit code."""
    with tempfile.TemporaryDirectory(prefix="jabba-billing-") as directory, running(Path(directory)) as file:
        environment = {"JABBA_SERVICES": str(file), **os.environ}
        with subprocess.Popen(command, env=environment) as process:  # noqa: S603 — what make says
            # Ctrl-C reaches the command by itself, which decides when to end.
            signal.signal(signal.SIGINT, lambda *_: None)
            signal.signal(signal.SIGTERM, lambda *_: process.terminate())
            return process.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
