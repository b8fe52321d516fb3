"""Sockets that connect to no address of a cloud's metadata service, nor to another link-local one.

They see each address that a connection is made to, whether it came from a name or stood in a URL.
"""

import errno
import socket
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

_NAT64 = ip_network("64:ff9b::/96")
_METADATA = {ip_address(one) for one in ("fd00:ec2::254", "100.100.100.200", "192.0.0.192")}


class BlockedAddress(OSError):
    """A service's address is link-local, or one of a metadata service."""


def guarded_socket(address: tuple[Any, ...]) -> socket.socket:
    """Make the socket of a connection; ``address`` is an entry of ``getaddrinfo``.

    Raises:
        BlockedAddress: nothing of a service can be there.
    """
    family, kind, protocol, _, place = address
    if family in (socket.AF_INET, socket.AF_INET6) and is_blocked(str(place[0])):
        raise BlockedAddress(errno.EACCES, f"{place[0]} is link-local or of a metadata service, and never called")
    made = socket.socket(family, kind, protocol)
    made.settimeout(0)
    return made


def is_blocked(host: str) -> bool:
    """Return whether an IP address is link-local or of a metadata service, in whatever form it is written."""
    return any(one.is_link_local or one in _METADATA for one in _forms(ip_address(host.partition("%")[0])))


def _forms(address: IPv4Address | IPv6Address) -> list[IPv4Address | IPv6Address]:
    """Return an address and the IPv4 addresses that are inside of it."""
    if isinstance(address, IPv4Address):
        return [address]
    inside = [address.ipv4_mapped, address.sixtofour]
    if address in _NAT64:
        inside.append(IPv4Address(int(address) & 0xFFFFFFFF))
    return [address, *(one for one in inside if one is not None)]
