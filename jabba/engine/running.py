"""A lane in memory, and what it holds of the log."""

import asyncio

from jabba.engine.lane import Lane
from jabba.messages.slices import Slice

_NO_OFFSET = -1
"""The offset of a lane that starts from the table: its record knows the true one."""


class RunningLane:
    """A lane in memory, and the offsets that wait for it to end.

    ``size`` is what its slice takes of the room, in bytes, ``since`` when it came, by the event loop's time: the clock
    may be set.
    """

    def __init__(self, slice_: Slice, size: int, offsets: list[int]) -> None:
        self.slice = slice_
        self.size = size
        self.since = asyncio.get_running_loop().time()
        self.offset = offsets[0] if offsets else _NO_OFFSET
        self.offsets = offsets
        self.lane: Lane | None = None
        self.task: asyncio.Task[None] | None = None

    @property
    def adopted(self) -> bool:
        """Return whether the table holds the slice."""
        return self.lane is not None and self.lane.adopted
