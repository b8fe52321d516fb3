"""Ports for servers of our own."""

import random
import socket
from contextlib import suppress

# Below the range that Linux hands out to outgoing connections (32768-60999), so that a server that is restarted
# finds its port free.
_PORTS = range(20000, 32000)


def free_port() -> int:
    """Answer a TCP port that nothing listens on at 127.0.0.1 now."""
    while True:
        port = random.choice(_PORTS)  # noqa: S311 - spreads parallel starts, guards nothing
        with suppress(OSError), socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port
