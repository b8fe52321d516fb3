"""The outcomes of a lane whose events Kafka has not acknowledged."""

import asyncio

from jabba.lanes.ports import is_acknowledged

CARRIED_BYTES = 1024 * 1024
"""With more than this, a lane starts no step: it keeps them in memory, and each of its records names them."""


class Carried(dict[bytes, asyncio.Future[int]]):
    """Encoded events, and what ends once each is acknowledged."""

    def unacknowledged(self) -> list[bytes]:
        """Forget what is acknowledged, and answer the others."""
        # Of an event that Kafka does not take something else is told in the end, and until then it stays on record.
        for text in [text for text, sent in self.items() if is_acknowledged(sent)]:
            del self[text]
        return list(self)

    async def be_few(self) -> None:
        """Wait while there are too many bytes of them: call it without a slot, so that no hand-over waits as well."""
        while sum(map(len, self.unacknowledged())) > CARRIED_BYTES:
            waiting = [sent for sent in self.values() if not sent.done()]
            if not waiting:
                return
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
