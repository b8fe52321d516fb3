"""Who connects to Kafka does it in one way; what contradicts itself is refused; passwords are never told."""

import ast
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.admin import SaslAuthenticateRequest
from pydantic import SecretStr

from jabba.errors import Unavailable, WrongSecurity
from jabba.kafka.security import KafkaAccess, KafkaSecurity
from jabba.local import up
from jabba.settings import Settings, SettingsError
from tests.support.certificates import Authority
from tests.support.kafka import PASSWORD

ROOT = Path(__file__).parents[3]
PACKAGES = ("jabba", "agents", "tables", "web", "demo")
SASL: dict[str, Any] = {"sasl": "scram-sha-512", "user": "shop", "password": PASSWORD}


def test_every_client_of_kafka_connects_as_the_settings_say() -> None:
    sources = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    forgetful = [f"{path}: {one}" for path in sources for one in careless(path.read_text())]

    assert sum("client_options()" in path.read_text() for path in sources) > 5
    assert forgetful == []


@pytest.mark.parametrize(
    "source",
    [
        'AIOKafkaConsumer("topic", bootstrap_servers=settings.kafka)',
        'aiokafka.AIOKafkaProducer(acks="all")',
        "AIOKafkaAdminClient(**options)",
        'AIOKafkaProducer(**access.client_options(), security_protocol="PLAINTEXT")',
        "Producer(settings.kafka, prefix=settings.prefix)",
        "JabbaApp(settings.prefix)",
    ],
)
def test_a_client_that_forgets_it_is_found(source: str) -> None:
    assert len(list(careless(source))) == 1


def careless(source: str) -> Iterator[str]:
    """Return the calls that make a client of Kafka in any other way."""
    for call in (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)):
        name = ast.unparse(call.func).rpartition(".")[2]
        named = {one.arg for one in call.keywords if one.arg}
        unpacked = {ast.unparse(one.value).rpartition(".")[2] for one in call.keywords if not one.arg}
        forgets = name.startswith("AIOKafka") and ("client_options()" not in unpacked or forbidden(named))
        forgets |= name in ("Producer", "SyncProducer") and "security" not in named
        forgets |= name in ("App", "JabbaApp", "WebApp") and "common_options(settings)" not in unpacked
        if forgets:
            yield ast.unparse(call)


def forbidden(named: set[str]) -> bool:
    return any(name.startswith(("bootstrap", "security", "sasl", "ssl")) for name in named)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"protocol": "tls"}, "protocol"),
    ({"protocol": "sasl_ssl"}, "sasl"),
    ({"protocol": "sasl_ssl", **SASL, "user": ""}, "user"),
    ({"protocol": "sasl_ssl", **SASL, "password": ""}, "password"),
    ({"protocol": "sasl_ssl", **SASL, "sasl": "scram-md5"}, "sasl"),
    ({"protocol": "ssl", "password": PASSWORD}, "password"),
    ({"user": "shop"}, "user"),
    ({"ca": "ca.pem"}, "ca"),
    ({"protocol": "sasl_plaintext", **SASL, "cert": "cert.pem"}, "cert"),
    ({"protocol": "ssl", "cert_key": "key.pem"}, "cert"),
    ({"protocol": "ssl", "cert_key_password": PASSWORD}, "cert"),
]


@pytest.mark.parametrize("given, field", WRONG)
def test_what_is_missing_or_has_no_effect_is_refused(given: dict[str, Any], field: str) -> None:
    with pytest.raises(WrongSecurity) as caught:
        KafkaSecurity(**given)

    assert caught.value.field == field
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize("given, field", WRONG)
def test_the_settings_name_the_variable(given: dict[str, Any], field: str) -> None:
    environ = {f"JABBA_KAFKA_{name.upper()}": value for name, value in given.items()}

    with pytest.raises(SettingsError, match=f"^JABBA_KAFKA_{field.upper()}: ") as caught:
        Settings.from_environ(environ)

    assert PASSWORD not in f"{caught.value} {caught.value.__cause__}"


def test_empty_variables_are_none() -> None:
    names = ("SASL", "USER", "PASSWORD", "CA", "CERT", "CERT_KEY", "CERT_KEY_PASSWORD")

    assert Settings.from_environ({f"JABBA_KAFKA_{name}": "" for name in names}).kafka_access == KafkaAccess(
        "127.0.0.1:9092"
    )


