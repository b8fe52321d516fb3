"""Commands to running jobs, as the control topic carries them: JSON lists, each in its job's partition."""

from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from jabba.jobs.lifecycle import Strategy


class CloseJob(BaseModel):
    """End a job that cannot end by itself: what has not started is aborted, and the job fails for ``reason``.

    ``type`` is the job's, None from senders that do not know it.
    """

    model_config = ConfigDict(frozen=True)

    v: Literal[1] = 1
    command: Literal["close_job"] = "close_job"
    job: UUID
    run: int = Field(ge=0)
    n_slices: int = Field(ge=1)
    strategy: Strategy
    reason: str
    type: str | None = None


Command = CloseJob

_COMMANDS = TypeAdapter(list[Command])
_COMMAND: TypeAdapter[Command] = TypeAdapter(Command)


def encode_commands(commands: list[Command]) -> bytes:
    """Return a message of the control topic."""
    return _COMMANDS.dump_json(commands)


def decode_commands(text: bytes) -> list[Command]:
    """Read a message of the control topic: a JSON list of commands, empty in the first message of a partition.

    Raises:
        ValueError: it is none; the message says where.
    """
    return _COMMANDS.validate_json(text)


def decode_command(text: bytes) -> Command:
    """Read one command of a message.

    Raises:
        ValueError: it is none; the message says where.
    """
    return _COMMAND.validate_json(text)
