"""Where a generation of workers goes on in a log: where the group has committed to, unless that is another log."""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from aiokafka import TopicPartition
from faust.transport.consumer import Consumer
from faust.types import TP

from jabba.engine.offsets import Start
from jabba.kafka.committed_offsets import CommittedOffset, decode_offset

logger = logging.getLogger(__name__)


class Found(NamedTuple):
    """What Kafka has of a partition: its first offset, the one behind its last, and the first that is later than that.

    ``later`` is that of the first message whose time is later than all that the group has committed, if there is one
    and that time is known.
    """

    beginning: int
    end: int
    later: int | None = None


def is_another_log(known: CommittedOffset, found: Found) -> bool:
    """Return whether the log is not the one that was read: it ends before, or what came later stands before."""
    return found.end < known.offset or (found.later is not None and found.later < known.offset)


def start_of(place: TP, known: CommittedOffset | None, found: Found) -> Start:
    """Return where to go on; what is lost is told.

    In a log that was cut or made anew offsets mean nothing, but times do: what is later than all that was committed has
    not run. Without a time it is all that there is.
    """
    where = {"topic": place.topic, "partition": place.partition}
    if known is None:
        logger.error("no committed offset, reading from the beginning", extra=where | {"offset": found.beginning})
        return Start(found.beginning, found.end)
    if is_another_log(known, found):
        offset = found.beginning
        if known.latest:
            offset = found.end if found.later is None else found.later
        offsets = {"committed": known.offset, "end": found.end, "offset": offset}
        logger.error("the log was replaced or cut, reading from another offset", extra=where | offsets)
        return Start(offset, found.end, known.latest)
    if known.offset < found.beginning:
        lost = {"lost_from": known.offset, "offset": found.beginning}
        logger.error("messages were deleted before they were read", extra=where | lost)
    return Start(max(known.offset, found.beginning), found.end, known.latest)


async def committed_of(consumer: Consumer, places: Iterable[TP]) -> dict[TP, CommittedOffset | None]:
    """Ask the group where it has committed to."""
    thread = consumer._thread  # type: ignore[attr-defined]  # noqa: SLF001 — Faust asks for one partition at a time
    coordinator = thread._consumer._coordinator  # noqa: SLF001 — see above
    asked = [TopicPartition(*place) for place in places]
    answer = await _in_thread(thread, coordinator.fetch_committed_offsets(asked))
    return {TP(*place): decode_offset(answer.get(place)) for place in asked}


async def found_of(consumer: Consumer, known: Mapping[TP, CommittedOffset | None]) -> dict[TP, Found]:
    """Ask Kafka what it has of these partitions, now or later."""
    thread = consumer._thread  # type: ignore[attr-defined]  # noqa: SLF001 — Faust asks for no times
    client = thread._consumer  # noqa: SLF001 — see above
    places = [TopicPartition(*place) for place in known]
    beginnings, ends = await asyncio.gather(
        _in_thread(thread, client.beginning_offsets(places)), _in_thread(thread, client.end_offsets(places))
    )
    # Asked after the ends: of another log, what comes in between must not be passed over.
    moments = {TopicPartition(*place): one.latest + 1 for place, one in known.items() if one and one.latest}
    later = await _in_thread(thread, client.offsets_for_times(moments)) if moments else {}
    return {
        TP(*place): Found(beginnings[place], ends[place], at.offset if (at := later.get(place)) else None)
        for place in places
    }


async def starts(consumer: Consumer, places: Iterable[TP]) -> dict[TP, Start]:
    """Return where this generation begins to read; raises what aiokafka does."""
    known = await committed_of(consumer, places)
    found = await found_of(consumer, known)
    return {place: start_of(place, one, found[place]) for place, one in known.items()}


async def _in_thread(thread: Any, coroutine: Any) -> Any:
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(coroutine, thread.thread_loop))
