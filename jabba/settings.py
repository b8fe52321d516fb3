"""Every setting, its default and its environment variable; the only reader of the environment.

A field ``kafka`` is set by ``JABBA_KAFKA``. Lists are separated by commas.
"""

import os
from collections.abc import Callable, Mapping
from functools import cached_property
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from jabba.arguments import check_seconds, check_web_url
from jabba.callbacks.error_report import TRACEBACK_BYTES
from jabba.callbacks.services import ServicesError, ServicesFile
from jabba.errors import InvalidArgument, JabbaError, WrongSecurity
from jabba.jobs import models
from jabba.jobs.models import Limits, field_path
from jabba.kafka.cluster import Cluster
from jabba.kafka.security import KafkaAccess, KafkaProtocol, KafkaSecurity, SaslMechanism
from jabba.messages.topics import Topics
from jabba.service_links import service_links

PREFIX = "JABBA_"
_LIMITS = Limits()

LEAST_KEEP_DAYS = 8
"""The log keeps seven days, and a projection that is made anew begins where the log does."""


class SettingsError(JabbaError):
    """A setting is wrong; the message names its environment variable."""


def _listed(value: Any) -> Any:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _none_if_empty(value: Any) -> Any:
    return None if value == "" else value


def _duration(*, zero: bool = False, unit: str = "seconds") -> AfterValidator:
    def check(value: float) -> float:
        try:
            return check_seconds("", value, zero=zero, unit=unit)
        except InvalidArgument as error:
            raise PydanticCustomError("duration", "{fault}", {"fault": error.message}) from error

    return AfterValidator(check)


Seconds = Annotated[float, _duration()]
SecondsOrZero = Annotated[float, _duration(zero=True)]
Hours = Annotated[float, _duration(unit="hours")]
Names = Annotated[list[str], BeforeValidator(_listed)]
File = Annotated[Path | None, BeforeValidator(_none_if_empty)]


