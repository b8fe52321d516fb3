"""Positions: how a submission names its place in the log, as ``partition:offset`` pairs joined by commas."""

import re
from collections.abc import Mapping

from jabba.errors import InvalidRequest

Position = Mapping[int, int]
"""The highest offset of the tasks topic that carries a slice of the submission, by partition."""

# As many digits as Kafka's own types: partitions are 32 bits wide, offsets 64.
_PAIR = re.compile(r"([0-9]{1,9}):([0-9]{1,18})", re.ASCII)


def write_position(position: Position) -> str:
    """Return the text form, such as ``0:17,3:42``, partitions in order."""
    return ",".join(f"{partition}:{offset}" for partition, offset in sorted(position.items()))


def read_position(text: str, field: str) -> dict[int, int]:
    """Read the text form.

    Raises:
        InvalidRequest: it is none; the error names ``field``.
    """
    position: dict[int, int] = {}
    for part in text.split(","):
        pair = _PAIR.fullmatch(part)
        if pair is None:
            raise InvalidRequest.at(field, "must be a position such as 0:17,3:42, as the answer to a submission has it")
        partition, offset = int(pair[1]), int(pair[2])
        position[partition] = max(offset, position.get(partition, offset))
    return position
