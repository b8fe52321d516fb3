"""Acknowledged writes to Kafka: the one producer behind submissions, records and events."""

import asyncio
import logging
from typing import Self

from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    KafkaError,
    MessageSizeTooLargeError,
    NoError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
    for_code,
)
from aiokafka.protocol.metadata import MetadataRequest

from jabba.errors import NotReady, Refused, Unavailable
from jabba.granted import lacking
from jabba.kafka import KafkaAccess
from jabba.rights import Operation, Right

logger = logging.getLogger(__name__)

MAX_MESSAGE_BYTES = 4 * 1024 * 1024
"""What topics and producers allow; a slice of one large task fits."""

# The second is the answer to a producer that may write to no topic at all.
_MAY_NOT_WRITE = (TopicAuthorizationFailedError, ClusterAuthorizationFailedError)
_RETRY_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 2.0
_CLOSE_SECONDS = 2.0


class Log:
    """Appends messages to partitions, and answers only when all in-sync replicas have them.

    The producer is idempotent. One that fails for good is replaced by a new one, so that a caller who is willing to
    wait never has to give a write up. A message may then stand in the log twice, and the first of the two behind later
    ones: Kafka keeps no order between producers, and what the old one has sent may still be on its way.
    """

    def __init__(self, access: KafkaAccess, *, client_id: str = "jabba") -> None:
        self._access = access
        self._client_id = client_id
        self._producer: AIOKafkaProducer | None = None
        self._lock = asyncio.Lock()
        self._stopped = False
        self._failing = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def failing(self) -> bool:
        """Answer whether the last write that Kafka should have acknowledged by now was not."""
        return self._failing

    async def append(
        self,
        topic: str,
        partition: int,
        value: bytes | None,
        *,
        key: bytes | None = None,
        within: float | None = None,
        once: bool = False,
    ) -> int:
        """Append a message and answer its offset, trying again for ``within`` seconds, or for ever without one.

        With ``once`` a message that fails is not sent again: for callers to whom it matters that it may still come.

        Raises:
            Unavailable: not acknowledged within ``within`` seconds; it may be in the log all the same, or come later.
            Refused: Kafka does not allow it; without ``within`` it is tried again all the same.
        """
        try:
            async with asyncio.timeout(within):
                return await self._append_until_acknowledged(
                    topic, partition, value, key, once=once, patient=within is None
                )
        except TimeoutError as error:
            self._failing = True
            raise Unavailable(f"Kafka did not acknowledge within {within:g} s") from error

    async def partitions(self, topic: str, *, within: float = 10.0) -> int:
        """Ask a broker how many partitions a topic has; asking never creates the topic.

        Raises:
            NotReady: there is no such topic.
            Unavailable: Kafka did not tell within ``within`` seconds.
            Refused: it does not let this client in, or not write to the topic.
        """
        try:
            async with asyncio.timeout(within):
                error, partitions = await self._topic_metadata(topic)
        except TimeoutError as silence:
            raise Unavailable(f"Kafka at {self._access.bootstrap} does not answer within {within:g} s") from silence
        if error is UnknownTopicOrPartitionError:
            raise NotReady(f"the topic {topic} is missing; run `python -m jabba init`")
        if error is TopicAuthorizationFailedError:
            raise self._may_not_write(topic)
        if error is not NoError:
            raise Unavailable(f"Kafka does not tell about the topic {topic}: {error.__name__}")
        return len(partitions)

    async def stop(self) -> None:
        """Flush and close the connection."""
        self._stopped = True
        producer, self._producer = self._producer, None
        if producer is not None:
            await producer.stop()

    async def _topic_metadata(self, topic: str) -> tuple[type[KafkaError], list[object]]:
        request = MetadataRequest([topic], allow_auto_topic_creation=False)
        pause = _RETRY_SECONDS
        while True:
            try:
                client = (await self._started()).client
                answer = await client.send(client.get_random_node(), request)
            except (KafkaError, OSError) as error:
                if isinstance(error, _MAY_NOT_WRITE):
                    raise self._may_not_write(topic) from error
                trouble = await self._access.unavailable(error)
                if isinstance(trouble, Refused):
                    raise trouble from error
                logger.warning("no answer about %s, asking again: %r", topic, error)
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            else:
                code, _, _, partitions = answer.topics[0]
                return for_code(code), partitions

    async def _append_until_acknowledged(
        self, topic: str, partition: int, value: bytes | None, key: bytes | None, *, once: bool, patient: bool
    ) -> int:
        while True:
            producer = None
            try:
                producer = await self._started()
                acknowledged = await producer.send_and_wait(topic, value, key=key, partition=partition)
                self._failing = False
                return int(acknowledged.offset)
            except MessageSizeTooLargeError:
                raise
            except (KafkaError, OSError) as error:
                self._failing = True
                refused = None if patient or not isinstance(error, _MAY_NOT_WRITE) else self._may_not_write(topic)
                if refused is None:
                    logger.warning("%s[%d] not acknowledged, sending again: %r", topic, partition, error)
                if producer is not None:
                    await self._discard(producer)
                if refused is not None:
                    raise refused from error
                await asyncio.sleep(_RETRY_SECONDS)
                if once:
                    raise Unavailable(f"Kafka did not acknowledge: {error!r}") from error

    def _may_not_write(self, topic: str) -> Refused:
        refused = lacking(self._access, [Right(Operation.WRITE, "topic", topic)])
        logger.warning("%s", refused)
        return refused

    async def _started(self) -> AIOKafkaProducer:
        if self._producer is not None:
            return self._producer
        async with self._lock:
            if self._stopped:
                raise Unavailable("this connection to Kafka is closed")
            if self._producer is None:
                self._producer = await self._start_new()
            return self._producer

    async def _start_new(self) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(
            **self._access.client_options(),
            client_id=self._client_id,
            acks="all",
            enable_idempotence=True,
            max_request_size=MAX_MESSAGE_BYTES,
            max_batch_size=512 * 1024,
            request_timeout_ms=15_000,
        )
        try:
            await producer.start()
        except BaseException:
            await producer.stop()
            raise
        return producer

    async def _discard(self, failed: AIOKafkaProducer) -> None:
        """Close a producer that failed, unless another write has replaced it already."""
        if self._producer is None or self._producer is not failed:
            return
        self._producer = None
        # In a task of its own: it would swallow a cancellation of this one, which would then write on for ever.
        closing = asyncio.create_task(failed.stop())
        closing.add_done_callback(_told)
        await asyncio.wait({closing}, timeout=_CLOSE_SECONDS)
        closing.cancel()


def _told(closing: asyncio.Task[None]) -> None:
    if not closing.cancelled() and (error := closing.exception()) is not None:
        logger.warning("closing a failed producer: %r", error)
