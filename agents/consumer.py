"""What Faust's consumer does not do by itself: lose nothing, go on at once, keep a lease, and leave in time."""

import asyncio
import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.protocol.group import SyncGroupRequest
from faust.transport.consumer import Consumer
from faust.transport.drivers import aiokafka
from faust.types import TP
from mode.utils.queues import FlowControlEvent

from jabba.lanes.lease import Lease
from jabba.settings import Settings

logger = logging.getLogger(__name__)

_PAUSED_POLL_SECONDS = 0.02
_MEMBERSHIP_SECONDS = 1.0


class SteadyFlow(FlowControlEvent):
    """Keeps what is buffered for the agents when it is resumed twice.

    Faust resumes the flow once before it goes to the committed offsets and once after it, and each time empties the
    buffers: what was fetched in between would never be seen again, and the offsets behind it committed over it.
    """

    def resume(self) -> None:
        """Let messages flow, into buffers that are emptied only if nothing flowed before."""
        if not self.is_active():
            super().resume()


Records = tuple[Mapping[TP, list[Any]] | None, set[TP] | None]


class PromptConsumer(aiokafka.Consumer):
    """Fetches as soon as a partition may be fetched from, and has a lease as soon as it has joined the group.

    Faust's own rests for a second whenever it finds all partitions paused. In the middle of every rebalance it does, so
    that a worker that stays would stand still for a second longer than one that joins.
    """

    def __init__(self, *arguments: Any, lease: Lease, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._lease = lease

    @aiokafka.Consumer.task
    async def _watch_membership(self) -> None:
        """Crash if this worker will get no partition any more, so that its supervisor starts a new one.

        aiokafka would say so only when something is fetched, and without a partition nothing is.
        """
        while not self.should_stop:
            error = membership_error(self)
            if error is not None:
                raise error
            await self.sleep(_MEMBERSHIP_SECONDS)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Do what Faust does; this comes before every joining, the first one included."""
        follow_joins(self, self._lease)
        await super().on_partitions_revoked(revoked)

    async def _wait_next_records(self, timeout: float) -> Records:  # noqa: ASYNC109 — Faust's interface
        if self.flow_active and self._get_active_partitions():
            return await super()._wait_next_records(timeout)
        await self.sleep(_PAUSED_POLL_SECONDS)
        return None, None


def membership_error(consumer: Consumer) -> BaseException | None:
    """Answer the error, if any, after which aiokafka asks the group for nothing more: unexpected, or a refusal."""
    client = consumer._thread._consumer  # type: ignore[attr-defined]  # noqa: SLF001 — it tells only those who fetch
    coordinator = client and client._coordinator  # noqa: SLF001 — see above
    if coordinator is None:
        return None
    routine: asyncio.Task[None] = coordinator._coordination_task  # noqa: SLF001 — see above
    if routine.done() and not routine.cancelled():
        return routine.exception()
    refusal: BaseException | None = coordinator._pending_exception  # noqa: SLF001 — see above
    return refusal


def follow_joins(consumer: Consumer, lease: Lease) -> None:
    """Renew the lease when the group answers with an assignment: it restarts the session when it is asked for one."""
    coordinator = consumer._thread._consumer._coordinator  # type: ignore[attr-defined]  # noqa: SLF001 — see above
    send = coordinator._send_req  # noqa: SLF001 — see above
    if getattr(send, "renews", None) is lease:
        return

    async def send_and_renew(request: Any) -> Any:
        since = lease.now()
        answer = await send(request)
        if isinstance(request, SyncGroupRequest) and not answer.error_code:
            lease.renew(since)
        return answer

    send_and_renew.renews = lease  # type: ignore[attr-defined]
    coordinator._send_req = send_and_renew  # noqa: SLF001 — see above


def follow_heartbeats(consumer: Consumer, lease: Lease) -> None:
    """Renew the lease with every heartbeat that the group's coordinator answers while no rebalance is under way.

    aiokafka sends them in a thread of its own and keeps the time of the last success to itself.
    """
    coordinator = consumer._thread._consumer._coordinator  # type: ignore[attr-defined]  # noqa: SLF001 — see above
    send = coordinator._do_heartbeat  # noqa: SLF001 — see above
    if getattr(send, "renews", None) is lease:
        return

    async def send_and_renew() -> bool:
        since = lease.now()
        answered = bool(await send())
        # During a rebalance the group answers too, and still gives up whoever has not joined again in time.
        if answered and not coordinator._rejoin_needed_fut.done():  # noqa: SLF001 — see above
            lease.renew(since)
        return answered

    send_and_renew.renews = lease  # type: ignore[attr-defined]
    coordinator._do_heartbeat = send_and_renew  # noqa: SLF001 — see above


async def committed_offsets(consumer: Consumer, places: Iterable[TP]) -> dict[TP, int]:
    """Ask the group where it has committed to; a partition without an offset has none in the answer."""
    thread = consumer._thread  # type: ignore[attr-defined]  # noqa: SLF001 — Faust asks for one partition at a time
    coordinator = thread._consumer._coordinator  # noqa: SLF001 — see above
    asking = asyncio.run_coroutine_threadsafe(coordinator.fetch_committed_offsets(list(places)), thread.thread_loop)
    answer = await asyncio.wrap_future(asking)
    return {TP(place.topic, place.partition): at.offset for place, at in answer.items() if at.offset >= 0}


async def leave_group(consumer: Consumer, seconds: float) -> None:
    """Leave the consumer group while everything still runs, after a rebalance that is under way; at most so long.

    Faust would leave last: by then a rebalance finds parts of the application stopped, and both wait for each other,
    while the group waits for a member that is gone.
    """
    thread = consumer._thread  # type: ignore[attr-defined]  # noqa: SLF001 — Faust offers no way to leave first
    coordinator = thread._consumer._coordinator  # noqa: SLF001 — see above
    leaving = asyncio.run_coroutine_threadsafe(coordinator.close(), thread.thread_loop)
    try:
        await asyncio.wait_for(asyncio.wrap_future(leaving), seconds)
    except TimeoutError:
        logger.warning("the consumer group does not answer; it will miss this worker after its session")


async def commit_outside(settings: Settings, offsets: Mapping[TP, int]) -> None:
    """Commit for a group that has no members left, if Kafka answers within a session.

    In any other its members read again what was not committed.
    """
    consumer = AIOKafkaConsumer(
        **settings.kafka_access.client_options(), group_id=settings.topics.worker_group, enable_auto_commit=False
    )
    ours = {TopicPartition(*place): offset for place, offset in offsets.items()}
    try:
        async with asyncio.timeout(settings.session_seconds):
            await consumer.start()
            consumer.assign(list(ours))
            # Another one may have been a member meanwhile, and have come further.
            known = {place: await consumer.committed(place) or 0 for place in ours}
            if further := {place: offset for place, offset in ours.items() if offset > known[place]}:
                await consumer.commit(further)
    except (KafkaError, TimeoutError) as error:
        logger.debug("the last offsets are not committed: %r", error)
    finally:
        await consumer.stop()


def positions(consumer: Consumer, committed: Mapping[TP, int]) -> Iterator[tuple[TP, int]]:
    """Answer where the group goes on in each partition of this worker, as far as that is known.

    ``committed`` is what this worker has committed; before that, what the group had when the partition was assigned.
    """
    for place in consumer.assignment():
        start = committed.get(place, consumer._committed_offset.get(place))  # noqa: SLF001 — Faust keeps it to itself
        if start is not None:
            yield place, start


def uncommitted(consumer: Consumer, committed: Mapping[TP, int]) -> Iterator[tuple[TP, int]]:
    """Answer how many messages of each partition lie behind its position, as far as the broker has told."""
    for place, start in positions(consumer, committed):
        end = consumer.highwater(place)
        # Faust's type knows no partition that was not asked for yet.
        if isinstance(end, int):
            yield place, max(0, end - start)
