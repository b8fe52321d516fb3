"""An installation's part of a Kafka cluster: how to reach it, its topics, and how those are made."""

from dataclasses import dataclass

from jabba.kafka.security import KafkaAccess
from jabba.messages.topics import Topics


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Where an installation's topics are.

    New topics get so many ``partitions``, with ``replication`` copies each. If ``partitions_are_chosen``, topics that
    exist with another number are refused; else they keep it.
    """

    access: KafkaAccess
    topics: Topics
    partitions: int = 8
    replication: int = 1
    partitions_are_chosen: bool = False
