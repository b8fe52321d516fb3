"""How far the projection is behind the log, or ahead of one that was lost."""

from collections.abc import Mapping

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from jabba.kafka import KafkaAccess
from jabba.persistence import queries
from jabba.persistence.database import Database


async def log_ends(access: KafkaAccess, topic: str) -> Mapping[int, int]:
    """Answer, by partition, the offset that the next message of a topic will have.

    Raises:
        Unavailable: Kafka does not answer.
    """
    consumer = AIOKafkaConsumer(topic, **access.client_options(), enable_auto_commit=False)
    try:
        await consumer.start()
        places = [TopicPartition(topic, partition) for partition in consumer.partitions_for_topic(topic) or ()]
        return {place.partition: end for place, end in (await consumer.end_offsets(places)).items()}
    except (KafkaError, OSError) as error:
        raise await access.unavailable(error) from error
    finally:
        await consumer.stop()


async def behind(database: Database, access: KafkaAccess, topic: str) -> dict[int, int]:
    """Answer, by partition, how many messages of a topic are not projected; negative where the log has lost some."""
    ends = await log_ends(access, topic)
    reached = await queries.projected_offsets(database, [topic])
    return {partition: end - reached.get((topic, partition), 0) for partition, end in ends.items()}
