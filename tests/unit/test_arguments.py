"""Durations, counts and URLs are checked where they are given."""

import asyncio
import math
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import click
import pytest

from jabba import Client, JabbaError, Producer, SyncClient, SyncProducer
from jabba.arguments import check_count, check_seconds, check_web_url
from jabba.cli import options
from jabba.errors import InvalidArgument
from jabba.settings import Settings, SettingsError

WRONG_SECONDS: list[Any] = [0, -1, -0.0, math.nan, math.inf, -math.inf, None, "5", True, [5], 1e300, 10**400]
WRONG_SECONDS += [timedelta(seconds=5), Decimal(5), 1j]
WRONG_TIMEOUTS = [value for value in WRONG_SECONDS if value is not None]
WRONG_URLS = [
    "",
    "127.0.0.1:8600",
    "localhost",
    "//localhost:8600",
    "ftp://localhost",
    "http://",
    "http://:8600",
    "http://localhost:0",
    "http://localhost:99999",
    "http://localhost:port",
    "http://[::1",
    "http://user:secret@localhost",
    "http://localhost/?a=1",
    "http://localhost/#there",
    "http://local\nhost",
    "http://local host",
    " http://localhost",
    f"http://{'a' * 70}.example",
    b"http://localhost",
    None,
    8600,
]


@pytest.mark.parametrize("value", WRONG_SECONDS, ids=repr)
@pytest.mark.parametrize(
    "use",
    [
        lambda value: check_seconds("timeout", value),
        lambda value: Client(timeout=value),
        lambda value: SyncClient(timeout=value),
        lambda value: Producer(produce_seconds=value),
        lambda value: SyncProducer(produce_seconds=value),
    ],
    ids=["check", "Client", "SyncClient", "Producer", "SyncProducer"],
)
def test_a_time_that_is_no_time_is_refused_by_name(use: Callable[[Any], object], value: Any) -> None:
    with pytest.raises(InvalidArgument, match=r"^(timeout|produce_seconds): must be a number of seconds") as raised:
        use(value)
    assert isinstance(raised.value, JabbaError)
    assert isinstance(raised.value, ValueError)


@pytest.mark.parametrize("value", [value for value in WRONG_TIMEOUTS if value != 0], ids=repr)
def test_so_is_the_time_to_wait(value: Any) -> None:
    with SyncClient() as client, pytest.raises(InvalidArgument, match="timeout: must be a number of seconds"):
        client.wait("any", timeout=value)


@pytest.mark.parametrize("value", WRONG_TIMEOUTS, ids=repr)
def test_so_is_the_time_to_watch_even_before_the_first_event_is_asked_for(value: Any) -> None:
    with SyncClient() as client, pytest.raises(InvalidArgument, match="timeout: must be a number of seconds"):
        client.watch("any", timeout=value)


async def test_so_is_the_time_to_ask_kafka() -> None:
    async with asyncio.timeout(10):
        for value in WRONG_TIMEOUTS:
            with pytest.raises(InvalidArgument, match="within: must be a number of seconds"):
                await Producer("127.0.0.1:1").check(within=value)


DURATIONS = sorted(name for name in Settings.model_fields if name.endswith(("_seconds", "_hours")))


@pytest.mark.parametrize("name", DURATIONS)
@pytest.mark.parametrize("value", ["-1", "nan", "inf", "1e300", "", "five", "1 s"])
def test_so_is_that_of_a_setting(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"JABBA_{name.upper()}: .*number"):
        Settings.from_environ({f"JABBA_{name.upper()}": value})


@pytest.mark.parametrize("value", ["-1", "nan", "inf", "1e300", "", "five"])
def test_so_is_that_of_an_option(value: str) -> None:
    with pytest.raises(click.BadParameter, match=r"number|float"):
        options.SECONDS.convert(value, None, None)
    assert options.SECONDS.convert("0", None, None) == 0


@pytest.mark.parametrize("value", [5, 0.001, 1e9])
def test_a_time_is_any_number_above_zero(value: float) -> None:
    assert check_seconds("timeout", value) == value


def test_zero_is_a_time_where_it_has_a_meaning() -> None:
    assert check_seconds("timeout", 0, zero=True) == 0


@pytest.mark.parametrize("value", WRONG_URLS, ids=repr)
@pytest.mark.parametrize("use", [lambda value: check_web_url("url", value), Client, SyncClient])
def test_a_url_that_leads_nowhere_is_refused_at_once(use: Callable[[Any], object], value: Any) -> None:
    with pytest.raises(InvalidArgument, match=r"^url: ") as raised:
        use(value)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8600", "https://jabba.example/path/", "http://[::1]:1", "HTTP://HOST"]
)
def test_a_url_of_http_is_taken_without_its_last_slash(url: str) -> None:
    assert check_web_url("url", url) == url.rstrip("/")


@pytest.mark.parametrize("value", [-1, 1.5, "2", None, True, math.nan])
def test_a_count_is_a_whole_number(value: Any) -> None:
    with pytest.raises(InvalidArgument, match=r"^retries: must be a whole number"):
        check_count("retries", value)
    with pytest.raises(InvalidArgument, match=r"^retries: "):
        Client(retries=value)
    with pytest.raises(InvalidArgument, match=r"^connections: "):
        Client(connections=value)
