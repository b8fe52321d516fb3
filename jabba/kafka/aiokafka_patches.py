"""What aiokafka takes for a start, and is none.

A broker that was held up has lost its place in the cluster, and until it has it again tells whoever asks that there are
no brokers at all. A client that starts on that answer fails later with an error that is none of Kafka's.
"""

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaConnectionError

_bootstrap = AIOKafkaClient.bootstrap


async def _bootstrap_and_look(client: AIOKafkaClient) -> None:
    await _bootstrap(client)
    if not client.cluster.brokers():
        await client.close()
        raise KafkaConnectionError("the cluster knows of no broker")


def insist_on_brokers() -> None:
    """Let no client of this process start before it knows a broker: it fails as if it had found none."""
    AIOKafkaClient.bootstrap = _bootstrap_and_look
