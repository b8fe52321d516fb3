"""Which rights each process needs in a Kafka with ACLs; ``docs/security.md`` has the same table, and commands."""

from collections.abc import Mapping
from enum import IntEnum
from typing import Literal, NamedTuple

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
