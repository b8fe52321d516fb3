"""The broker of librdkafka's test support, inside this process: Kafka's protocol without Java."""

from jabba.errors import JabbaError, MissingExtra

try:
    from confluent_kafka import KafkaException, Producer
except ImportError as error:
    raise MissingExtra("the embedded broker needs: pip install 'jabba[embedded]'") from error

PARTITIONS = 4
UNREAD_BYTES = 5 * 1024 * 1024
_START_SECONDS = 10
_NO_SERVER = "127.0.0.1:0"  # required by the configuration, replaced by the embedded broker's address


class BrokerFailed(JabbaError):
    """The embedded broker did not start."""


class EmbeddedBroker:
    """One broker on a free port of 127.0.0.1, served by a thread of its own until ``stop`` or the end of the process.

    It acknowledges (``acks=all``, idempotent producers), keeps consumer groups with their offsets, lists offsets and
    makes a topic of 4 partitions when one is first asked for. It is no Kafka, and its user must know how:

    - it forgets everything when it stops;
    - a partition holds its last 5 MiB (``UNREAD_BYTES``): **older messages are dropped, read or not**;
    - a group has one member: a second one that joins is refused, and the successor of a killed one waits for the
      session to time out; the first to join waits 3 s, a later one 5 s;
    - it creates no topics on request, keeps no configuration of them, compacts nothing and expires nothing;
    - the timestamp of a message is its producer's, never the broker's, and the one in an acknowledgement means
      nothing; no offset is found by time.
    """

    def __init__(self) -> None:
        self._cluster: Producer | None = None
        self._bootstrap = ""

    @property
    def bootstrap(self) -> str:
        """The address to connect to, ``127.0.0.1:PORT``; BrokerFailed unless it runs."""
        if self._cluster is None:
            raise BrokerFailed("the embedded broker was not started")
        return self._bootstrap

    def start(self) -> None:
        """Start it and return when it answers; raises BrokerFailed."""
        self._cluster = Producer({"bootstrap.servers": _NO_SERVER, "test.mock.num.brokers": 1, "log_level": 3})
        try:
            (broker,) = self._cluster.list_topics(timeout=_START_SECONDS).brokers.values()
        except KafkaException as error:
            self.stop()
            raise BrokerFailed(f"the embedded broker does not answer: {error}") from error
        self._bootstrap = f"{broker.host}:{broker.port}"

    def stop(self) -> None:
        """Stop it and forget what it held; harmless when it does not run."""
        if self._cluster is not None:
            self._cluster.close()
            self._cluster = None
