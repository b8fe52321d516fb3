"""How far the projection is behind the log, or ahead of one that was lost."""

from collections.abc import Mapping

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from jabba.database import queries
from jabba.database.connection import Database
from jabba.kafka.security import KafkaAccess


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
    """Answer, by partition, how many of the messages that stand in a topic now are not projected yet."""
    # The log first: while messages come all the time, a projection that is asked before it is always behind.
    ends = await log_ends(access, topic)
    reached = await queries.projected_offsets(database, [topic])
    return {partition: max(0, end - reached.get((topic, partition), 0)) for partition, end in ends.items()}


async def is_ahead(database: Database, access: KafkaAccess, topic: str) -> bool:
    """Return whether more of a topic is projected than the log has: what it had was lost."""
    # The projection first: it goes on, and the log that it reads has all of what it had.
    reached = await queries.projected_offsets(database, [topic])
    ends = await log_ends(access, topic)
    return any(reached.get((topic, partition), 0) > end for partition, end in ends.items())
