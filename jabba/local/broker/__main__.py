"""``python -m jabba.local.broker --directory DIRECTORY --port PORT`` serves until SIGTERM or SIGINT."""

import argparse
import asyncio
import logging
import resource
import signal
import sys
from pathlib import Path

from jabba.local.broker.server import FLUSH_SECONDS, BrokerFailed, BrokerServer

_FILES = 10_000


def main() -> None:
    """Run a broker."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    options = _options()
    _allow_many_files()
    server = BrokerServer(options.directory, options.port, flush_seconds=options.flush_seconds)
    try:
        asyncio.run(_serve(server))
    except BrokerFailed as error:
        sys.exit(str(error))


async def _serve(server: BrokerServer) -> None:
    stopping = asyncio.Event()
    for one in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(one, stopping.set)
    async with server:
        await stopping.wait()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m jabba.local.broker", description="Jabba's embedded broker.")
    parser.add_argument("--directory", type=Path, required=True, help="where everything is kept")
    parser.add_argument("--port", type=int, required=True, help="port of 127.0.0.1 to listen on")
    parser.add_argument(
        "--flush-seconds", type=float, default=FLUSH_SECONDS, help="how often writes are forced to the disk"
    )
    return parser.parse_args()


def _allow_many_files() -> None:
    """Every partition that is written to keeps a file open."""
    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if most == resource.RLIM_INFINITY else min(_FILES, most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(allowed, wanted), most))


if __name__ == "__main__":
    main()
