"""The agent of the tasks topic: decodes and hands over, nothing else."""

import faust
from faust.types import Message

from agents.intake import PutAside, decoded, follow, origin_of
from jabba.lanes.engine import Engine
from jabba.settings import Settings
from jabba.slices import decode_message


def attach(app: faust.App, settings: Settings, engine: Engine, put_aside: PutAside) -> None:
    """Add the agent to the application."""

    async def take_in(message: Message) -> None:
        await engine.accept(origin_of(message), await decoded(message, decode_message, put_aside))

    follow(app, settings.topics.tasks, "tasks", take_in)
