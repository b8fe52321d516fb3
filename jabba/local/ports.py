"""Ports for servers of our own."""

import random
import socket
from contextlib import suppress
from ipaddress import ip_address

from jabba.errors import NotReady

# Below the range that Linux hands out to outgoing connections (32768-60999), so that a server that is restarted
# finds its port free.
_PORTS = range(20000, 32000)


def free_port() -> int:
    """Return a TCP port that nothing listens on at 127.0.0.1 now."""
    while True:
        port = random.choice(_PORTS)  # noqa: S311 - spreads parallel starts, guards nothing
        if is_free(port):
            return port


def is_free(port: int) -> bool:
    """Whether nothing listens on a TCP port at 127.0.0.1 now."""
    with suppress(OSError, OverflowError), socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))
        return True
    return False


def check_port(host: str, port: int, chosen_with: str = "--port") -> None:
    """Refuse a port on which nobody could listen now; ``chosen_with`` is what chooses another one.

    Raises:
        NotReady: it says what to do.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise NotReady(
            f"port {port} of {host} cannot be used ({error.strerror}); choose another one with {chosen_with}"
        ) from error


def url_of(host: str, port: int) -> str:
    """Return the URL at which this machine finds what listens on a host; an IPv6 address stands in brackets.

    What listens on all addresses is found at the loopback one.
    """
    try:
        address = ip_address(host or "0.0.0.0")  # noqa: S104 — nothing listens here
    except ValueError:
        return f"http://{host}:{port}"
    if address.is_unspecified:
        address = ip_address("127.0.0.1" if address.version == 4 else "::1")  # noqa: PLR2004 — IP's versions
    return f"http://{address}:{port}" if address.version == 4 else f"http://[{address}]:{port}"  # noqa: PLR2004