class Settings(BaseModel):
    """The settings of every process of one installation."""

    # What was put in may be a password.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    kafka: str = Field(default="127.0.0.1:9092", description="Bootstrap servers, `host:port,host:port`.")
    kafka_protocol: KafkaProtocol = Field(
        default="plaintext", description="`plaintext`, `ssl`, `sasl_plaintext` or `sasl_ssl`."
    )
    kafka_sasl: Annotated[SaslMechanism | None, BeforeValidator(_none_if_empty)] = Field(
        default=None, description="`plain`, `scram-sha-256` or `scram-sha-512`."
    )
    kafka_user: str = Field(default="", description="The name that SASL shows to Kafka.")
    kafka_password: SecretStr = Field(default=SecretStr(""), description="Its password.")
    kafka_ca: File = Field(
        default=None, description="PEM file of the authorities to trust; without it, those of the system."
    )
    kafka_cert: File = Field(
        default=None, description="PEM file of the client's certificate, for brokers that ask for one."
    )
    kafka_cert_key: File = Field(
        default=None, description="PEM file of the certificate's key, if it is not in the same file."
    )
    kafka_cert_key_password: SecretStr = Field(default=SecretStr(""), description="Password of that key.")
    database: SecretStr = Field(
        default=SecretStr("postgresql://127.0.0.1:5432/jabba"), description="Where the projection lives."
    )
    prefix: str = Field(
        default="jabba", pattern=r"^[A-Za-z0-9._-]{1,100}$", description="First part of every topic and group name."
    )
    partitions: int = Field(default=8, ge=1, le=1000, description="Partitions of each topic; fixed by `jabba init`.")
    replication: int = Field(default=1, ge=1, description="Replicas of each partition; 3 in production.")

    callbacks: Names = Field(default_factory=list, description="Modules whose `@jabba.callback` functions may run.")
    services: File = Field(
        default=None, description="TOML file with the services that callbacks may call; `local` alone without it."
    )
    slots: int = Field(default=100, ge=1, description="Steps that one worker runs at a time.")
    threads: int = Field(default=16, ge=1, description="Threads of one worker for callbacks that are not async.")
    lanes: int = Field(default=2000, ge=1, description="Slices that one worker keeps in memory at a time.")
    lanes_bytes: int = Field(default=64 * 1024 * 1024, ge=1, description="Bytes of those slices.")
    adopt_seconds: Seconds = Field(default=10.0, description="Age at which a lane moves from the log to the table.")
    adopt_bytes: int = Field(
        default=64 * 1024 * 1024, ge=0, description="Bytes of slices that one worker keeps in the table at a time."
    )
    repeat_seconds: SecondsOrZero = Field(
        default=600.0, description="How long an ended job is remembered, to recognise a repeated submission."
    )
    repeat_lanes: int = Field(
        default=300_000,
        ge=0,
        description="How many ended slices one worker remembers for that at most; above 300 times those that end a "
        "second.",
    )
    traceback_bytes: int = Field(
        default=TRACEBACK_BYTES,
        ge=0,
        le=65536,
        description="Bytes that are kept of where a callback has raised; 0 = none.",
    )
    crash_limit: int = Field(
        default=3, ge=1, description="How often a step may end its worker before it fails with `crash_loop`."
    )
    unknown_callback_seconds: SecondsOrZero = Field(
        default=300.0,
        description="How long a task waits for a worker that knows its callback, before it fails: a rolling deploy.",
    )
    handover_seconds: Seconds = Field(default=5.0, description="How long running steps may finish on hand-over.")
    exit_seconds: Seconds = Field(
        default=10.0,
        description="How long a worker that was told to end may take beside its hand-over, whatever callbacks hold up.",
    )
    session_seconds: Seconds = Field(default=10.0, description="Silence after which a worker counts as dead.")
    instance: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9._-]{0,200}$",
        description="A name that one worker keeps over its restarts, so that they move no partition.",
    )
    stall_seconds: Seconds = Field(
        default=120.0,
        description="A worker in which work, intake or commands stand still for so long exits; one whose slots or "
        "threads are all held by steps for so long says which.",
    )
    commit_seconds: Seconds = Field(default=1.0, description="How often a worker commits its offsets.")

    metrics_port: int = Field(
        default=0,
        ge=0,
        le=65535,
        description="Port on which a worker, projector or relay tells its metrics and health; 0 = none. With `jabba "
        "up` it is the projector's, and those behind it are the workers'.",
    )
    metrics_host: str = Field(default="127.0.0.1", description="Address of that port.")

    web_host: str = Field(default="127.0.0.1", description="Address that the web process listens on.")
    web_port: int = Field(default=8600, ge=1, le=65535, description="Port that the web process listens on.")
    access: Literal["keys", "open"] = Field(
        default="keys", description="`keys`, or `open` to everyone: for a web behind a gateway that checks its callers."
    )
    open_beyond_loopback: bool = Field(
        default=False, description="An open web may listen on addresses that other machines reach."
    )
    open_docs: bool = Field(default=False, description="`/docs` and `/openapi.json` need no key.")
    key_seconds: Seconds = Field(default=10.0, description="How long the web believes what it knows of a key.")
    key_outage_seconds: SecondsOrZero = Field(
        default=3600.0, description="How long it goes on with a key that was valid while PostgreSQL is away."
    )
    secret: SecretStr = Field(
        default=SecretStr(""),
        description="Signs the session cookies of browsers; the same for all web processes. Without it, sessions end "
        "with the web process that opened them.",
    )
    session_hours: Hours = Field(default=12.0, description="How long a browser stays signed in.")
    key_cache: File = Field(
        default=None,
        description="File in which one web process keeps the keys it has seen, hashed, for its next start.",
    )
    pool: int = Field(default=10, ge=1, description="PostgreSQL connections of one web process.")
    produce_seconds: Seconds = Field(default=10.0, description="How long a submission waits for Kafka, then 503.")
    bulk_jobs: int = Field(default=1000, ge=1, description="Jobs of one bulk request that are worked on at a time.")
    bulk_bytes: int = Field(default=8 * 1024 * 1024, ge=1, description="Bytes of those jobs.")
    visible_seconds: SecondsOrZero = Field(default=2.0, description="How long a get waits for a young job to appear.")
    statement_seconds: Seconds = Field(default=10.0, description="Time limit of one query.")
    stream_heartbeat_seconds: Seconds = Field(
        default=15.0, description="How often a live stream shows that it is alive when nothing happens."
    )
    stream_queue_bytes: int = Field(
        default=1024 * 1024, ge=1, description="Bytes that may wait for one live stream before it has lagged and ends."
    )
    stream_tail_bytes: int = Field(
        default=32 * 1024 * 1024,
        ge=0,
        description="Bytes of the newest events kept for streams that come back; up to thrice that while some "
        "stream has a filter on jobs.",
    )
    stream_jobs_bytes: int = Field(
        default=16 * 1024 * 1024, ge=0, description="Bytes of what is remembered of jobs for filters of live streams."
    )

    incomplete_seconds: Seconds = Field(
        default=600.0, description="A job whose slices have not all come fails so long after the last one."
    )
    keep_days: int = Field(
        default=90, ge=0, description="Days for which jobs are kept in PostgreSQL, at least 8; 0 = for ever."
    )
    audit_days: int = Field(
        default=365, ge=0, description="Days for which the audit is kept, at least 8; 0 = for ever."
    )
    projector_batch: int = Field(default=500, ge=1, description="Messages that one projector transaction takes.")

    task_args_bytes: int = Field(
        default=_LIMITS.task_args_bytes,
        ge=1,
        le=models.MOST_TASK_ARGS_BYTES,
        description="Limit of one task's args; 3 MiB at most.",
    )
    meta_bytes: int = Field(
        default=_LIMITS.meta_bytes,
        ge=1,
        le=models.MOST_META_BYTES,
        description="Limit of a job's or task's meta; 256 KiB at most.",
    )
    tasks_per_job: int = Field(default=_LIMITS.tasks_per_job, ge=1, description="Limit of a job's tasks.")
    request_bytes: int = Field(
        default=_LIMITS.request_bytes,
        ge=1,
        le=models.MOST_REQUEST_BYTES,
        description="Limit of one HTTP request; 256 MiB at most.",
    )
    result_bytes: int = Field(
        default=_LIMITS.result_bytes,
        ge=1,
        le=models.MOST_RESULT_BYTES,
        description="Limit of one task's result; 3 MiB at most.",
    )

    outbox: SecretStr = Field(default=SecretStr(""), description="The database whose outbox `jabba outbox` relays.")
    outbox_table: str = Field(
        default="jabba_outbox",
        pattern=r"^[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)?$",
        description="The outbox's table; `schema.table` if need be.",
    )

    url: str = Field(
        default="http://127.0.0.1:8600",
        description="URL of the web process that commands ask; else that of the `jabba up` in `JABBA_DATA`.",
    )
    key: SecretStr = Field(
        default=SecretStr(""), description="API key of those commands; else that of the `jabba up` in `JABBA_DATA`."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="`debug`, `info`, `warning` or `error`."
    )
    log_format: Literal["text", "json"] = Field(
        default="text", description="`text`, or `json`: one object a line, with fields such as `job` and `partition`."
    )
    data: Path = Field(
        default=Path(".jabba"),
        description="Where `jabba up` keeps its broker, database, key and URL; commands find it there.",
    )

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        try:
            check_web_url("url", url)
        except InvalidArgument as error:
            raise PydanticCustomError("url", "{fault}", {"fault": error.message}) from error
        return url

    @field_validator("key")
    @classmethod
    def _check_key(cls, key: SecretStr) -> SecretStr:
        text = key.get_secret_value()
        if not (text.isascii() and text.isprintable()):
            raise ValueError("is not an API key: only printable ASCII characters may stand in one")
        return key

    @model_validator(mode="after")
    def _open_to_this_machine(self) -> Self:
        """Refuse to be open to other machines unless that is said twice."""
        if self.access == "open" and not self.open_beyond_loopback and not is_loopback(self.web_host):
            raise PydanticCustomError(
                "open",
                "JABBA_ACCESS: open to all who reach {host}; JABBA_OPEN_BEYOND_LOOPBACK=true says that you mean it",
                {"host": self.web_host or "this machine"},
            )
        return self

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] | None = None, **given: Any) -> Self:
        """Read the settings from the environment; ``given`` values that are not None go first.

        What Kubernetes says there of Services called ``jabba`` or ``jabba-…`` is passed over.

        Raises:
            SettingsError: a variable has a wrong value, or begins with ``JABBA_`` and is no setting.
        """
        found = os.environ if environ is None else environ
        named = {name: value for name, value in found.items() if name.startswith(PREFIX)}
        links = service_links(named)
        values = {name[len(PREFIX) :].lower(): value for name, value in named.items()}
        for name in (link[len(PREFIX) :].lower() for link in links):
            if name not in cls.model_fields:
                del values[name]
        values |= {name: value for name, value in given.items() if value is not None}
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise SettingsError(_explain(error, links)) from error

    def as_environ(self) -> dict[str, str]:
        """Return the environment variables that make a child process read these very settings."""
        return {
            PREFIX + name.upper(): _as_text(getattr(self, name))
            for name in type(self).model_fields
            if name in self.model_fields_set
        }

    def environ_of_child(self) -> dict[str, str]:
        """Return the whole environment of such a child: this process's own, with these settings."""
        return {**os.environ, **self.as_environ()}

    @field_validator("keep_days", "audit_days")
    @classmethod
    def _check_days(cls, days: int) -> int:
        """Refuse to forget what the log still has: a projection that is made anew would have it back."""
        if 0 < days < LEAST_KEEP_DAYS:
            raise ValueError(f"must be 0 or at least {LEAST_KEEP_DAYS}, since the log keeps seven days")
        return days

    @model_validator(mode="after")
    def _refuse_contradictions(self) -> Self:
        try:
            self._security()
        except WrongSecurity as error:
            raise PydanticCustomError("security", "{fault}", {"fault": _told(error)}) from error
        return self

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy; what was made of the values before the update does not go with it."""
        copied = super().model_copy(update=update, deep=deep)
        copied.__dict__.pop("kafka_access", None)
        return copied

    @cached_property
    def kafka_access(self) -> KafkaAccess:
        """Return how to connect to Kafka.

        Raises:
            SettingsError: a file cannot be read, or does not hold what it should.
        """
        access = KafkaAccess(self.kafka, self._security())
        try:
            access.client_options()
        except WrongSecurity as error:
            raise SettingsError(_told(error)) from error
        return access

    def _security(self) -> KafkaSecurity:
        return KafkaSecurity(
            protocol=self.kafka_protocol,
            sasl=self.kafka_sasl,
            user=self.kafka_user,
            password=self.kafka_password.get_secret_value(),
            ca=self.kafka_ca,
            cert=self.kafka_cert,
            cert_key=self.kafka_cert_key,
            cert_key_password=self.kafka_cert_key_password.get_secret_value(),
        )

    def open_services(self, monotonic: Callable[[], float]) -> ServicesFile:
        """Read the services file; its secrets may stand in this process's environment.

        Raises:
            SettingsError: it is wrong.
        """
        try:
            return ServicesFile(self.services, os.environ, monotonic)
        except ServicesError as error:
            raise SettingsError(f"{PREFIX}SERVICES: {error}") from error

    @property
    def cluster(self) -> Cluster:
        """Return where the topics are, and how they are made; errors as for ``kafka_access``."""
        return Cluster(
            access=self.kafka_access,
            topics=self.topics,
            partitions=self.partitions,
            replication=self.replication,
            partitions_are_chosen="partitions" in self.model_fields_set,
        )

    @property
    def topics(self) -> Topics:
        """Return the names of the topics and groups."""
        return Topics(self.prefix)

    @property
    def limits(self) -> Limits:
        """Return the limits of a submission and of a result."""
        return Limits(
            task_args_bytes=self.task_args_bytes,
            meta_bytes=self.meta_bytes,
            tasks_per_job=self.tasks_per_job,
            request_bytes=self.request_bytes,
            result_bytes=self.result_bytes,
        )


def libpq_variables() -> dict[str, str]:
    """Return the variables with which the environment changes every connection to PostgreSQL, such as ``PGSSLMODE``."""
    return {name: value for name, value in os.environ.items() if name.startswith("PG")}


def remove_libpq_variables() -> dict[str, str]:
    """Remove these variables from this process's environment, and return them.

    They are meant for a database of the user's, and an embedded one is reached as its URL says.
    """
    removed = libpq_variables()
    for name in removed:
        del os.environ[name]
    return removed


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches an address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _as_text(value: Any) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if value is None:
        return ""
    return ",".join(value) if isinstance(value, list) else str(value)


def _explain(error: ValidationError, links: Mapping[str, str]) -> str:
    return "; ".join(_explain_one(one, links) for one in error.errors(include_url=False, include_input=False))


def _explain_one(one: ErrorDetails, links: Mapping[str, str]) -> str:
    if not one["loc"]:
        # What contradicts something else has no place of its own, and names its variable.
        return one["msg"]
    name = f"{PREFIX}{field_path(one['loc']).upper()}"
    if name in links:
        return (
            f"{name}: Kubernetes has put the address of the Service {links[name]!r} there; set `enableServiceLinks: "
            "false` in the pod's spec, or this variable"
        )
    return f"{name}: {_fault(one)}"


def _told(error: WrongSecurity) -> str:
    return f"{PREFIX}KAFKA_{error.field.upper()}: {error.message}"


def _fault(one: ErrorDetails) -> str:
    return "there is no such setting" if one["type"] == "extra_forbidden" else one["msg"]
