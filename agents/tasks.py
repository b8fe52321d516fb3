"""The agent of the tasks topic: decodes and hands over, nothing else."""

from collections.abc import Callable
from functools import partial
from typing import Any

import faust

from agents.decoding import PutAside, decoded, follow
from agents.replay import Intake, Message, origin_of
from jabba.engine.engine import Engine
from jabba.messages.slices import decode_message, decode_slice
from jabba.settings import Settings


def attach(
    app: faust.App, settings: Settings, engine: Engine, put_aside: PutAside, reread: Callable[..., Any]
) -> Intake:
    """Add the agent to the application."""

    async def take_in(message: Message) -> None:
        await engine.accept(origin_of(message), await decoded(message, decode_message, decode_slice, put_aside))

    topic = settings.topics.tasks
    intake = Intake(topic, take_in, engine.missing, partial(reread, topic), engine.reached)
    follow(app, "tasks", intake)
    return intake
