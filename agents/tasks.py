"""The agent of the tasks topic: decodes and hands over, nothing else."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any, cast

import faust
from faust.streams import Stream
from faust.types import EventT, StreamT

from jabba.dead_letters import dead_letter
from jabba.lanes.engine import Engine, Origin
from jabba.settings import Settings
from jabba.slices import decode_message

logger = logging.getLogger(__name__)

PutAside = Callable[[int, bytes], Awaitable[int]]
"""Appends to a partition of the dead letters."""


def attach(app: faust.App, settings: Settings, engine: Engine, put_aside: PutAside) -> None:
    """Add the agent to the application."""
    topic = app.topic(settings.topics.tasks, key_serializer="raw", value_serializer="raw", allow_empty=True)

    # Without a name Faust would name it after its module, and topics after that.
    @app.agent(topic, name="tasks")
    async def tasks(stream: StreamT[Any]) -> None:
        # The engine decides which offsets are done: Faust would commit past slices that still run.
        async for event in cast("Stream[Any]", stream).noack().events():
            await take_in(event, engine, put_aside)


async def take_in(event: EventT[Any], engine: Engine, put_aside: PutAside) -> None:
    """Decode one message and hand its slices over; one that is no list of slices is put aside."""
    message = event.message
    value = message.value or b""
    origin = Origin(message.partition, message.offset, message.generation_id or 0, len(value))
    try:
        slices = decode_message(value)
    except ValueError as error:
        logger.warning("%s[%d] offset %d is no list of slices", message.topic, message.partition, message.offset)
        await put_aside(
            message.partition, dead_letter(message.topic, message.partition, message.offset, value, str(error))
        )
        slices = []
    await engine.accept(origin, slices)
