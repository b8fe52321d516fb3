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

from jabba.errors import MessageTooLarge, NotReady, Refused, Unavailable
from jabba.kafka.acls import AclRule, Operation
from jabba.kafka.connection import Connection
from jabba.kafka.granted import lacking
from jabba.kafka.security import KafkaAccess

logger = logging.getLogger(__name__)

MAX_MESSAGE_BYTES = 4 * 1024 * 1024
"""What topics and producers allow; a slice of one large task fits."""

_BATCH_BYTES = 512 * 1024
_FRAME_BYTES = 1024
"""More than what stands around the key and value of a message that travels alone."""

# The second is the answer to a producer that may write to no topic at all.
_MAY_NOT_WRITE = (TopicAuthorizationFailedError, ClusterAuthorizationFailedError)
_RETRY_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 2.0
_DISCARD_SECONDS = 2.0
_STOP_SECONDS = 5.0
_REQUEST_SECONDS = 15.0


class Log:
    """Appends messages to partitions, and answers only when all in-sync replicas have them.

    The producer is idempotent. One that fails for good is replaced by a new one, so that a caller who is willing to
    wait never has to give a write up. A message may then stand in the log twice, and the first of the two behind later
    ones: Kafka keeps no order between producers, and what the old one has sent may still be on its way.
    """

    def __init__(self, access: KafkaAccess, *, client_id: str = "jabba") -> None:
        self._access = access
        self._client_id = client_id
        self._connection: Connection | None = None
        self._discarded: set[Connection] = set()
        self._batch_bytes = _BATCH_BYTES
        self._lock = asyncio.Lock()
        self._stopped = False
        self._failing = False
        self._pauses: dict[str, float] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def failing(self) -> bool:
        """Return whether the last write that Kafka should have acknowledged by now was not."""
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
        """Append a message and return its offset, trying again for ``within`` seconds, or for ever without one.

        With ``once`` a message that fails is not sent again: for callers to whom it matters that it may still come.

        Raises:
            Unavailable: not acknowledged within ``within`` seconds; it may be in the log all the same, or come later.
            Refused: Kafka does not allow it; without ``within`` it is tried again all the same.
            MessageTooLarge: the topic takes no message of this size; it is not in the log, and will not be.
        """
        if (size := _size(key, value)) > MAX_MESSAGE_BYTES - _FRAME_BYTES:
            raise _too_large(topic, size)
        try:
            async with asyncio.timeout(within):
                return await self._append_until_acknowledged(
                    topic, partition, value, key, once=once, patient=within is None
                )
        except TimeoutError as error:
            self._failing = True
            raise Unavailable(f"Kafka did not acknowledge within {within:g} s") from error
        except Refused:
            # Whoever tries again at once would have a new producer made each time.
            await self._pause(topic)
            raise

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
        """Close the connection. What Kafka does not acknowledge within 5 s is given up, and that is logged."""
        self._stopped = True
        connections, self._connection = [*self._discarded, self._connection], None
        ended = await asyncio.gather(*(one.end(_STOP_SECONDS) for one in connections if one is not None))
        if not all(ended):
            given_up = {"client": self._client_id, "seconds": _STOP_SECONDS}
            logger.warning("closing without the acknowledgement of all messages", extra=given_up)

    async def _topic_metadata(self, topic: str) -> tuple[type[KafkaError], list[object]]:
        request = MetadataRequest([topic], allow_auto_topic_creation=False)
        pause = _RETRY_SECONDS
        while True:
            try:
                client = (await self._started()).producer.client
                answer = await client.send(client.get_random_node(), request)
            except (KafkaError, OSError) as error:
                if isinstance(error, _MAY_NOT_WRITE):
                    raise self._may_not_write(topic) from error
                trouble = await self._access.unavailable(error)
                if isinstance(trouble, Refused):
                    raise trouble from error
                failed = {"topic": topic, "retry_in": pause, "error": repr(error)}
                logger.warning("topic metadata cannot be fetched, trying again", extra=failed)
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            else:
                code, _, _, partitions = answer.topics[0]
                return for_code(code), partitions

    async def _append_until_acknowledged(
        self, topic: str, partition: int, value: bytes | None, key: bytes | None, *, once: bool, patient: bool
    ) -> int:
        while True:
            connection = None
            try:
                connection = await self._started()
                offset = await connection.write(topic, partition, value, key)
            except (KafkaError, OSError) as error:
                self._failing = True
                if connection is not None:
                    # After a refusal, what this producer sends next would come with the wrong number.
                    await self._discard(connection)
                    if isinstance(error, MessageSizeTooLargeError):
                        self._refused_for_size(connection, topic, _size(key, value))
                refused = isinstance(error, _MAY_NOT_WRITE)
                if refused and not patient:
                    raise self._may_not_write(topic) from error
                place = {"topic": topic, "partition": partition, "error": repr(error)}
                logger.warning("message not acknowledged, sending again", extra=place)
                await (self._pause(topic) if refused else asyncio.sleep(_RETRY_SECONDS))
                if once:
                    raise Unavailable(f"Kafka did not acknowledge: {error!r}") from error
            else:
                self._failing = False
                self._pauses.pop(topic, None)
                return offset

    def _refused_for_size(self, connection: Connection, topic: str, size: int) -> None:
        """Raise if this message is what a broker refused; else send each alone from now on, for it was their batch."""
        if size >= connection.batch_bytes:
            self._failing = False
            raise _too_large(topic, size)
        if self._batch_bytes:
            lowered = {"topic": topic, "bytes": _BATCH_BYTES}
            logger.warning("max.message.bytes was lowered, sending messages one by one", extra=lowered)
            self._batch_bytes = 0

    async def _pause(self, topic: str) -> None:
        """Wait after a refusal, longer after each one that follows; a right comes back by somebody's hand."""
        pause = self._pauses.get(topic, _RETRY_SECONDS)
        self._pauses[topic] = min(2 * pause, _LONGEST_PAUSE_SECONDS)
        await asyncio.sleep(pause)

    def _may_not_write(self, topic: str) -> Refused:
        refused = lacking(self._access, [AclRule(Operation.WRITE, "topic", topic)])
        logger.warning("%s", refused)
        return refused

    async def _started(self) -> Connection:
        if self._connection is not None:
            return self._connection
        async with self._lock:
            if self._stopped:
                raise Unavailable("this connection to Kafka is closed")
            if self._connection is None:
                batch_bytes = self._batch_bytes
                self._connection = Connection(await self._start_new(batch_bytes), batch_bytes)
            return self._connection

    async def _start_new(self, batch_bytes: int) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(
            **self._access.client_options(),
            client_id=self._client_id,
            acks="all",
            enable_idempotence=True,
            max_request_size=MAX_MESSAGE_BYTES,
            max_batch_size=batch_bytes,
            request_timeout_ms=int(1000 * _REQUEST_SECONDS),
        )
        try:
            await producer.start()
        except BaseException:
            await producer.stop()
            raise
        return producer

    async def _discard(self, failed: Connection) -> None:
        """Close a connection that failed, unless another write has replaced it already."""
        if self._connection is not failed:
            return
        self._connection = None
        self._discarded.add(failed)
        if await failed.close(_DISCARD_SECONDS):
            self._discarded.discard(failed)


def _size(key: bytes | None, value: bytes | None) -> int:
    return len(key or b"") + len(value or b"")


def _too_large(topic: str, size: int) -> MessageTooLarge:
    return MessageTooLarge(f"Kafka takes no message of {size:,} bytes into {topic}")
