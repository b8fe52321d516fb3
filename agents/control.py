"""The agent of the control topic: decodes and hands over, nothing else."""

import faust
from faust.types import Message

from agents.intake import PutAside, decoded, follow, origin_of
from jabba.commands import decode_commands
from jabba.lanes.engine import Engine
from jabba.settings import Settings


def attach(app: faust.App, settings: Settings, engine: Engine, put_aside: PutAside) -> None:
    """Add the agent to the application."""

    async def take_in(message: Message) -> None:
        engine.obey(origin_of(message), await decoded(message, decode_commands, put_aside))

    follow(app, settings.topics.control, "control", take_in)
