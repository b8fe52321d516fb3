"""Which offsets may be committed: the contiguous finished prefix of each partition, and nothing beyond it."""

from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple


class Start(NamedTuple):
    """Where a generation begins to read a partition, and where the log ended at that time.

    ``latest`` is the latest time of what stands before, in milliseconds since the epoch; 0 if that is not known.
    """

    offset: int
    end: int
    latest: int = 0


@dataclass(slots=True)
class _Message:
    offset: int
    unfinished: int
    latest: int


@dataclass(slots=True)
class _Partition:
    next: int
    end: int = 0
    latest: int = 0
    messages: dict[int, _Message] = field(default_factory=dict)
    order: deque[_Message] = field(default_factory=deque)
    committable: int | None = None
    committable_latest: int = 0


class AckTracker:
    """Follows the messages of one generation of the consumer group.

    Acknowledging out of order would lose messages: with 101 finished and 100 running, the position stays at 100.
    """

    def __init__(self) -> None:
        self._partitions: dict[int, _Partition] = {}

    def start(self, partition: int, start: Start) -> None:
        """Follow a partition from here on: where the last generation committed."""
        self._partitions[partition] = _Partition(start.offset, start.end, start.latest)

    def next(self) -> dict[int, int]:
        """Return the offset behind the last message that was followed, for every partition."""
        return {n: known.next for n, known in self._partitions.items()}

    def reached(self) -> dict[int, Start]:
        """Return the same, with the latest time of what stands before, and the first offset that the log may lack."""
        return {n: Start(known.next, max(known.end, known.next), known.latest) for n, known in self._partitions.items()}

    def begin(self, partition: int, offset: int, slices: int, at: int = 0) -> bool:
        """Follow a message of this time that carries so many slices; answer False when it is followed already.

        What lies between it and the last one must not be in the log any more: it could be committed over.
        """
        known = self._partitions.setdefault(partition, _Partition(offset))
        if offset < known.next:
            return False
        known.next = offset + 1
        # Brokers' clocks differ: the time of one message may be before that of another in front of it.
        known.latest = max(known.latest, at)
        message = known.messages[offset] = _Message(offset, slices, known.latest)
        known.order.append(message)
        self._advance(known)
        return True

    def finish(self, partition: int, offset: int) -> None:
        """Count one slice of a message as finished; a message of an older generation is not followed any more."""
        known = self._partitions.get(partition)
        message = known.messages.get(offset) if known else None
        if known is None or message is None:
            return
        message.unfinished -= 1
        self._advance(known)

    def committable(self) -> dict[int, int]:
        """Return the next offset to read, for every partition in which something has finished."""
        return {n: known.committable for n, known in self._partitions.items() if known.committable is not None}

    def latest(self) -> dict[int, int]:
        """Answer, for the same partitions, the latest time of the messages before that offset; 0 if not known."""
        return {n: known.committable_latest for n, known in self._partitions.items() if known.committable is not None}

    def in_flight(self) -> int:
        """Return how many messages are begun and not below the position."""
        return sum(len(known.messages) for known in self._partitions.values())

    def reset(self) -> None:
        """Forget everything: the next generation reads again from what was committed."""
        self._partitions.clear()

    @staticmethod
    def _advance(known: _Partition) -> None:
        while known.order and known.order[0].unfinished <= 0:
            message = known.order.popleft()
            del known.messages[message.offset]
            known.committable = message.offset + 1
            known.committable_latest = message.latest
