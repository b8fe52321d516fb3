"""Where callbacks live: the services file, ``JABBA_SERVICES``.

It is TOML with one table per service, ``[services.billing]``; ``docs/services.md`` has its keys. Addresses of services
come from there and from nowhere else. The service ``local``, the worker itself, is always there.
"""

import logging
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, NamedTuple, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from jabba.callbacks.signature import SignatureError, secret_bytes
from jabba.errors import InvalidRequest, JabbaError
from jabba.jobs.models import LOCAL, invalid
from jabba.jobs.retry import Retry, Seconds
from jabba.search.errors import parse_error_filter

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 1.0
_PERIODS = {"s": 1.0, "m": 60.0, "h": 3600.0}
_RATE = re.compile(r"([1-9][0-9]{0,8})/([smh])")
_OF_LOCAL = {"transport", "timeout", "retry"}
_FILE = "file:"
_ENV = "env:"


class ServicesError(JabbaError):
    """The services file is wrong; the message names the file, and each key or the line."""


class Rate(NamedTuple):
    """At most so many calls in so many seconds."""

    calls: int
    seconds: float

    @classmethod
    def parse(cls, value: Any) -> Any:
        """Read ``100/s``, ``100/m`` or ``100/h``."""
        match = _RATE.fullmatch(value) if isinstance(value, str) else None
        if match is None:
            raise ValueError('must be a number of calls per second, minute or hour, such as "100/s", "5/m", "1000/h"')
        return cls(int(match[1]), _PERIODS[match[2]])

    @property
    def text(self) -> str:
        """Return the form that ``parse`` reads."""
        return f"{self.calls}/{next(name for name, seconds in _PERIODS.items() if seconds == self.seconds)}"


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class Service(BaseModel):
    """One service, as the file has it; times are in seconds.

    ``timeout`` bounds one attempt as a whole, ``connect_timeout``, ``first_byte_timeout`` and ``idle_timeout`` its
    phases. ``secrets`` are references or ``whsec_…`` texts, and ``keys`` what they stand for.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    transport: Literal["http", "kafka", "local"]
    url: Annotated[list[str], BeforeValidator(_listed), Field(min_length=1, max_length=100)] | None = None
    secrets: list[str] = Field(default_factory=list, max_length=2, repr=False)
    connect_timeout: Seconds = 2.0
    first_byte_timeout: Seconds = 30.0
    idle_timeout: Seconds = 30.0
    timeout: Seconds = 30.0
    completion_timeout: Seconds = 3600.0
    concurrency: int = Field(default=50, ge=1, le=10_000)
    rate: Annotated[Rate, BeforeValidator(Rate.parse)] | None = None
    retry: Retry | None = None

    @field_validator("url")
    @classmethod
    def _check_urls(cls, urls: list[str] | None) -> list[str] | None:
        for url in urls or ():
            _check_url(url)
        return urls

    @model_validator(mode="after")
    def _suits_its_transport(self) -> Self:
        is_http = self.transport == "http"
        if is_http and self.url is None:
            raise ValueError("an http service needs `url`")
        if is_http and not self.secrets:
            raise ValueError("an http service needs `secrets`, such as whsec_ with what `openssl rand -base64 32` says")
        if not is_http and self.url is not None:
            raise ValueError(f"`url` is of http services, and this one is {self.transport}")
        if self.transport == "local" and (others := self.model_fields_set - _OF_LOCAL):
            raise ValueError(f"a local service has a timeout and retry alone, and no {', '.join(sorted(others))}")
        return self

    @field_validator("retry")
    @classmethod
    def _check_filters(cls, retry: Retry | None) -> Retry | None:
        for text in () if retry is None else (*(retry.retry_on or ()), *(retry.never_on or ())):
            try:
                parse_error_filter(text)
            except InvalidRequest as error:
                raise ValueError(f"{text!r}: {error.message}") from error
        return retry


class ShownService(BaseModel):
    """A service as it may be shown; times are in seconds, and null where they mean nothing.

    ``url`` is without queries, ``secrets`` is how many there are.
    """

    name: str
    transport: str
    url: list[str] = Field(default_factory=list)
    connect_timeout: float | None = None
    first_byte_timeout: float | None = None
    idle_timeout: float | None = None
    timeout: float | None = None
    completion_timeout: float | None = None
    concurrency: int | None = None
    rate: str | None = None
    retry: Retry | None = None
    secrets: int = 0

    @classmethod
    def of(cls, name: str, service: Service) -> Self:
        """Make one without secrets."""
        given = service.model_fields_set if service.transport == "local" else set(_TOLD)
        told = {key: getattr(service, key) for key in _TOLD if key in given}
        urls = [url.partition("?")[0] for url in service.url or ()]
        rate = None if service.rate is None else service.rate.text
        shown = {"name": name, "transport": service.transport, "url": urls, "rate": rate, "retry": service.retry}
        return cls.model_validate({**shown, **told, "secrets": len(service.secrets)})


_TOLD = (
    "connect_timeout",
    "first_byte_timeout",
    "idle_timeout",
    "timeout",
    "completion_timeout",
    "concurrency",
)


class KeyedService(NamedTuple):
    """A service with the keys of its secrets, the newest first."""

    service: Service
    keys: tuple[bytes, ...] = ()


Services = Mapping[str, KeyedService]

_ALWAYS: dict[str, KeyedService] = {LOCAL: KeyedService(Service(transport="local"))}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    services: dict[str, Service] = Field(default_factory=dict)

    @field_validator("services")
    @classmethod
    def _check_names(cls, services: dict[str, Service]) -> dict[str, Service]:
        for name in services:
            if name == LOCAL:
                raise ValueError(f"{LOCAL!r} is the worker itself, and cannot be defined")
            if not _NAME.fullmatch(name):
                raise ValueError(f"{name!r} is no name of a service: letters, digits and . _ - may stand in one")
        return services


def parse(text: str, file: Path, environ: Mapping[str, str]) -> Services:
    """Read a services file, with the files and variables of ``environ`` that its secrets name.

    Raises:
        ServicesError: it is wrong.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ServicesError(f"{file}: {error}") from error
    try:
        services = _File.model_validate(document).services
    except ValidationError as error:
        faults = "; ".join(f"{one.field}: {one.message.removeprefix('Value error, ')}" for one in invalid(error).fields)
        raise ServicesError(f"{file}: {faults}") from error
    found = {}
    for name, service in services.items():
        try:
            found[name] = KeyedService(service, tuple(read_secret(one, environ) for one in service.secrets))
        except (OSError, UnicodeError, ValueError, SignatureError) as error:
            raise ServicesError(f"{file}: services.{name}.secrets: {error}") from error
    return MappingProxyType(_ALWAYS | found)


