"""Dead letters: messages that no reader understood, kept with their reason and origin so that nothing is lost."""

import base64

from jabba import strictjson


def dead_letter(topic: str, partition: int, offset: int, value: bytes | None, reason: str) -> bytes:
    """Answer the message for the dead letters topic: where the faulty one stood, why it is here, and its bytes."""
    letter = {
        "v": 1,
        "reason": reason,
        "topic": topic,
        "partition": partition,
        "offset": offset,
        "value": None if value is None else base64.b64encode(value).decode(),
    }
    return strictjson.encode(letter)
