"""Reading what stands in the log."""

from aiokafka import AIOKafkaConsumer, TopicPartition

from jabba.messages.slices import Slice, decode_message
from jabba.settings import Settings


async def read_slices(settings: Settings) -> list[tuple[int, int, Slice]]:
    """Return partition, offset and slice of all that stands in the tasks topic."""
    places = [TopicPartition(settings.topics.tasks, number) for number in range(settings.partitions)]
    consumer = AIOKafkaConsumer(bootstrap_servers=settings.kafka, enable_auto_commit=False)
    await consumer.start()
    try:
        consumer.assign(places)
        await consumer.seek_to_beginning()
        ends = await consumer.end_offsets(places)
        messages = []
        while any([await consumer.position(place) < end for place, end in ends.items()]):
            for batch in (await consumer.getmany(timeout_ms=1000)).values():
                messages += batch
    finally:
        await consumer.stop()
    return [(one.partition, one.offset, found) for one in messages for found in decode_message(one.value)]
