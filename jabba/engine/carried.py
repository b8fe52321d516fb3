"""The outcomes of a lane whose events Kafka has not acknowledged."""

import asyncio

from jabba.engine.ports import is_acknowledged

CARRIED_BYTES = 1024 * 1024
"""With more than this, a lane starts no step: it keeps them in memory, and each of its records names them."""


class UnacknowledgedEvents(dict[bytes, asyncio.Future[int]]):
    """Encoded events, and what ends once each is acknowledged.

    ``bytes`` counts those that were not acknowledged when somebody looked last.
    """

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def add(self, text: bytes, sent: asyncio.Future[int]) -> None:
        """Carry an event that was sent."""
        self.forget(text)
        self[text] = sent
        self.bytes += len(text)

    def forget(self, text: bytes) -> None:
        """Carry an event no more, if it was carried."""
        if self.pop(text, None) is not None:
            self.bytes -= len(text)

    def unacknowledged(self) -> list[bytes]:
        """Forget what is acknowledged, and return the others."""
        # Of an event that Kafka does not take something else is told in the end, and until then it stays on record.
        for text in [text for text, sent in self.items() if is_acknowledged(sent)]:
            self.forget(text)
        return list(self)

    async def wait_below_limit(self) -> None:
        """Wait while there are too many bytes of them: call it without a slot, so that no hand-over waits as well."""
        while self._are_many():
            waiting = [sent for sent in self.values() if not sent.done()]
            if not waiting:
                return
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)

    def _are_many(self) -> bool:
        # Each step asks, and each may have carried hundreds.
        if self.bytes > CARRIED_BYTES:
            self.unacknowledged()
        return self.bytes > CARRIED_BYTES
