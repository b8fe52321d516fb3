"""Ports, and the URLs of what listens on them."""

import pytest

from jabba.local.ports import is_free, url_of
from jabba.settings import Settings


@pytest.mark.parametrize(
    "host, url",
    [
        ("127.0.0.1", "http://127.0.0.1:8600"),
        ("localhost", "http://localhost:8600"),
        ("::1", "http://[::1]:8600"),
        ("2001:db8:0::7", "http://[2001:db8::7]:8600"),
        ("", "http://127.0.0.1:8600"),
        ("0.0.0.0", "http://127.0.0.1:8600"),  # noqa: S104 — nothing listens
        # What listens on all IPv6 addresses is not reached by IPv4.
        ("::", "http://[::1]:8600"),
        ("0:0:0:0:0:0:0:0", "http://[::1]:8600"),
    ],
)
def test_a_url_has_an_ipv6_address_in_brackets(host: str, url: str) -> None:
    assert url_of(host, 8600) == url
    assert Settings(url=url).url == url


def test_what_is_no_port_is_not_free() -> None:
    assert not is_free(70_000)
