"""Which rights each process needs in a Kafka with ACLs, and which of them the brokers grant.

``docs/security.md`` has the same table, and commands. The brokers are asked because without a right Kafka's clients try
again for ever and say little.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from enum import IntEnum
from typing import Literal, NamedTuple

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    IncompatibleBrokerVersion,
    KafkaError,
    NoError,
    TopicAuthorizationFailedError,
    for_code,
)
from aiokafka.protocol.admin import DescribeGroupsResponse_v3
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Array, Boolean, Int16, Int32, Schema, String

from jabba.errors import Refused, Unavailable
from jabba.kafka import aiokafka_patches
from jabba.kafka.security import KafkaAccess
from jabba.messages.topics import Topics

Process = Literal[
    "init",
    "worker",
    "web",
    "projector",
    "outbox",
    "producer",
    "verify",
    "rebuild",
    "reconcile",
    "dead-letters list",
    "dead-letters retry",
]
"""Who connects to Kafka: a command of ``jabba``, or ``producer``, a ``jabba.Producer``."""

Kind = Literal["topic", "group"]


class Operation(IntEnum):
    """What may be allowed; the numbers are those of Kafka's protocol."""

    READ = 3
    WRITE = 4
    CREATE = 5
    DESCRIBE = 8
    ALTER_CONFIGS = 11

    @property
    def title(self) -> str:
        """The name that Kafka's own tools take."""
        return self.name.title().replace("_", "")


class AclRule(NamedTuple):
    """An operation on one topic or consumer group. Whoever may read or write one may describe it, too."""

    operation: Operation
    kind: Kind
    name: str

    def __str__(self) -> str:
        return f"{self.operation.title} on {self.kind} {self.name}"


def rights_of(process: Process, topics: Topics) -> list[AclRule]:
    """Return what a process needs, and nothing that it can do without."""
    return [
        AclRule(operation, "group" if of.endswith("_group") else "topic", getattr(topics, of))
        for operation, names in NEEDS[process].items()
        for of in names
    ]


_ALL = ("tasks", "control", "events", "dead_letters", "changelog")
_READ, _WRITE, _DESCRIBE = Operation.READ, Operation.WRITE, Operation.DESCRIBE

NEEDS: Mapping[Process, Mapping[Operation, tuple[str, ...]]] = {
    "init": {
        Operation.CREATE: _ALL,
        Operation.ALTER_CONFIGS: _ALL,
        _DESCRIBE: _ALL,
        # The first message of each partition, and the offset behind it.
        _WRITE: ("tasks", "control"),
        _READ: ("tasks", "control", "worker_group"),
    },
    "worker": {
        _READ: ("tasks", "control", "changelog", "worker_group"),
        _WRITE: ("changelog", "events", "dead_letters"),
    },
    "web": {
        _WRITE: ("tasks",),
        _READ: ("tasks", "events"),
        # How much waits for workers, and how many dead letters there are.
        _DESCRIBE: ("dead_letters", "worker_group"),
    },
    "projector": {
        _READ: ("tasks", "events", "projector_group"),
        # Jobs that have to be closed, and messages that it does not understand.
        _WRITE: ("control", "dead_letters"),
        _DESCRIBE: ("changelog", "worker_group"),
    },
    "outbox": {
        _WRITE: ("tasks",),
        # What an earlier relay may have sent is looked for.
        _READ: ("tasks",),
    },
    "producer": {_WRITE: ("tasks",)},
    "verify": {_READ: ("tasks", "events")},
    "rebuild": {_READ: ("tasks", "events")},
    "reconcile": {
        _WRITE: ("tasks",),
        _DESCRIBE: ("control", "events", "dead_letters", "changelog", "worker_group"),
    },
    "dead-letters list": {_READ: ("dead_letters",)},
    "dead-letters retry": {
        # A message that was too large for its letter is read from where it stood.
        _READ: ("dead_letters", "tasks", "control", "events"),
        _WRITE: ("tasks", "control", "events"),
    },
}
"""The names are those of ``Topics``."""

_ASK_SECONDS = 10.0
_RETRY_SECONDS = 0.2
_NOT_TOLD = -(2**31)
_AT_WORK = (Operation.READ, Operation.WRITE, Operation.DESCRIBE)
"""What is asked for; who creates or alters a topic hears of it at once, and a right on the cluster may stand for it."""


async def check_acls(access: KafkaAccess, rights: Iterable[AclRule]) -> None:
    """Refuse to go on without these rights, as far as the brokers tell; they do since Kafka 2.3.

    Over the protocol ``plaintext``, where all are the same, nothing is asked.

    Raises:
        Refused: the message names every right that is missing.
        Unavailable: Kafka does not answer.
    """
    if access.security.protocol == "plaintext":
        return
    needed = [one for one in rights if one.operation in _AT_WORK]
    try:
        async with asyncio.timeout(_ASK_SECONDS), _connected(access) as client:
            granted = await _granted(client, needed)
    except (IncompatibleBrokerVersion, NotImplementedError):
        return
    except TimeoutError as error:
        raise Unavailable(f"Kafka at {access.bootstrap} does not answer within {_ASK_SECONDS:g} s") from error
    except (KafkaError, OSError) as error:
        raise await access.unavailable(error) from error
    if missing := [one for one in needed if not _holds(granted.get((one.kind, one.name), _NOT_TOLD), one)]:
        raise lacking(access, missing)


