"""The agent of the control topic: decodes and hands over, nothing else."""

from collections.abc import Callable
from functools import partial
from typing import Any

import faust

from agents.decoding import PutAside, decoded, follow
from agents.replay import Intake, Message, origin_of
from jabba.engine.engine import Engine
from jabba.messages.commands import decode_command, decode_commands
from jabba.settings import Settings


def attach(
    app: faust.App, settings: Settings, engine: Engine, put_aside: PutAside, reread: Callable[..., Any]
) -> Intake:
    """Add the agent to the application."""

    async def take_in(message: Message) -> None:
        engine.apply(origin_of(message), await decoded(message, decode_commands, decode_command, put_aside))

    intake = Intake(
        settings.topics.control,
        take_in,
        partial(engine.missing, commands=True),
        partial(reread, settings.topics.control),
        partial(engine.reached, commands=True),
    )
    follow(app, "control", intake)
    return intake
