"""Answers to requests of consumer groups: members and committed offsets."""

import asyncio
from typing import Any

from aiokafka.errors import BrokerResponseError, InvalidGroupIdError, NoError
from aiokafka.protocol.commit import OffsetCommitResponse_v3, OffsetFetchResponse_v3
from aiokafka.protocol.group import (
    HeartbeatResponse_v1,
    JoinGroupResponse_v2,
    LeaveGroupResponse_v1,
    SyncGroupResponse_v1,
)

from jabba.clock import Clock
from jabba.local.broker.groups import Group
from jabba.local.broker.members import NO_GENERATION, Application, Joined
from jabba.local.broker.memberships import Memberships
from jabba.local.broker.messages import UNTHROTTLED
from jabba.local.broker.offsets import Committed, Offsets
from jabba.local.broker.topics import Topics

_NOTHING_COMMITTED = Committed(-1, "")


class Coordination:
    """The endpoints for groups, and the timer that expires their members."""

    def __init__(self, topics: Topics, offsets: Offsets, memberships: Memberships, clock: Clock) -> None:
        self._topics = topics
        self._offsets = offsets
        self._memberships = memberships
        self._clock = clock
        self._timers: dict[str, asyncio.TimerHandle] = {}
        for name in memberships.names:
            self._set_timer(name)

    async def join(self, request: Any, client_id: str) -> JoinGroupResponse_v2:
        """Take a member in; answered when the round is complete."""
        application = Application(
            client_id=client_id,
            protocol_type=request.protocol_type,
            protocols=request.group_protocols,
            session_seconds=request.session_timeout / 1000,
            rebalance_seconds=request.rebalance_timeout / 1000,
            member_id=request.member_id,
        )
        reply: asyncio.Future[Joined] = asyncio.get_running_loop().create_future()
        try:
            self._group(request.group).join(application, reply)
            self._changed(request.group)
            joined = await reply
        except BrokerResponseError as error:
            return JoinGroupResponse_v2(UNTHROTTLED, error.errno, NO_GENERATION, "", "", request.member_id, [])
        return JoinGroupResponse_v2(UNTHROTTLED, NoError.errno, *joined)

    async def sync(self, request: Any, _client_id: str) -> SyncGroupResponse_v1:
        """Tell a member what it reads; answered when the leader has said so."""
        reply: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        try:
            group = self._group(request.group)
            group.sync(request.member_id, request.generation_id, dict(request.group_assignment), reply)
            self._changed(request.group)
            share = await reply
        except BrokerResponseError as error:
            return SyncGroupResponse_v1(UNTHROTTLED, error.errno, b"")
        return SyncGroupResponse_v1(UNTHROTTLED, NoError.errno, share)

    async def heartbeat(self, request: Any, _client_id: str) -> HeartbeatResponse_v1:
        """Keep a member alive."""
        error = self._tell(request.group, lambda group: group.heartbeat(request.member_id, request.generation_id))
        return HeartbeatResponse_v1(UNTHROTTLED, error)

    async def leave(self, request: Any, _client_id: str) -> LeaveGroupResponse_v1:
        """Let a member go."""
        error = self._tell(request.group, lambda group: group.leave(request.member_id))
        return LeaveGroupResponse_v1(UNTHROTTLED, error)

    async def commit(self, request: Any, _client_id: str) -> OffsetCommitResponse_v3:
        """Keep the offsets that a member of the current generation commits."""
        generation, member_id = request.consumer_group_generation_id, request.consumer_id
        refused = self._tell(request.consumer_group, lambda group: group.check_commit(member_id, generation))
        answers = [
            (topic, [(partition, refused or self._error_of(topic, partition)) for partition, *_ in partitions])
            for topic, partitions in request.topics
        ]
        wrong = {(topic, partition) for topic, partitions in answers for partition, error in partitions if error}
        accepted = {
            (topic, partition): Committed(offset, metadata)
            for topic, partitions in request.topics
            for partition, offset, metadata in partitions
            if (topic, partition) not in wrong
        }
        self._offsets.commit(request.consumer_group, accepted)
        return OffsetCommitResponse_v3(UNTHROTTLED, answers)

    async def fetch_offsets(self, request: Any, _client_id: str) -> OffsetFetchResponse_v3:
        """Tell what a group has committed, for some partitions or all that it has any for."""
        committed = self._offsets.of_group(request.consumer_group)
        asked = request.topics if request.topics is not None else _by_topic(committed)
        answers = []
        for topic, partitions in asked:
            found = ((partition, committed.get((topic, partition), _NOTHING_COMMITTED)) for partition in partitions)
            answers.append((topic, [(partition, *one, NoError.errno) for partition, one in found]))
        return OffsetFetchResponse_v3(UNTHROTTLED, answers, NoError.errno)

    def close(self) -> None:
        """Stop the timers."""
        for timer in self._timers.values():
            timer.cancel()

    def _group(self, name: str) -> Group:
        if not name:
            raise InvalidGroupIdError
        return self._memberships.group(name)

    def _tell(self, name: str, what: Any) -> int:
        """Tell a group something; return the code of its error, 0 for none."""
        try:
            what(self._group(name))
        except BrokerResponseError as error:
            return int(error.errno)
        self._changed(name)
        return int(NoError.errno)

    def _error_of(self, topic: str, partition: int) -> int:
        try:
            self._topics.log(topic, partition)
        except BrokerResponseError as error:
            return int(error.errno)
        return int(NoError.errno)

    def _changed(self, name: str) -> None:
        self._memberships.keep(name)
        self._set_timer(name)

    def _set_timer(self, name: str) -> None:
        """Wake up when the next thing expires in a group."""
        if name in self._timers:
            self._timers.pop(name).cancel()
        deadline = self._memberships.group(name).deadline()
        if deadline is not None:
            delay = max(deadline - self._clock.monotonic(), 0.0)
            self._timers[name] = asyncio.get_running_loop().call_later(delay, self._expire, name)

    def _expire(self, name: str) -> None:
        self._memberships.group(name).expire()
        self._changed(name)


def _by_topic(committed: dict[tuple[str, int], Committed]) -> list[tuple[str, list[int]]]:
    topics: dict[str, list[int]] = {}
    for topic, partition in committed:
        topics.setdefault(topic, []).append(partition)
    return list(topics.items())
