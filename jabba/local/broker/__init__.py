"""A broker of Jabba's own, so that a machine with only Python keeps every promise that Kafka keeps.

It speaks the part of Kafka's protocol that aiokafka uses, each request in one version, and keeps everything in a
directory: messages, topics, committed offsets, groups and their members, ids of producers. ``server.py`` puts the
parts together, ``api.py`` lists what can be asked, ``log.py`` keeps messages and ``groups.py`` has the rules of groups.

What it acknowledges outlives its process at once, and a power failure 50 ms later. Idempotent producers, long polls,
groups of any number of members, retention and compaction behave as Kafka's do: the same tests run on both.

It is one node for the clients of one machine: without replicas, transactions, authentication or encryption. It neither
creates topics unasked nor deletes them, nor adds partitions; static members are ordinary ones; committed offsets never
expire; nothing is told about groups to those outside.
"""

from jabba.local.broker.child import EmbeddedBroker
from jabba.local.broker.server import BrokerFailed, BrokerServer

__all__ = ["BrokerFailed", "BrokerServer", "EmbeddedBroker"]
