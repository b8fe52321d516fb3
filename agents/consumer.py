"""What Faust's consumer does not do by itself: lose nothing, go on at once, keep a lease, and leave in time."""

import asyncio
import logging
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import CommitFailedError, KafkaError
from aiokafka.protocol.group import SyncGroupRequest
from aiokafka.structs import OffsetAndMetadata
from faust.transport.consumer import Consumer
from faust.transport.drivers import aiokafka
from faust.types import TP
from mode.utils.queues import FlowControlEvent

from agents.starts import starts
from jabba.engine.lease import Lease
from jabba.settings import Settings

logger = logging.getLogger(__name__)

_PAUSED_POLL_SECONDS = 0.02

_FETCH_WAIT_MILLISECONDS = 250
"""A broker answers one request of a connection after the other: whatever else is asked waits behind a fetch."""

_MEMBERSHIP_SECONDS = 1.0
_THREAD_SECONDS = 3.0


class SteadyFlow(FlowControlEvent):
    """Keeps what is buffered for the agents when it is resumed twice.

    Faust resumes the flow once before it goes to the committed offsets and once after it, and each time empties the
    buffers: what was fetched in between would never be seen again, and the offsets behind it committed over it.
    """

    def resume(self) -> None:
        """Let messages flow, into buffers that are emptied only if nothing flowed before."""
        if not self.is_active():
            super().resume()


class _PromptThread(aiokafka.AIOKafkaConsumerThread):
    """Waits for messages a little at a time, and for the end of its client no longer than that makes sense.

    Faust's would let a fetch wait for 1.5 s, and each question of a rebalance behind it; and would itself be waited
    for, for a minute, if its client fails.
    """

    def _create_worker_consumer(self, transport: Any) -> AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = _FETCH_WAIT_MILLISECONDS  # noqa: SLF001 — Faust has no setting for it
        return consumer

    async def on_thread_stop(self) -> None:
        """Do what Faust does, for as long as that makes sense."""
        stopping = asyncio.create_task(super().on_thread_stop())
        await asyncio.wait({stopping}, timeout=_THREAD_SECONDS)
        # While Kafka is away a fetch that was cancelled cancels whoever waits for its end.
        if not stopping.done() or stopping.cancelled() or stopping.exception() is not None:
            logger.warning("consumer connections did not close in time, abandoning them")


Records = tuple[Mapping[TP, list[Any]] | None, set[TP] | None]


class PromptConsumer(aiokafka.Consumer):
    """Fetches as soon as a partition may be fetched from, and has a lease as soon as it has joined the group.

    Faust's own rests for a second whenever it finds all partitions paused. In the middle of every rebalance it does, so
    that a worker that stays would stand still for a second longer than one that joins. And what it is given of
    ``topics`` it reads from where ``starts`` says.
    """

    def __init__(self, *arguments: Any, lease: Lease, topics: Collection[str], **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._lease = lease
        self._topics = topics

    def _new_consumer_thread(self) -> aiokafka.AIOKafkaConsumerThread:
        return _PromptThread(self, loop=self.loop, beacon=self.beacon)

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

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Go to the committed offsets, or to where another log begins: below them Faust would drop what comes."""
        committed = dict(await super().seek_to_committed())
        try:
            found = await starts(self, [place for place in committed if place.topic in self._topics])
        except KafkaError as error:
            # What does not come for it is read again.
            logger.warning("log ends cannot be fetched, seeking to the committed offsets", extra={"error": repr(error)})
            return committed
        for place, start in found.items():
            if start.offset != committed.get(place):
                await self._seek(place, start.offset)
                committed[place] = start.offset
        return committed

    async def _wait_next_records(self, timeout: float) -> Records:  # noqa: ASYNC109 — Faust's interface
        if self.flow_active and self._get_active_partitions():
            return await super()._wait_next_records(timeout)
        await self.sleep(_PAUSED_POLL_SECONDS)
        return None, None


def membership_error(consumer: Consumer) -> BaseException | None:
    """Return the error, if any, after which aiokafka asks the group for nothing more: unexpected, or a refusal."""
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


async def commit(consumer: Consumer, offsets: Mapping[TP, OffsetAndMetadata]) -> bool:
    """Commit; answer False if the group goes by another generation already.

    Raises:
        KafkaError: what is to be committed may be committed later.
    """
    thread = consumer._thread  # type: ignore[attr-defined]  # noqa: SLF001 — Faust commits offsets alone
    client, assigned = thread._consumer, consumer.assignment()  # noqa: SLF001 — see above
    ours = {TopicPartition(*place): offset for place, offset in offsets.items() if place in assigned}
    try:
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(client.commit(ours), thread.thread_loop))
    except CommitFailedError:
        return False
    return True


def rejoin(consumer: Consumer) -> None:
    """Ask the group for a new generation."""
    thread = consumer._thread  # type: ignore[attr-defined]  # noqa: SLF001 — Faust leaves that to aiokafka
    thread.thread_loop.call_soon_threadsafe(thread._consumer._coordinator.request_rejoin)  # noqa: SLF001 — see above


async def leave_group(consumer: Consumer, seconds: float) -> bool:
    """Leave the consumer group while everything still runs, after a rebalance that is under way; at most so long.

    Answer whether Kafka was there.

    Faust would leave last: by then a rebalance finds parts of the application stopped, and both wait for each other,
    while the group waits for a member that is gone.
    """
    thread = consumer._thread  # type: ignore[attr-defined]  # noqa: SLF001 — Faust offers no way to leave first
    coordinator = thread._consumer._coordinator  # noqa: SLF001 — see above
    leaving = asyncio.run_coroutine_threadsafe(coordinator.close(), thread.thread_loop)
    try:
        await asyncio.wait_for(asyncio.wrap_future(leaving), seconds)
    except TimeoutError:
        logger.warning("the group coordinator does not answer, leaving by session timeout", extra={"seconds": seconds})
        return False
    return True


async def commit_outside(settings: Settings, offsets: Mapping[TP, OffsetAndMetadata]) -> None:
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
            if further := {place: to for place, to in ours.items() if to.offset > known[place]}:
                await consumer.commit(further)
    except (KafkaError, TimeoutError) as error:
        logger.debug("last offsets not committed", extra={"error": repr(error)})
    finally:
        await consumer.stop()


def positions(consumer: Consumer, committed: Mapping[TP, int]) -> Iterator[tuple[TP, int]]:
    """Return where the group goes on in each partition of this worker, as far as that is known.

    ``committed`` is what this worker has committed; before that, what the group had when the partition was assigned.
    """
    for place in consumer.assignment():
        start = committed.get(place, consumer._committed_offset.get(place))  # noqa: SLF001 — Faust keeps it to itself
        if start is not None:
            yield place, start


def uncommitted(consumer: Consumer, committed: Mapping[TP, int]) -> Iterator[tuple[TP, int]]:
    """Return how many messages of each partition lie behind its position, as far as the broker has told."""
    for place, start in positions(consumer, committed):
        end = consumer.highwater(place)
        # Faust's type knows no partition that was not asked for yet.
        if isinstance(end, int):
            yield place, max(0, end - start)
