import base64
import logging
import os
from pathlib import Path

import pytest

from jabba.callbacks.services import Rate, ServicesError, ServicesFile, ShownService, parse
from jabba.jobs.retry import Retry

SECRET = "whsec_" + base64.b64encode(bytes(32)).decode()
OTHER = "whsec_" + base64.b64encode(bytes(range(32))).decode()
FILE = Path("services.toml")

BILLING = f"""
[services.billing]
transport = "http"
url = ["http://billing.internal:9001/jabba", "http://billing-2.internal:9001/jabba"]
secrets = ["{SECRET}", "env:BILLING_OLD"]
connect_timeout = 1
timeout = 10
concurrency = 5
rate = "100/s"
retry = {{ max_attempts = 5, initial = 0.5, retry_for = 600.0 }}
"""


def http(more: str, *, url: str = '"http://b/"', secrets: str = f'["{SECRET}"]') -> str:
    return f'[services.b]\ntransport = "http"\nurl = {url}\nsecrets = {secrets}\n{more}\n'


def wrong(text: str, variables: dict[str, str] | None = None) -> str:
    with pytest.raises(ServicesError) as raised:
        parse(text, FILE, variables or {})
    return str(raised.value)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def write(file: Path, text: str, at: int) -> None:
    file.write_text(text)
    os.utime(file, (at, at))


def test_reads_a_service() -> None:
    service, keys = parse(BILLING, FILE, {"BILLING_OLD": f"{OTHER}\n"})["billing"]
    assert service.url == ["http://billing.internal:9001/jabba", "http://billing-2.internal:9001/jabba"]
    assert (service.connect_timeout, service.timeout, service.concurrency, service.rate) == (1, 10, 5, Rate(100, 1.0))
    assert (service.first_byte_timeout, service.idle_timeout, service.completion_timeout) == (30, 30, 3600)
    assert service.retry == Retry(max_attempts=5, initial=0.5, retry_for=600)
    assert keys == (bytes(32), bytes(range(32)))


def test_a_single_url_needs_no_list_and_a_secret_may_stand_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(OTHER + "\n")
    service, keys = parse(http("", secrets=f'["file:{tmp_path}/secret"]'), FILE, {})["b"]
    assert service.url == ["http://b/"]
    assert keys == (bytes(range(32)),)


def test_local_is_always_there() -> None:
    assert {name: one.service.transport for name, one in parse("", FILE, {}).items()} == {"local": "local"}
    assert set(parse('[services.mail]\ntransport = "kafka"', FILE, {})) == {"local", "mail"}


def test_names_the_line_of_what_is_not_toml() -> None:
    assert wrong('[services.b]\ntransport = "http\n') == (
        "services.toml: Illegal character '\\n' (at line 2, column 18)"
    )


@pytest.mark.parametrize(
    "text, expected",
    [
        (http("timeout = 0"), "services.b.timeout: Input should be greater than 0"),
        (http("timeout = inf"), "services.b.timeout: Input should be a finite number"),
        (http("tiemout = 1"), "services.b.tiemout: Extra inputs are not permitted"),
        (http("concurrency = 0"), "services.b.concurrency: Input should be greater than or equal to 1"),
        (http('rate = "fast"'), "services.b.rate: must be a number of calls"),
        (http("rate = 5"), "services.b.rate: must be a number of calls"),
        (http("retry = { max_attempts = 0 }"), "services.b.retry.max_attempts: Input should be greater than or equal"),
        (http("retry = { attempts = 3 }"), "services.b.retry.attempts: Extra inputs are not permitted"),
        (http('retry = { retry_on = ["code ="] }'), "services.b.retry: 'code =': "),
        (http("", url='"ftp://b/"'), "services.b.url: 'ftp://b/' must be a URL such as"),
        (http("", url='"http://b:99999/"'), "services.b.url: 'http://b:99999/' is not a URL"),
        (http("", url='"http://a..b/"'), "services.b.url: 'http://a..b/' is not a URL"),
        (http("", url='"http://me:pass@b/"'), "services.b.url: a URL must not hold a user or password"),
        (http("", url="[]"), "services.b.url: Value should have at least 1 item"),
        (http("", secrets="[]"), "services.b: an http service needs `secrets`"),
        (http("", secrets='["a", "b", "c"]'), "services.b.secrets: List should have at most 2 items"),
        (http("", secrets='["whsec_AAAA"]'), "services.b.secrets: a secret is whsec_ and 24 to 64 bytes as base64"),
        (http("", secrets='["env:GONE"]'), "services.b.secrets: the environment has no variable GONE"),
        (http("", secrets='["file:/no/such"]'), "services.b.secrets: [Errno 2] No such file or directory: '/no/such'"),
        ('[services.b]\ntransport = "http"', "services.b: an http service needs `url`"),
        ('[services.b]\ntransport = "smtp"', "services.b.transport: Input should be 'http', 'kafka' or 'local'"),
        ('[services.b]\ntransport = "kafka"\nurl = "http://b/"', "services.b: `url` is of http services"),
        ('[services.local]\ntransport = "local"', "services: 'local' is the worker itself"),
        ('[services."a b"]\ntransport = "local"', "services: 'a b' is no name of a service"),
        ("[service.b]\n", "service: Extra inputs are not permitted"),
    ],
)
def test_names_the_file_and_the_key_of_what_is_wrong(text: str, expected: str) -> None:
    assert wrong(text).startswith(f"services.toml: {expected}")


