"""What a group commits of a partition: an offset, and what tells a log that has lost its place from the one it read."""

from typing import NamedTuple

from aiokafka.structs import OffsetAndMetadata


class CommittedOffset(NamedTuple):
    """Where a group goes on, and the latest time of what stands before: milliseconds since the epoch, or 0."""

    offset: int
    latest: int = 0


def marked(offset: int, latest: int) -> OffsetAndMetadata:
    """Return an offset as it is committed."""
    return OffsetAndMetadata(offset, str(latest or ""))


def decode_offset(committed: OffsetAndMetadata | None) -> CommittedOffset | None:
    """Read it back; None if nothing is committed."""
    if committed is None or committed.offset < 0:
        return None
    return CommittedOffset(committed.offset, int(committed.metadata) if (committed.metadata or "").isdecimal() else 0)
