"""How a client reaches Kafka: where the brokers are, by which protocol, as whom, and whom it trusts."""

import asyncio
import logging
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

from aiokafka.conn import collect_hosts, create_conn
from aiokafka.errors import (
    IllegalSaslStateError,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)

from jabba.errors import Refused, Unavailable, WrongSecurity

KafkaProtocol = Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"]
SaslMechanism = Literal["plain", "scram-sha-256", "scram-sha-512"]

_WITH_SASL = ("sasl", "user", "password")
_WITH_TLS = ("ca", "cert", "cert_key", "cert_key_password")
_ASK_MILLISECONDS = 5000


@dataclass(frozen=True, kw_only=True)
class KafkaSecurity:
    """How a client makes sure of Kafka's brokers, and shows them who it is.

    ``KafkaSecurity(protocol="sasl_ssl", sasl="scram-sha-512", user="shop", password=…, ca="ca.pem")``. With TLS the
    brokers' certificates and host names are always verified.

    Args:
        protocol: ``plaintext``, ``ssl``, ``sasl_plaintext`` or ``sasl_ssl``, as the brokers' listener has it.
        sasl: ``plain``, ``scram-sha-256`` or ``scram-sha-512``; together with ``user`` and ``password``.
        user: the name at Kafka.
        password: of that user.
        ca: a PEM file of the authorities to trust; without it, those that the system trusts.
        cert: a PEM file of this client's own certificate, for brokers that ask for one.
        cert_key: a PEM file of its key, if that is not in the same file.
        cert_key_password: of the key, if it is encrypted.

    Raises:
        WrongSecurity: something is missing, or would have no effect.
    """

    protocol: KafkaProtocol = "plaintext"
    sasl: SaslMechanism | None = None
    user: str = ""
    password: str = field(default="", repr=False)
    ca: str | Path | None = None
    cert: str | Path | None = None
    cert_key: str | Path | None = None
    cert_key_password: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        for name, message in _faults(self):
            raise WrongSecurity(name, message)

    @property
    def by_sasl(self) -> bool:
        """Whether the client shows a user's name and password."""
        return self.protocol.startswith("sasl_")

    @property
    def who(self) -> str:
        """Whom the brokers take the client for, as far as it knows itself."""
        return f"user {self.user!r}" if self.by_sasl else "this client"

    @property
    def by_tls(self) -> bool:
        """Whether the connection is encrypted."""
        return self.protocol.endswith("ssl")

    @cached_property
    def tls(self) -> ssl.SSLContext | None:
        """What a connection is encrypted with; the files are read once.

        Raises:
            WrongSecurity: a file cannot be read, or does not hold what it should.
        """
        return _tls(self) if self.by_tls else None


