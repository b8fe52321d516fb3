"""Dead letters: messages that no reader understood, kept with their reason and origin so that nothing is lost."""

import base64

from jabba import strictjson

KEPT_BYTES = 5 * 512 * 1024
"""More of a message is not kept, since its letter is a third larger; the origin says where the whole one stands."""

UNKNOWN_OFFSET = -1
"""The offset of a letter about a slice that has left its message."""

_REASON_CHARACTERS = 2000


def dead_letter(topic: str, partition: int, offset: int, value: bytes | None, reason: str) -> bytes:
    """Answer the message for the dead letters topic: where the faulty one stood, why it is here, and its bytes.

    ``size`` is the number of its bytes, ``value`` the first ones in base64: all but of the very largest messages.
    """
    letter = {
        "v": 1,
        "reason": strictjson.storable(reason[:_REASON_CHARACTERS]),
        "topic": topic,
        "partition": partition,
        "offset": offset,
        "size": None if value is None else len(value),
        "value": None if value is None else base64.b64encode(value[:KEPT_BYTES]).decode(),
    }
    return strictjson.encode(letter)
