import socket

import pytest

from jabba.callbacks.guarded_sockets import BlockedAddress, guarded_socket, is_blocked


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "169.254.0.1",
        "fe80::1%eth0",
        "fd00:ec2::254",
        "100.100.100.200",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
    ],
)
def test_blocks_link_local_and_metadata_addresses_in_every_form(host: str) -> None:
    assert is_blocked(host)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "10.0.0.1", "192.168.1.1", "fd00::1", "8.8.8.8", "2001:db8::1"])
def test_private_networks_are_where_services_are(host: str) -> None:
    assert not is_blocked(host)


def test_makes_sockets_of_others() -> None:
    with guarded_socket((socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 80))) as made:
        assert not made.getblocking()
    with pytest.raises(BlockedAddress, match=r"169\.254\.169\.254 is link-local"):
        guarded_socket((socket.AF_INET, socket.SOCK_STREAM, 0, "", ("169.254.169.254", 80)))
