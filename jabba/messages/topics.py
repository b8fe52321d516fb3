"""The topics: their names, who reads them, and how a partition is chosen.

Messages are JSON lists, so that several submissions or facts of one partition share a message: ``slices.py`` and
``events.py`` hold their forms, ``docs/protocol.md`` documents them for other readers, and ``tests/wire`` keeps recorded
ones that must parse for ever.
"""

from dataclasses import dataclass

from aiokafka.partitioner import murmur2

from jabba.messages.events import decode_events, encode_event, encode_events, event_as_json, event_from_json

EMPTY_MESSAGE = b"[]"
"""The first message of every partition: without it, a rebalance may lose the backlog of a partition at offset 0."""


@dataclass(frozen=True, slots=True)
class Topics:
    """The names of all topics and consumer groups of one installation, which share a prefix."""

    prefix: str = "jabba"

    @property
    def tasks(self) -> str:
        """Slices of submitted jobs; read by workers and projectors."""
        return f"{self.prefix}-tasks"

    @property
    def control(self) -> str:
        """Commands to running jobs; read by workers."""
        return f"{self.prefix}-control"

    @property
    def events(self) -> str:
        """Facts about tasks; read by projectors and anyone who wants to know."""
        return f"{self.prefix}-events"

    @property
    def dead_letters(self) -> str:
        """Messages that no reader understood, with reason and origin."""
        return f"{self.prefix}-dead-letters"

    @property
    def worker_group(self) -> str:
        """The consumer group of all workers, and the id of their Faust application."""
        return f"{self.prefix}-worker"

    @property
    def projector_group(self) -> str:
        """The consumer group of all projectors."""
        return f"{self.prefix}-projector"

    @property
    def lanes_table(self) -> str:
        """The name of the workers' table, from which Faust derives its changelog."""
        return "lanes"

    @property
    def changelog(self) -> str:
        """Records of work in flight; read by the worker that takes a partition over."""
        return f"{self.worker_group}-{self.lanes_table}-changelog"


def partition_of(key: str, partitions: int) -> int:
    """Return the partition of a key, as every Kafka client's default partitioner would: murmur2 modulo N."""
    return int((murmur2(key.encode()) & 0x7FFFFFFF) % partitions)


__all__ = [
    "EMPTY_MESSAGE",
    "Topics",
    "decode_events",
    "encode_event",
    "encode_events",
    "event_as_json",
    "event_from_json",
    "partition_of",
]
