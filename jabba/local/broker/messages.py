"""Answers to requests about messages: produce, fetch and list offsets."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import Any, NamedTuple

from aiokafka.errors import BrokerResponseError, InvalidRequestError, NoError, OffsetOutOfRangeError
from aiokafka.protocol.fetch import FetchResponse_v4
from aiokafka.protocol.offset import OffsetResponse_v3
from aiokafka.protocol.produce import ProduceResponse_v7

from jabba.local.broker.log import NO_TIMESTAMP, PartitionLog
from jabba.local.broker.topics import Topics

UNTHROTTLED = 0

_NO_OFFSET = -1
_LATEST = -1
_EARLIEST = -2
_MAX_ANSWER_BYTES = 16 * 1024 * 1024
"""A fetch is answered with so much at most, whatever it asks for, so that many of them fit into memory."""


class _Wanted(NamedTuple):
    """One partition of a fetch."""

    topic: str
    partition: int
    offset: int
    limit: int


class _Found(NamedTuple):
    """What there is for it."""

    partition: int
    error: int
    end_offset: int
    batches: bytes


class Messages:
    """The endpoints for producers and consumers."""

    def __init__(self, topics: Topics) -> None:
        self._topics = topics

    async def produce(self, request: Any, _client_id: str) -> ProduceResponse_v7 | None:
        """Append batches; a producer that wants no acknowledgement gets no answer."""
        answers = [
            (topic, [self._append(topic, partition, batch) for partition, batch in partitions])
            for topic, partitions in request.topics
        ]
        return ProduceResponse_v7(answers, UNTHROTTLED) if request.required_acks else None

    async def fetch(self, request: Any, _client_id: str) -> FetchResponse_v4:
        """Read batches, as soon as there are ``min_bytes`` of them or ``max_wait_time`` milliseconds have passed."""
        wanted = [_Wanted(topic, *place) for topic, places in request.topics for place in places]
        limit = min(request.max_bytes, _MAX_ANSWER_BYTES)
        found = self._read(wanted, limit)
        if request.max_wait_time > 0 and not _is_enough(found, request.min_bytes):
            with suppress(TimeoutError):
                async with asyncio.timeout(request.max_wait_time / 1000):
                    found = await self._await_enough(wanted, limit, request.min_bytes)
        return FetchResponse_v4(UNTHROTTLED, _by_topic(wanted, found))

    async def list_offsets(self, request: Any, _client_id: str) -> OffsetResponse_v3:
        """Tell the first or last offset of partitions, or the first one since a time."""
        answers = [
            (topic, [self._offset(topic, partition, timestamp) for partition, timestamp in partitions])
            for topic, partitions in request.topics
        ]
        return OffsetResponse_v3(UNTHROTTLED, answers)

    def _append(self, topic: str, partition: int, batch: bytes | None) -> tuple[int, int, int, int, int]:
        try:
            log = self._topics.log(topic, partition)
            appended = log.append(batch or b"")
        except BrokerResponseError as error:
            return partition, error.errno, _NO_OFFSET, NO_TIMESTAMP, _NO_OFFSET
        return partition, NoError.errno, appended.offset, appended.timestamp, log.start_offset

    def _read(self, wanted: list[_Wanted], limit: int) -> list[_Found]:
        """Read partition by partition; the first batch of all is read whole, however large it is."""
        found, left = [], limit
        for one in wanted:
            result = self._read_one(one, min(one.limit, left), at_least_one=left == limit)
            left = max(left - len(result.batches), 0)
            found.append(result)
        return found

    def _read_one(self, one: _Wanted, limit: int, *, at_least_one: bool) -> _Found:
        try:
            log = self._topics.log(one.topic, one.partition)
        except BrokerResponseError as error:
            return _Found(one.partition, error.errno, _NO_OFFSET, b"")
        try:
            batches = log.read(one.offset, limit, at_least_one=at_least_one)
        except OffsetOutOfRangeError as error:
            return _Found(one.partition, error.errno, log.end_offset, b"")
        return _Found(one.partition, NoError.errno, log.end_offset, batches)

    async def _await_enough(self, wanted: list[_Wanted], limit: int, min_bytes: int) -> list[_Found]:
        appended = asyncio.Event()
        with ExitStack() as watching:
            for log in self._logs(wanted):
                log.watchers.add(appended.set)
                watching.callback(log.watchers.discard, appended.set)
            while True:
                await appended.wait()
                appended.clear()
                found = self._read(wanted, limit)
                if _is_enough(found, min_bytes):
                    return found

    def _logs(self, wanted: list[_Wanted]) -> Iterator[PartitionLog]:
        return (self._topics.log(one.topic, one.partition) for one in wanted)

    def _offset(self, topic: str, partition: int, timestamp: int) -> tuple[int, int, int, int]:
        try:
            log = self._topics.log(topic, partition)
            time, offset = _offset_of(log, timestamp)
        except BrokerResponseError as error:
            return partition, error.errno, NO_TIMESTAMP, _NO_OFFSET
        return partition, NoError.errno, time, offset


def _offset_of(log: PartitionLog, timestamp: int) -> tuple[int, int]:
    if timestamp == _LATEST:
        return NO_TIMESTAMP, log.end_offset
    if timestamp == _EARLIEST:
        return NO_TIMESTAMP, log.start_offset
    if timestamp < 0:
        raise InvalidRequestError
    offset, time = log.find_since(timestamp) or (_NO_OFFSET, NO_TIMESTAMP)
    return time, offset


def _is_enough(found: list[_Found], min_bytes: int) -> bool:
    """Whether there is as much as was asked for, or an error that the consumer should know of."""
    return any(one.error for one in found) or sum(len(one.batches) for one in found) >= min_bytes


def _by_topic(wanted: list[_Wanted], found: list[_Found]) -> list[tuple[str, list[tuple[Any, ...]]]]:
    topics: dict[str, list[tuple[Any, ...]]] = {}
    for one, result in zip(wanted, found, strict=True):
        partition, error, end_offset, batches = result
        topics.setdefault(one.topic, []).append((partition, error, end_offset, end_offset, None, batches))
    return list(topics.items())