@dataclass(frozen=True, slots=True)
class KafkaAccess:
    """Kafka's bootstrap servers, ``host:port,host:port``, and how to connect to them."""

    bootstrap: str
    security: KafkaSecurity = field(default_factory=KafkaSecurity)

    def client_options(self) -> dict[str, Any]:
        """Return the arguments that connect a client of aiokafka's, whichever it is.

        Raises:
            WrongSecurity: a file cannot be read, or does not hold what it should.
        """
        return {"bootstrap_servers": self.bootstrap} | self._connection_options()

    async def unavailable(self, error: Exception) -> Unavailable:
        """Return what to raise when a client of aiokafka's has failed: ``Refused`` if the brokers do not let it in.

        aiokafka itself tells that only to its log. A wrong password will not become right by waiting.
        """
        refusal = await self._refusal() if self.security.protocol != "plaintext" else None
        if isinstance(error, KafkaConnectionError):
            # What it says itself names the servers once more, as Python sees them.
            told = f"Kafka at {self.bootstrap} cannot be reached over {self.security.protocol}"
        else:
            told = f"Kafka at {self.bootstrap} does not answer as it should over {self.security.protocol}: {error}"
        return refusal or Unavailable(told)

    async def _refusal(self) -> Refused | None:
        for host, port, _ in collect_hosts(self.bootstrap):
            try:
                options = self._connection_options() | {"request_timeout_ms": _ASK_MILLISECONDS}
                connection = await create_conn(host, port, **options)
            except (KafkaError, OSError, TimeoutError, asyncio.IncompleteReadError) as error:
                if reason := self._reason(error):
                    return Refused(f"Kafka at {host}:{port} does not let us in: {reason}")
            else:
                await connection.close()
                return None
        return None

    def _reason(self, error: BaseException) -> str | None:
        """Return why a broker does not want this client, or this client not the broker; None for anything else."""
        cause = error.__cause__ or error
        if isinstance(cause, IllegalSaslStateError):
            return "it takes no user and password there; is the protocol right?"
        if isinstance(cause, SaslAuthenticationFailed | UnsupportedSaslMechanismError):
            return f"{self.security.who}: {cause}"
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not valid for us: {cause.verify_message}"
        if isinstance(cause, ssl.SSLError) and not isinstance(cause, ssl.SSLEOFError | ssl.SSLZeroReturnError):
            return f"TLS fails: {cause.reason}"
        return None

    def _connection_options(self) -> dict[str, Any]:
        security = self.security
        options: dict[str, Any] = {"security_protocol": security.protocol.upper()}
        if security.by_tls:
            options["ssl_context"] = security.tls
        if security.sasl is not None:
            logging.getLogger("aiokafka.conn").addFilter(_tells_no_password)
            options["sasl_mechanism"] = security.sasl.upper()
            options["sasl_plain_username"] = security.user
            options["sasl_plain_password"] = security.password
        return options


def _tells_no_password(record: logging.LogRecord) -> bool:
    """Pass over what aiokafka tells, at level debug, of a request that carries the password."""
    arguments = record.args if isinstance(record.args, tuple) else ()
    return not any(type(one).__name__.startswith("SaslAuthenticateRequest") for one in arguments)


def _faults(one: KafkaSecurity) -> Iterator[tuple[str, str]]:
    """Return the fields that contradict each other, and what is wrong with each."""
    if one.protocol not in get_args(KafkaProtocol):
        yield "protocol", f"must be one of {', '.join(get_args(KafkaProtocol))}"
        return
    for name in _WITH_SASL:
        if one.by_sasl and not getattr(one, name):
            yield name, f"is missing: the protocol {one.protocol} needs it"
    if one.by_sasl and one.sasl not in get_args(SaslMechanism):
        yield "sasl", f"must be one of {', '.join(get_args(SaslMechanism))}"
    unused = [*([] if one.by_sasl else _WITH_SASL), *([] if one.by_tls else _WITH_TLS)]
    for name in unused:
        if getattr(one, name):
            yield name, f"has no effect with the protocol {one.protocol}"
    if (one.cert_key or one.cert_key_password) and not one.cert:
        yield "cert", "is missing: there is a key for it"


def _tls(one: KafkaSecurity) -> ssl.SSLContext:
    for name in ("ca", "cert", "cert_key"):
        _check_readable(name, getattr(one, name))
    try:
        context = ssl.create_default_context(cafile=one.ca or None)
    except ssl.SSLError as error:
        raise WrongSecurity("ca", f"{one.ca} holds no certificate in PEM form") from error
    if one.cert:
        try:
            # Without a password OpenSSL would ask for it at the terminal.
            context.load_cert_chain(one.cert, one.cert_key or None, one.cert_key_password)
        except ssl.SSLError as error:
            message = "certificate and key are no PEM, do not belong together, or the key has another password"
            raise WrongSecurity("cert", f"{message} ({error.reason or error})") from error
    return context


def _check_readable(name: str, path: str | Path | None) -> None:
    if not path:
        return
    try:
        Path(path).open("rb").close()
    except OSError as error:
        raise WrongSecurity(name, f"{path} cannot be read: {error.strerror}") from error
