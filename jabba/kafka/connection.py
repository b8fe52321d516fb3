"""One producer of aiokafka's: it ends for sure, and so does every write that waits for it."""

import asyncio
import logging

from aiokafka import AIOKafkaProducer
from aiokafka.errors import ProducerClosed

logger = logging.getLogger(__name__)

_LEAVE_SECONDS = 1.0


class Connection:
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