def lacking(access: KafkaAccess, missing: Sequence[AclRule]) -> Refused:
    """Return what to raise when a client may not do what it has to."""
    listed = ", ".join(map(str, missing))
    return Refused(
        f"Kafka at {access.bootstrap} does not allow {access.security.who} {listed}; "
        "docs/security.md has the rights that each process needs"
    )


@asynccontextmanager
async def _connected(access: KafkaAccess) -> AsyncIterator[AIOKafkaAdminClient]:
    client = AIOKafkaAdminClient(**access.client_options())
    aiokafka_patches.insist_on_brokers(client._client)  # noqa: SLF001 — it shows no other way
    try:
        await client.start()
        yield client
    finally:
        await client.close()


async def _granted(client: AIOKafkaAdminClient, rights: Iterable[AclRule]) -> dict[tuple[str, str], int]:
    """Return by kind and name which operations are allowed, a bit for each."""
    asked = {(one.kind, one.name) for one in rights}
    topics = sorted(name for kind, name in asked if kind == "topic")
    answer = await client._send_request(_TopicsRequest(topics))  # noqa: SLF001 — it has no question for this
    granted = {
        ("topic", topic): 0 if for_code(code) is TopicAuthorizationFailedError else operations
        for code, topic, _, _, operations in answer.topics
    }
    groups = [name for kind, name in asked if kind == "group"]
    return granted | {("group", name): await _granted_on_group(client, name) for name in groups}


async def _granted_on_group(client: AIOKafkaAdminClient, name: str) -> int:
    while True:
        try:
            coordinator = await client.find_coordinator(name)
            answer = await client._send_request(_GroupRequest(name), coordinator)  # noqa: SLF001 — the same
            ((code, *_, operations),) = answer.groups
            if (error := for_code(code)) is not NoError:
                raise error(name)
            return int(operations)
        except GroupAuthorizationFailedError:
            return 0
        except KafkaError as error:
            # The coordinator of a new group, or of a cluster's first one, has to be found.
            if not error.retriable:
                raise
            await asyncio.sleep(_RETRY_SECONDS)


def _holds(operations: int, right: AclRule) -> bool:
    return operations == _NOT_TOLD or bool(operations & 1 << right.operation)


class _TopicsResponse(Response):  # type: ignore[misc]  # aiokafka has no types
    """Version 8, the first that tells; aiokafka's own end with 5."""

    API_KEY = 3
    API_VERSION = 8
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            Array(("node_id", Int32), ("host", String("utf-8")), ("port", Int32), ("rack", String("utf-8"))),
        ),
        ("cluster_id", String("utf-8")),
        ("controller_id", Int32),
        (
            "topics",
            Array(
                ("error_code", Int16),
                ("topic", String("utf-8")),
                ("is_internal", Boolean),
                (
                    "partitions",
                    Array(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", Array(Int32)),
                        ("isr", Array(Int32)),
                        ("offline_replicas", Array(Int32)),
                    ),
                ),
                ("authorized_operations", Int32),
            ),
        ),
        ("cluster_authorized_operations", Int32),
    )


class _TopicsRequestStruct(RequestStruct):  # type: ignore[misc]  # the same
    API_KEY = 3
    API_VERSION = 8
    RESPONSE_TYPE = _TopicsResponse
    SCHEMA = Schema(
        ("topics", Array(String("utf-8"))),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
    )


class _TopicsRequest(Request[_TopicsRequestStruct]):  # type: ignore[misc]  # the same
    API_KEY = 3

    def __init__(self, topics: Sequence[str]) -> None:
        self._topics = topics

    def build(self, struct: type[_TopicsRequestStruct]) -> _TopicsRequestStruct:
        return struct(list(self._topics), False, False, True)  # noqa: FBT003 — as the schema has them


class _GroupRequestStruct(RequestStruct):  # type: ignore[misc]  # the same
    """As aiokafka's own, which reads the answer as one of version 2, without what is asked for."""

    API_KEY = 15
    API_VERSION = 3
    RESPONSE_TYPE = DescribeGroupsResponse_v3
    SCHEMA = Schema(("groups", Array(String("utf-8"))), ("include_authorized_operations", Boolean))


class _GroupRequest(Request[_GroupRequestStruct]):  # type: ignore[misc]  # the same
    API_KEY = 15

    def __init__(self, group: str) -> None:
        self._group = group

    def build(self, struct: type[_GroupRequestStruct]) -> _GroupRequestStruct:
        return struct([self._group], True)  # noqa: FBT003 — as the schema has them