class ServicesFile:
    """The services, read again when the file, or one with a secret, has changed.

    Files are looked at once a second at most, when somebody asks. One that has become wrong is refused with its line
    in the log, and what was read before stays. Without a file there is ``local`` alone.

    Raises:
        ServicesError: the file is wrong at the start.
    """

    def __init__(self, file: Path | None, environ: Mapping[str, str], monotonic: Callable[[], float]) -> None:
        self._file = file
        self._environ = environ
        self._monotonic = monotonic
        self._looked = monotonic()
        self._services: Services = MappingProxyType(_ALWAYS)
        self._stamps: list[Any] = []
        if file is not None:
            self._services = self._read(file)
            self._stamps = self._stamps_now(file)

    def current(self) -> Services:
        """Return the services by name."""
        now = self._monotonic()
        if self._file is not None and now >= self._looked + _LOOK_SECONDS:
            self._looked = now
            self._take_up(self._file)
        return self._services

    def _take_up(self, file: Path) -> None:
        stamps = self._stamps_now(file)
        if stamps == self._stamps:
            return
        self._stamps = stamps
        try:
            self._services = self._read(file)
        except ServicesError as error:
            logger.error("the services file is refused, and what was read before stays: %s", error)  # noqa: TRY400
        else:
            self._stamps = self._stamps_now(file)
            logger.info("the services file is taken up: %s", ", ".join(sorted(self._services)))

    def _read(self, file: Path) -> Services:
        try:
            text = file.read_text("utf-8")
        except (OSError, UnicodeError) as error:
            raise ServicesError(f"{file}: cannot be read: {error}") from error
        return parse(text, file, self._environ)

    def _stamps_now(self, file: Path) -> list[Any]:
        return [_stamp(one) for one in (file, *secret_files(self._services))]


def unknown_service(name: str, services: Iterable[str]) -> str:
    """Say that a service is not there, and which are."""
    return f"unknown service {name!r}: the services file (JABBA_SERVICES) has {', '.join(sorted(services))}"


def secret_files(services: Services) -> Iterator[Path]:
    """Yield the files that hold secrets."""
    for keyed in services.values():
        for secret in keyed.service.secrets:
            if secret.startswith(_FILE):
                yield Path(secret.removeprefix(_FILE))


def _stamp(file: Path) -> tuple[int, ...] | None:
    try:
        stat = file.stat()
    except OSError:
        return None
    return (stat.st_mtime_ns, stat.st_size, stat.st_ino)


def read_secret(secret: str, environ: Mapping[str, str]) -> bytes:
    """Return the key of a secret: ``whsec_…``, ``file:PATH`` or ``env:NAME``.

    Raises:
        OSError, ValueError, SignatureError: it cannot be read, is not there, or has another form.
    """
    if secret.startswith(_FILE):
        return secret_bytes(Path(secret.removeprefix(_FILE)).read_text("utf-8").strip())
    if secret.startswith(_ENV):
        name = secret.removeprefix(_ENV)
        value = environ.get(name)
        if value is None:
            raise ValueError(f"the environment has no variable {name}")
        return secret_bytes(value.strip())
    return secret_bytes(secret)


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        _ = parts.port, (parts.hostname or "").encode("idna")
    except ValueError as error:
        raise ValueError(f"{url!r} is not a URL: {error}") from error
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.fragment:
        raise ValueError(f"{url!r} must be a URL such as http://billing.internal:9001/jabba")
    if parts.username is not None:
        raise ValueError("a URL must not hold a user or password: calls are signed")
