"""Dead letters: messages that no reader understood, kept with their reason and origin so that nothing is lost."""

import base64
from collections.abc import Awaitable, Callable

from jabba.errors import MessageTooLarge
from jabba.jobs import json_codec

KEPT_BYTES = 5 * 512 * 1024
"""More of a message is not kept, since its letter is a third larger; the origin says where the whole one stands."""

UNKNOWN_OFFSET = -1
"""The offset of a letter about a slice that has left its message."""

_REASON_CHARACTERS = 2000


async def put_aside(append: Callable[[bytes], Awaitable[int]], letter: Callable[..., bytes]) -> None:
    """Append a letter, ``partial(dead_letter, …)``, with less of its message where Kafka does not take that much."""
    kept = KEPT_BYTES
    while True:
        try:
            await append(letter(kept=kept))
        except MessageTooLarge:
            if not kept:
                raise
            kept //= 8
        else:
            return


def dead_letter(
    topic: str, partition: int, offset: int, value: bytes | None, reason: str, *, kept: int = KEPT_BYTES
) -> bytes:
    """Return the message for the dead letters topic: where the faulty one stood, why it is here, and its bytes.

    ``size`` is the number of its bytes, ``value`` the first ones in base64: all but of the very largest messages.
    """
    letter = {
        "v": 1,
        "reason": json_codec.storable(reason[:_REASON_CHARACTERS]),
        "topic": topic,
        "partition": partition,
        "offset": offset,
        "size": None if value is None else len(value),
        "value": None if value is None else base64.b64encode(value[:kept]).decode(),
    }
    return json_codec.encode(letter)
