"""What one partition knows of its idempotent producers, so that a batch sent twice is kept once."""

from collections import deque
from typing import NamedTuple

from aiokafka.errors import DuplicateSequenceNumber, InvalidProducerEpoch, OutOfOrderSequenceNumber

from jabba.local.broker.batches import Header

_REMEMBERED = 5
"""Batches of a producer that are recognised: as many as it may have in flight."""

_SEQUENCES = 2**31
"""Sequence numbers begin again at 0 behind the largest."""


class Kept(NamedTuple):
    """Where a batch was kept."""

    first: int
    last: int
    offset: int
    timestamp: int


class _Producer:
    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.batches: deque[Kept] = deque(maxlen=_REMEMBERED)


class Producers:
    """The last batches of every producer in a partition.

    A producer that is not known may begin with any sequence number: its earlier batches may have expired.
    """

    def __init__(self) -> None:
        self._known: dict[int, _Producer] = {}

    def find_repeated(self, header: Header) -> Kept | None:
        """Return where this very batch was kept before, None when it is the next one of its producer.

        Raises:
            InvalidProducerEpoch: a newer producer has taken over.
            DuplicateSequenceNumber: it was kept too long ago to know where.
            OutOfOrderSequenceNumber: a batch before it is missing.
        """
        producer = self._known.get(header.producer_id)
        if producer is None:
            return None
        if header.producer_epoch != producer.epoch:
            _check_successor(header, producer)
            return None
        first, last = header.base_sequence, _last_sequence(header)
        for kept in producer.batches:
            if (kept.first, kept.last) == (first, last):
                return kept
        newest = producer.batches[-1].last
        if first == (newest + 1) % _SEQUENCES:
            return None
        raise DuplicateSequenceNumber if last <= newest else OutOfOrderSequenceNumber

    def keep(self, header: Header, offset: int, timestamp: int) -> None:
        """Remember a batch that is in the log now; one without a producer id is none of an idempotent producer."""
        if header.producer_id < 0:
            return
        producer = self._known.get(header.producer_id)
        if producer is None or producer.epoch != header.producer_epoch:
            producer = self._known[header.producer_id] = _Producer(header.producer_epoch)
        producer.batches.append(Kept(header.base_sequence, _last_sequence(header), offset, timestamp))

    def forget_idle(self, since: int) -> None:
        """Forget the producers whose last batch is older than ``since`` (milliseconds since the epoch)."""
        idle = [known for known, producer in self._known.items() if producer.batches[-1].timestamp < since]
        for producer_id in idle:
            del self._known[producer_id]


def _check_successor(header: Header, producer: _Producer) -> None:
    if header.producer_epoch < producer.epoch:
        raise InvalidProducerEpoch
    if header.base_sequence != 0:
        raise OutOfOrderSequenceNumber


def _last_sequence(header: Header) -> int:
    return (header.base_sequence + header.last_offset_delta) % _SEQUENCES
