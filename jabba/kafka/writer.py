"""Acknowledged writes to Kafka: the one producer behind submissions, records and events, and how events are sent."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Self
from uuid import UUID

from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    KafkaError,
    MessageSizeTooLargeError,
    NoError,
    ProducerClosed,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
    for_code,
)
from aiokafka.protocol.metadata import MetadataRequest

from jabba.concurrency.backoff import Backoff
from jabba.concurrency.group_commit import GroupCommit
from jabba.errors import MessageTooLarge, NotReady, Refused, Unavailable
from jabba.kafka import aiokafka_patches
from jabba.kafka.acls import AclRule, Operation, lacking
from jabba.kafka.security import KafkaAccess
from jabba.messages.events import encode_events
from jabba.messages.topics import partition_of

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
_LEAVE_SECONDS = 1.0
_REQUEST_SECONDS = 15.0


class _Connection:
    """A started producer, until it is closed. Writes that it will never answer then fail.

    Messages of up to ``batch_bytes`` in all share a batch; one of so many, or more, is alone in its own.
    """

    def __init__(self, producer: AIOKafkaProducer, batch_bytes: int) -> None:
        self._producer = producer
        self.batch_bytes = batch_bytes
        self._waiting: set[asyncio.Timeout] = set()
        self._closing: asyncio.Task[None] | None = None

    @property
    def producer(self) -> AIOKafkaProducer:
        """The producer itself."""
        return self._producer

    async def write(self, topic: str, partition: int, value: bytes | None, key: bytes | None) -> int:
        """Write a message and return its offset.

        Raises:
            KafkaError: it was not acknowledged; ``ProducerClosed`` if it never will be by this producer.
        """
        patience = asyncio.timeout(None)
        try:
            async with patience:
                self._waiting.add(patience)
                acknowledged = await self._producer.send_and_wait(topic, value, key=key, partition=partition)
                return int(acknowledged.offset)
        except TimeoutError:
            if patience.expired():
                raise ProducerClosed from None
            raise
        finally:
            self._waiting.discard(patience)

    async def close(self, seconds: float) -> bool:
        """Send what is on its way, and close; return whether that took no longer than ``seconds``.

        If it does, it goes on.
        """
        if self._closing is None:
            # In a task of its own: it would swallow a cancellation of this one, which would then write on for ever.
            self._closing = asyncio.create_task(self._producer.stop())
            self._closing.add_done_callback(self._closed)
        await asyncio.wait({self._closing}, timeout=seconds)
        return self._closing.done()

    async def end(self, seconds: float) -> bool:
        """Close, and after so many seconds give up what is on its way; return whether that was not necessary."""
        if await self.close(seconds):
            return True
        # Idempotent messages never expire. Only the end of its sender lets a producer close without them.
        self._producer._sender.sender_task.cancel()  # noqa: SLF001 — see above
        # What the sender waits for fails once the sockets are closed.
        leaving = asyncio.create_task(self._producer.client.close())
        await asyncio.wait({leaving}, timeout=_LEAVE_SECONDS)
        await self.close(_LEAVE_SECONDS)
        return False

    def _closed(self, closing: asyncio.Task[None]) -> None:
        if not closing.cancelled() and (error := closing.exception()) is not None:
            logger.warning("producer did not close cleanly", extra={"error": repr(error)})
        # Those that wait for what this producer does not know yet, such as a topic, wait for ever.
        for patience in self._waiting:
            patience.reschedule(0)


class Log:
    """Appends messages to partitions, and answers only when all in-sync replicas have them.

    The producer is idempotent. One that fails for good is replaced by a new one, so that a caller who is willing to
    wait never has to give a write up. A message may then stand in the log twice, and the first of the two behind later
    ones: Kafka keeps no order between producers, and what the old one has sent may still be on its way.
    """

    def __init__(self, access: KafkaAccess, *, client_id: str = "jabba") -> None:
        self._access = access
        self._client_id = client_id
        self._connection: _Connection | None = None
        self._discarded: set[_Connection] = set()
        self._batch_bytes = _BATCH_BYTES
        self._lock = asyncio.Lock()
        self._stopped = False
        self._failing = False
        self._backoffs: defaultdict[str, Backoff] = defaultdict(
            partial(Backoff, _RETRY_SECONDS, _LONGEST_PAUSE_SECONDS)
        )

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
        backoff = Backoff(_RETRY_SECONDS, _LONGEST_PAUSE_SECONDS)
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
                pause = backoff.next()
                failed = {"topic": topic, "retry_in": pause, "error": repr(error)}
                logger.warning("topic metadata cannot be fetched, trying again", extra=failed)
                await asyncio.sleep(pause)
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
                self._backoffs.pop(topic, None)
                return offset

    def _refused_for_size(self, connection: _Connection, topic: str, size: int) -> None:
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
        await asyncio.sleep(self._backoffs[topic].next())

    def _may_not_write(self, topic: str) -> Refused:
        refused = lacking(self._access, [AclRule(Operation.WRITE, "topic", topic)])
        logger.warning("%s", refused)
        return refused

    async def _started(self) -> _Connection:
        if self._connection is not None:
            return self._connection
        async with self._lock:
            if self._stopped:
                raise Unavailable("this connection to Kafka is closed")
            if self._connection is None:
                batch_bytes = self._batch_bytes
                self._connection = _Connection(await self._start_new(batch_bytes), batch_bytes)
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
        aiokafka_patches.insist_on_brokers(producer.client)
        try:
            await producer.start()
        except BaseException:
            await producer.stop()
            raise
        return producer

    async def _discard(self, failed: _Connection) -> None:
        """Close a connection that failed, unless another write has replaced it already."""
        if self._connection is not failed:
            return
        self._connection = None
        self._discarded.add(failed)
        if await failed.close(_DISCARD_SECONDS):
            self._discarded.discard(failed)


Append = Callable[[int, bytes], Awaitable[int]]
"""Appends a message to a partition of the events topic and answers its offset, however long that takes."""


class Emitter:
    """The events topic, partitioned by job, so that the facts of one job stay in order.

    ``sent`` and ``acknowledged`` count events.
    """

    def __init__(self, append: Append, partitions: int) -> None:
        self._append = append
        self._partitions = partitions
        self._groups = GroupCommit(self._write)
        self.sent = 0
        self.acknowledged = 0

    @property
    def waiting(self) -> int:
        """Return how many events wait to be sent."""
        return self._groups.waiting

    def send(self, job: UUID, event: bytes) -> asyncio.Future[int]:
        """Send an encoded event; the future ends once it is acknowledged."""
        self.sent += 1
        return self._groups.add(partition_of(str(job), self._partitions), event)

    async def close(self) -> None:
        """Give up what is not acknowledged: records still carry it, and their next owner sends it again."""
        await self._groups.close()

    async def _write(self, partition: int, events: list[bytes]) -> int:
        offset = await self._append(partition, encode_events(events))
        self.acknowledged += len(events)
        return offset


def _size(key: bytes | None, value: bytes | None) -> int:
    return len(key or b"") + len(value or b"")


def _too_large(topic: str, size: int) -> MessageTooLarge:
    return MessageTooLarge(f"Kafka takes no message of {size:,} bytes into {topic}")
