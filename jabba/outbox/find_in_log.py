"""Which slices of some jobs stand in the log: for whoever cannot remember whether it has sent them."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from typing import Self
from uuid import UUID

from jabba.errors import Unavailable
from jabba.kafka.reader import LogMessage, LogReader
from jabba.kafka.security import KafkaAccess
from jabba.messages.decoding import decode_each
from jabba.messages.slices import decode_message, decode_slice
from jabba.messages.topics import partition_of
from jabba.producer.submission import Prepared

_JOB = re.compile(rb'"job":"([0-9a-f-]{36})"')
_FETCH_BYTES = 8 * 1024 * 1024
_SILENCE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class SoughtJob:
    """A job that may be in the log: what all of its slices have in common, and their keys."""

    id: UUID
    digest: str
    keys: tuple[str, ...]

    @classmethod
    def of(cls, prepared: Prepared) -> Self:
        """Make one of a submission."""
        return cls(prepared.job.id, prepared.digest, tuple(one.key for one in prepared.slices))


async def find_in_log(access: KafkaAccess, topic: str, jobs: Iterable[SoughtJob], since: float) -> dict[UUID, set[int]]:
    """Return for each job the numbers of its slices that were written after ``since``, in seconds since the epoch.

    What is written meanwhile may be missing.

    Raises:
        Unavailable: Kafka does not answer, or not any more.
    """
    sought = {one.id: one for one in jobs}
    found: dict[UUID, set[int]] = {job: set() for job in sought}
    async with LogReader(access, topic, fetch_bytes=_FETCH_BYTES) as log:
        partitions = len(log.partitions)
        wanted = {partition_of(key, partitions) for one in sought.values() for key in one.keys}
        starts, ends = await log.since(since, wanted), await log.ends()
        async for message in _between(log, starts, ends):
            for job, k in _slices_of(message.value, sought):
                found[job].add(k)
    return found


async def _between(log: LogReader, starts: Mapping[int, int], ends: Mapping[int, int]) -> AsyncIterator[LogMessage]:
    left = {partition for partition, start in starts.items() if start < ends[partition]}
    log.go_to({partition: starts[partition] for partition in left})
    while left:
        for message in await _next(log):
            yield message
            if message.offset + 1 >= ends[message.partition]:
                left.discard(message.partition)


async def _next(log: LogReader) -> list[LogMessage]:
    try:
        async with asyncio.timeout(_SILENCE_SECONDS):
            while not (messages := await log.read()):
                pass
    except TimeoutError as error:
        raise Unavailable(f"Kafka has told nothing of the log for {_SILENCE_SECONDS:g} s") from error
    return messages


def _slices_of(message: bytes, sought: Mapping[UUID, SoughtJob]) -> list[tuple[UUID, int]]:
    """Return the job and number of each slice that is sought; most messages need not be decoded for that."""
    if sought.keys().isdisjoint(UUID(one.decode()) for one in set(_JOB.findall(message))):
        return []
    return [
        (slice_.job, slice_.k)
        for slice_ in decode_each(message, decode_message, decode_slice)[0]
        if slice_.job in sought and slice_.digest == sought[slice_.job].digest
    ]
