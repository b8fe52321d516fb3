"""A broker of Jabba's own, so that a machine with only Python keeps every promise that Kafka keeps.

It speaks the part of Kafka's protocol that aiokafka uses, as one node without replicas, transactions or access
control, and keeps acknowledged messages, topics and committed offsets in a directory. ``server.py`` puts the parts
together, ``api.py`` lists what can be asked, ``log.py`` keeps messages and ``groups.py`` has the rules of groups.
"""

from jabba.embedded.broker.child import EmbeddedBroker
from jabba.embedded.broker.server import BrokerFailed, BrokerServer

__all__ = ["BrokerFailed", "BrokerServer", "EmbeddedBroker"]