def test_no_error_and_no_public_form_has_a_secret() -> None:
    for text in (http("timeout = 0"), http("", secrets=f'["{SECRET}", "{SECRET}="]'), http("", url="5")):
        assert SECRET not in wrong(text)
    service, _ = parse(BILLING, FILE, {"BILLING_OLD": OTHER})["billing"]
    shown = ShownService.of("billing", service)
    assert SECRET not in repr(shown)
    assert SECRET not in repr(service)
    assert (shown.secrets, shown.rate, shown.timeout, shown.retry) == (2, "100/s", 10, service.retry)


def test_a_changed_file_is_taken_up_after_a_second(tmp_path: Path) -> None:
    file, clock = tmp_path / "services.toml", Clock()
    write(file, http("timeout = 1"), 1)
    services = ServicesFile(file, {}, clock)
    write(file, http("timeout = 2"), 2)
    clock.now += 0.9
    assert services.current()["b"].service.timeout == 1
    clock.now += 0.2
    assert services.current()["b"].service.timeout == 2


def test_a_broken_file_is_refused_once_with_its_line_and_the_old_one_stays(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file, clock = tmp_path / "services.toml", Clock()
    write(file, http("timeout = 1"), 1)
    services = ServicesFile(file, {}, clock)
    write(file, "[services.b]\ntransport = http", 2)
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            clock.now += 2
            assert services.current()["b"].service.timeout == 1
    assert [one.getMessage() for one in caplog.records] == [
        f"the services file is refused, and what was read before stays: {file}: Invalid value (at line 2, column 13)"
    ]
    write(file, http("timeout = 3"), 3)
    clock.now += 2
    assert services.current()["b"].service.timeout == 3


def test_a_file_that_is_gone_for_a_moment_changes_nothing(tmp_path: Path) -> None:
    file, clock = tmp_path / "services.toml", Clock()
    write(file, http("timeout = 1"), 1)
    services = ServicesFile(file, {}, clock)
    file.unlink()
    clock.now += 2
    assert "b" in services.current()


def test_a_secret_that_changes_in_its_own_file_is_taken_up(tmp_path: Path) -> None:
    file, secret, clock = tmp_path / "services.toml", tmp_path / "secret", Clock()
    write(secret, SECRET, 1)
    write(file, http("", secrets=f'["file:{secret}"]'), 1)
    services = ServicesFile(file, {}, clock)
    write(secret, OTHER, 2)
    clock.now += 2
    assert services.current()["b"].keys == (bytes(range(32)),)


def test_a_wrong_file_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(ServicesError, match=r"services\.toml: cannot be read"):
        ServicesFile(tmp_path / "services.toml", {}, Clock())


def test_without_a_file_there_is_local_alone() -> None:
    assert set(ServicesFile(None, {}, Clock()).current()) == {"local"}
