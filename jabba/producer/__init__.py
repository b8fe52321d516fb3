"""Submit jobs straight to Kafka: no web process and no database is needed."""

from jabba.producer.producer import Producer, SyncProducer, producer_of
from jabba.producer.submission import Delivery, Submitted

__all__ = ["Delivery", "Producer", "Submitted", "SyncProducer", "producer_of"]