def test_a_child_process_connects_in_the_same_way(authority: Authority) -> None:
    settings = Settings(
        kafka_protocol="sasl_ssl",
        kafka_sasl="plain",
        kafka_user="shop",
        kafka_password=SecretStr(PASSWORD),
        kafka_ca=authority.ca,
    )

    assert Settings.from_environ(settings.as_environ()).kafka_access == settings.kafka_access


def test_the_embedded_broker_has_no_security() -> None:
    house = up.House(Settings(kafka_protocol="ssl"))

    with pytest.raises(SettingsError, match=r"^JABBA_KAFKA_PROTOCOL: "):
        up.run(house, lambda *_: None, lambda *_: None)


def test_a_file_that_is_no_certificate_is_named(authority: Authority, tmp_path: Path) -> None:
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("garbage")
    encrypted = authority.issue("encrypted", password=PASSWORD)

    for given, variable in [
        ({"kafka_ca": tmp_path / "absent.pem"}, "JABBA_KAFKA_CA"),
        ({"kafka_ca": garbage}, "JABBA_KAFKA_CA"),
        ({"kafka_cert": garbage}, "JABBA_KAFKA_CERT"),
        ({"kafka_cert": encrypted}, "JABBA_KAFKA_CERT"),
        ({"kafka_cert": encrypted, "kafka_cert_key": tmp_path / "absent.key"}, "JABBA_KAFKA_CERT_KEY"),
    ]:
        settings = Settings(kafka_protocol="ssl", **given)
        with pytest.raises(SettingsError, match=f"^{variable}: "):
            _ = settings.kafka_access


def test_passwords_are_not_shown() -> None:
    security = KafkaSecurity(protocol="sasl_plaintext", **SASL)
    settings = Settings.from_environ(
        {
            "JABBA_KAFKA_PROTOCOL": "sasl_plaintext",
            "JABBA_KAFKA_SASL": "plain",
            "JABBA_KAFKA_USER": "shop",
            "JABBA_KAFKA_PASSWORD": PASSWORD,
        }
    )
    access = settings.kafka_access

    shown = f"{security!r} {access!r} {settings} {settings!r} {settings.model_dump()} {settings.model_dump_json()}"
    assert "shop" in shown
    assert PASSWORD not in shown


def test_a_request_with_the_password_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    # The logger that tells of every request.
    log = logging.getLogger("aiokafka.conn")
    request = SaslAuthenticateRequest(f"\0shop\0{PASSWORD}".encode()).prepare({36: (0, 1)})
    KafkaAccess("", KafkaSecurity(protocol="sasl_plaintext", **SASL)).client_options()

    with caplog.at_level(logging.DEBUG, "aiokafka.conn"):
        log.debug("Request to %s:%d %d: %s", "127.0.0.1", 9092, 1, request)
        log.debug("Request to %s:%d %d: %s", "127.0.0.1", 9092, 1, "another")

    assert PASSWORD in str(request)
    assert [record.args[-1] for record in caplog.records if isinstance(record.args, tuple)] == ["another"]


async def test_nobody_is_asked_twice_without_security() -> None:
    error = await KafkaAccess("127.0.0.1:1").unavailable(OSError("gone"))

    assert type(error) is Unavailable
    assert str(error) == "Kafka at 127.0.0.1:1 does not answer as it should over plaintext: gone"


async def test_a_kafka_that_cannot_be_reached_is_named_once() -> None:
    error = await KafkaAccess("127.0.0.1:1").unavailable(
        KafkaConnectionError("Unable to bootstrap from [('127.0.0.1'…")
    )

    assert str(error) == "Kafka at 127.0.0.1:1 cannot be reached over plaintext"


def test_a_copy_with_other_servers_connects_to_them() -> None:
    settings = Settings(kafka="one:9092")
    assert settings.kafka_access.client_options()["bootstrap_servers"] == "one:9092"
    copied = settings.model_copy(update={"kafka": "two:9092"})
    assert copied.kafka_access.client_options()["bootstrap_servers"] == "two:9092"
