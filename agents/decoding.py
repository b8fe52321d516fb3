"""What the agents have in common: raw messages in, decoded ones out, and those that cannot be decoded put aside."""

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar, cast

import faust
from faust.streams import Stream
from faust.types import StreamT

from agents.replay import Intake, Message
from jabba.kafka import dead_letters
from jabba.kafka.dead_letters import dead_letter
from jabba.messages.decoding import decode_each

logger = logging.getLogger(__name__)

PutAside = Callable[[int, bytes], Awaitable[int]]
"""Appends to a partition of the dead letters."""

Content = TypeVar("Content")


def follow(app: faust.App, name: str, intake: Intake) -> None:
    """Add an agent that takes every message of a topic in, in the order of its partition."""
    channel = app.topic(intake.topic, key_serializer="raw", value_serializer="raw", allow_empty=True)

    # Without a name Faust would name it after its module, and topics after that.
    @app.agent(channel, name=name)
    async def agent(stream: StreamT[Any]) -> None:
        # The engine decides which offsets are done: Faust would commit past slices that still run.
        async for event in cast("Stream[Any]", stream).noack().events():
            await intake.take(event.message)


async def decoded(
    message: Message,
    decode: Callable[[bytes], list[Content]],
    decode_one: Callable[[bytes], Content],
    put_aside: PutAside,
) -> list[Content]:
    """Decode a message; what of it cannot be is put aside, item by item."""
    contents, faults = decode_each(message.value or b"", decode, decode_one)
    for fault in faults:
        place = {"topic": message.topic, "partition": message.partition, "offset": message.offset}
        logger.warning("message cannot be decoded, moved to the dead letters", extra=place | {"error": fault.reason})
        letter = partial(dead_letter, message.topic, message.partition, message.offset, fault.value, fault.reason)
        await dead_letters.put_aside(partial(put_aside, message.partition), letter)
    return contents
