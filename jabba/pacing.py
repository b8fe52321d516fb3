"""Submitting to the embedded broker, which drops what is older than a few megabytes, read or not.

A submission goes out in portions, and the next one only when the database shows the one before: then everything has
been read that is about to be dropped.
"""

from collections.abc import Awaitable, Callable, Iterator, Sequence

from jabba.errors import Unavailable
from jabba.lanes.room import Room
from jabba.positions import Position
from jabba.producer import Prepared, Producer, Submitted
from jabba.slices import EncodedSlice

PORTION_BYTES = 1024 * 1024
UNREAD_BYTES = 2 * 1024 * 1024
"""What all submissions together may have under way; the broker keeps more than twice as much of each partition."""

_UNREAD_SLICES = 10_000

Follow = Callable[[Position], Awaitable[bool]]
"""Waits until the database shows what was sent up to a position; answers whether it did in time."""


class Paced:
    """Sends submissions no faster than they are read."""

    def __init__(self, producer: Producer, follow: Follow) -> None:
        self._producer = producer
        self._follow = follow
        self._room = Room(_UNREAD_SLICES, UNREAD_BYTES)

    async def send(self, prepared: Prepared) -> Submitted:
        """Send a submission, and answer once the database shows all of it.

        Raises:
            Unavailable: Kafka did not acknowledge in time, or the database did not follow.
        """
        position: dict[int, int] = {}
        for portion in _portions(prepared.slices):
            position |= await self._send_portion(Prepared(prepared.job, portion))
        return Submitted(prepared.job.id, position, prepared.job)

    async def _send_portion(self, portion: Prepared) -> dict[int, int]:
        size = sum(len(one.text) for one in portion.slices)
        await self._room.take(len(portion.slices), size)
        try:
            sent = await self._producer.send(portion)
            if not await self._follow(sent.position):
                raise Unavailable(
                    f"job {portion.job.id} is accepted under this id, but the database does not show it yet"
                )
        finally:
            self._room.give_back(len(portion.slices), size)
        return sent.position


def _portions(slices: Sequence[EncodedSlice]) -> Iterator[list[EncodedSlice]]:
    portion: list[EncodedSlice] = []
    size = 0
    for one in slices:
        if portion and size + len(one.text) > PORTION_BYTES:
            yield portion
            portion, size = [], 0
        portion.append(one)
        size += len(one.text)
    yield portion
